//! The driver for real use: stdin, stdout, and the machine's clocks.
//!
//! The invariant: the driver handles every input line in order. It writes all output of the node,
//! in order, before it reads more. So a reader that stops reading stops the node. Memory stays
//! bounded by one chunk of input, one line, one batch of output (`BATCH_BYTES`), and the output
//! that one line or one timeout causes. A body that goes to many nodes is in memory once, and is
//! copied into one line at a time.
//!
//! Between two steps of a snapshot, the driver handles the input that waits, up to one chunk, and
//! writes the replies. So a reply never waits for more than one part. Input that never stops does
//! not stop a snapshot, either: if both input and a step are ready, the driver chooses at random.

#![expect(
    clippy::disallowed_methods,
    reason = "the driver is where time, chance and I/O come from"
)]

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::exporter::{Asked, Exporter};
use crate::handler::{MessageHandler, Records, SnapshotPosition};
use crate::limits::Limits;
use crate::lines::{Line, LineSplitter};
use crate::message::LINE_BYTES_MAX;
use crate::metrics::{self, Snapshot};
use crate::node::Clock;
use crate::raw_node::RawNode;
use crate::stdio;
use crate::store::Store;
use crate::store_error::StoreError;

/// Bytes to read at a time: the capacity of a pipe.
const CHUNK_BYTES: usize = 64 << 10;

/// Approximate size of a part of a snapshot in bytes. The node handles nothing while it builds a
/// part, but goes on while a thread writes the part.
const PART_BYTES: usize = 1 << 20;

/// The driver writes replies out once they take this many bytes, even in the middle of a chunk.
const BATCH_BYTES: usize = 256 << 10;

/// The driver reads the wall clock once in this time at most. Between two readings, the monotonic
/// clock moves the wall clock on, so it may differ from the machine's by up to this much. One
/// reading takes as long as a tenth of a short request.
const WALL_CLOCK_EVERY: Duration = Duration::from_millis(1);

/// After the end of input, the time that a handler has to send the replies that it still owes.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// After the end of input, how often a handler may answer a failed call with a new one.
const DRAIN_ROUNDS_MAX: usize = 16;

/// Configuration of the runtime. [`drive`] shows it in use.
///
/// A node that keeps its records on disk, and takes lines of up to 1 MiB:
///
/// ```
/// use maelstrom_core::runtime::Config;
///
/// let (line_bytes_max, data_dir) = (1 << 20, Some("records".into()));
/// let config = Config { line_bytes_max, data_dir, ..Config::default() };
/// assert!(config.metrics.is_none() && !config.trace_requests);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Longer lines are skipped, with a warning. See [`LINE_BYTES_MAX`] for the default. With a key
    /// of the cluster, the limit is [larger](crate::auth::sealed_line_bytes_max), because a seal
    /// makes a line longer.
    pub line_bytes_max: usize,
    /// Folder in which each node keeps its records, in a folder of its own. `None`: nothing is
    /// kept. Without the feature `disk`, a node with such a folder ends with an error on `init`.
    pub data_dir: Option<PathBuf>,
    /// Address at which the node serves Prometheus text (`/metrics`) and its health (`/health`).
    /// `None`: no server, and no metrics are recorded. Without the feature `metrics`, a node with
    /// an address ends with an error.
    pub metrics: Option<SocketAddr>,
    /// File with the key that authenticates messages between nodes, see [`auth`](crate::auth).
    /// `None`: no authentication. Without the feature `auth`, a node with such a file ends with an
    /// error.
    pub cluster_key_file: Option<PathBuf>,
    /// Limits beyond which the node refuses requests of clients.
    pub limits: Limits,
    /// True if messages to other nodes carry the ids of clients' requests: see
    /// [`trace`](crate::trace).
    pub trace_requests: bool,
    /// Number of log lines that the program has lost so far. Its log adds to it, and the node
    /// exports it: see [`LogGuard::lost_lines`](crate::cli::LogGuard::lost_lines).
    pub lost_log_lines: Arc<AtomicU64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            line_bytes_max: LINE_BYTES_MAX,
            data_dir: None,
            metrics: None,
            cluster_key_file: None,
            limits: Limits::default(),
            trace_requests: false,
            lost_log_lines: Arc::default(),
        }
    }
}

/// The error that ended a node before the end of its input. [`drive`] shows it in use.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The input or the output failed other than by being closed, or the server of the metrics
    /// cannot listen on its address.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The records cannot be kept or recovered. The node acknowledged nothing that it did not keep.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs `handler` on stdin and stdout until the input ends, stdout closes, or the process is asked
/// to stop (Ctrl-C, SIGTERM). The caller sets up logging; see [`crate::cli`]. The
/// [example of the crate](crate) shows it in use.
///
/// # Errors
///
/// If stdin or stdout fails other than by being closed, the records cannot be kept or recovered,
/// the system provides no randomness, or the file with the key of the cluster is refused. Also if
/// the address for metrics cannot be used, or if `config` names a folder for records and `H` has no
/// [`RECORD_FORMAT`](MessageHandler::RECORD_FORMAT).
pub fn run<H: MessageHandler>(handler: H, config: &Config) -> anyhow::Result<()> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    anyhow::ensure!(
        config.data_dir.is_none() || H::RECORD_FORMAT.is_some(),
        "this node keeps nothing: there is no use for --data-dir"
    );
    let mut node = RawNode::new(handler, seed, config.data_dir.is_some());
    node.set_limits(&config.limits);
    node.set_trace_requests(config.trace_requests);
    if let Some(path) = &config.cluster_key_file {
        use_key(&mut node, path)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        // As a task of its own, it costs next to nothing as long as no signal comes.
        let stop = tokio::spawn(stop_signal()?);
        drive(node, config, stdio::input(), stdio::output(), async { _ = stop.await }).await
    });
    // If stdin is no pipe, a thread may still wait in a read. The exit must not wait for that
    // thread.
    runtime.shutdown_background();
    Ok(result?)
}

#[cfg(feature = "auth")]
fn use_key<H: MessageHandler>(node: &mut RawNode<H>, path: &Path) -> anyhow::Result<()> {
    node.set_cluster_key(crate::auth::ClusterKey::read(path)?);
    Ok(())
}

#[cfg(not(feature = "auth"))]
fn use_key<H: MessageHandler>(_: &mut RawNode<H>, _: &Path) -> anyhow::Result<()> {
    anyhow::bail!("maelstrom-core was built without the feature `auth`: it takes no key")
}

/// Runs a node on any input and output until the input ends, the output closes, or `stop` is ready.
///
/// The caller must have made `node` durable exactly if `config` names a folder. The caller must
/// also have given `node` its limits, whether it traces requests and, if there is one, the key of
/// the cluster: this function does not read those in `config`.
///
/// ```
/// use maelstrom_core::RawNode;
/// use maelstrom_core::runtime::{Config, DriveError, drive};
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Ping, Pong }
/// # struct Ping;
/// # impl MessageHandler for Ping {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, node: &mut Node<NoEvent>, from: &Request, _: Payload,
/// #     ) -> Result<(), Error> {
/// #         node.reply(from, &Payload::Pong);
/// #         Ok(())
/// #     }
/// # }
/// # let body =
/// #     serde_json::json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]});
/// # let init = serde_json::json!({"src": "c0", "dest": "n1", "body": body}).to_string() + "\n";
///
/// // Input that ends after one line, `init`.
/// let (mut input, mut output) = (init.as_bytes(), Vec::new());
/// let config = Config { line_bytes_max: 1 << 20, ..Config::default() };
/// let node = RawNode::new(Ping, [7; 32], config.data_dir.is_some());
/// tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
///     drive(node, &config, &mut input, &mut output, std::future::pending()).await
/// })?;
/// assert!(String::from_utf8_lossy(&output).contains("init_ok"));
/// # Ok::<(), DriveError>(())
/// ```
///
/// # Errors
///
/// If the input or the output fails other than by being closed, the address for metrics cannot be
/// used, or the records cannot be kept or recovered. In the last case, no message has left the node
/// that depends on a record that was not kept.
pub async fn drive<H: MessageHandler>(
    mut node: RawNode<H>,
    config: &Config,
    mut input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    stop: impl Future<Output = ()>,
) -> Result<(), DriveError> {
    let line_bytes_max = node.line_bytes_max(config.line_bytes_max);
    let mut exporter = Exporter::start(config.metrics).await?;
    if exporter.is_on() {
        node.record_metrics();
    }
    let records = Journal { dir: config.data_dir.clone(), ..Journal::default() };
    let lost = LostLines { total: Arc::clone(&config.lost_log_lines), counted: 0 };
    let clocks = Clocks::start();
    let mut driver = Driver { node, output, clocks, line_bytes_max, records, lost };
    let mut lines = LineSplitter::new(line_bytes_max);
    let work = async {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut is_after_step = false;
        loop {
            // After a step of a snapshot, everything else that is ready goes first.
            let can_step = !std::mem::take(&mut is_after_step);
            tokio::select! {
                read = input.read(&mut chunk) => match read? {
                    0 => break,
                    n => {
                        driver.feed(&mut lines, chunk.get(..n).unwrap_or_default()).await?;
                        // Input that never stops would otherwise hide a signal for many chunks.
                        if n == CHUNK_BYTES {
                            tokio::task::yield_now().await;
                        }
                    }
                },
                () = driver.next_deadline() => {
                    driver.node.handle_timeout(driver.clocks.read());
                    driver.write_out().await?;
                }
                asked = exporter.asked() => driver.tell(asked),
                () = driver.part_written(), if can_step && driver.can_snapshot() => {
                    driver.snapshot_next();
                    // Gives tokio the chance to notice the input that arrived meanwhile.
                    tokio::task::yield_now().await;
                    is_after_step = true;
                }
                () = tokio::task::yield_now(), if !can_step => {}
            }
        }
        driver.end_of_input(&mut lines).await
    };
    let result = tokio::select! {
        // First, since work that never waits would use up the task's budget.
        biased;
        () = stop => {
            debug!("asked to stop");
            Ok(())
        }
        result = work => result,
    };
    match result {
        Err(DriveError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            debug!("the output was closed");
            Ok(())
        }
        other => other,
    }
}

struct Driver<H: MessageHandler, W> {
    node: RawNode<H>,
    output: W,
    clocks: Clocks,
    line_bytes_max: usize,
    records: Journal,
    lost: LostLines,
}

/// The machine's clocks.
#[derive(Debug)]
struct Clocks {
    started: Instant,
    /// The last reading of the wall clock, and its time since `started`.
    wall: (Duration, Duration),
}

impl Clocks {
    fn start() -> Self {
        Self { started: Instant::now(), wall: (Self::wall(), Duration::ZERO) }
    }

    fn wall() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// The time now.
    fn read(&mut self) -> Clock {
        self.at(self.started.elapsed(), Self::wall)
    }

    /// The time at `monotonic`. Reads the wall clock with `wall` if the last reading is too old.
    fn at(&mut self, monotonic: Duration, wall: impl FnOnce() -> Duration) -> Clock {
        let (last, read_at) = self.wall;
        let since = monotonic.saturating_sub(read_at);
        if since < WALL_CLOCK_EVERY {
            return Clock { monotonic, wall: last.saturating_add(since) };
        }
        let wall = wall();
        self.wall = (wall, monotonic);
        Clock { monotonic, wall }
    }
}

/// The log lines that the program has lost.
#[derive(Debug)]
struct LostLines {
    total: Arc<AtomicU64>,
    /// The part of them that the metrics have counted.
    counted: u64,
}

impl LostLines {
    /// Number of lines that were lost since the last call.
    fn take(&mut self) -> u64 {
        let total = self.total.load(Ordering::Relaxed);
        total.saturating_sub(std::mem::replace(&mut self.counted, total))
    }
}

/// The destination of the node's records.
#[derive(Debug, Default)]
struct Journal {
    dir: Option<PathBuf>,
    /// Open once the node has its name.
    store: Option<Store>,
    /// The records of the next sync.
    batch: Vec<Vec<u8>>,
    /// The position at which the next part of the current snapshot begins.
    next_part: SnapshotPosition,
}

impl<H: MessageHandler, W: AsyncWrite + Unpin> Driver<H, W> {
    /// Ready at the node's next timeout. Never ready if the node has none.
    fn next_deadline(&self) -> impl Future<Output = ()> + use<H, W> {
        let deadline = self.node.poll_timeout().and_then(|at| self.clocks.started.checked_add(at));
        async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn feed(&mut self, lines: &mut LineSplitter, mut chunk: &[u8]) -> Result<(), DriveError> {
        while let Some(line) = lines.next_line(&mut chunk) {
            self.handle(&line)?;
            if self.node.output_bytes() >= BATCH_BYTES {
                self.write_out().await?;
            }
        }
        self.write_out().await
    }

    fn handle(&mut self, line: &Line<'_>) -> Result<(), StoreError> {
        match line {
            Line::Complete(line) => {
                if self.records.dir.is_some() && self.records.store.is_none() {
                    self.recover(line)?;
                }
                self.node.handle_line(self.clocks.read(), line);
            }
            Line::TooLong => {
                self.node.recorder().count(&metrics::SKIPPED, &["too_long"], 1);
                warn!(
                    limit_bytes = self.line_bytes_max,
                    "a line is longer than the limit (see --max-line-bytes) and was skipped"
                );
            }
        }
        Ok(())
    }

    /// If the line tells the node its name, recovers the records kept under that name first.
    fn recover(&mut self, line: &[u8]) -> Result<(), StoreError> {
        let Some((name, dir)) = self.node.name_in_init(line).zip(self.records.dir.as_ref()) else {
            return Ok(());
        };
        let begun = Instant::now();
        let mut store = Store::open(dir, &name, H::RECORD_FORMAT.unwrap_or_default())?;
        let records = store.records(|record| self.node.recover(record))?;
        self.records.store = Some(store);
        self.node.recorder().gauge(&metrics::RECOVERED, &[], metrics::float(records));
        let took = begun.elapsed();
        info!(node = %name, dir = %dir.display(), records, ?took, "recovered its records");
        Ok(())
    }

    /// Makes all persisted records durable with one sync, then writes all output of the node. Then
    /// begins a snapshot if the journal has grown enough.
    async fn write_out(&mut self) -> Result<(), DriveError> {
        let Journal { store, batch, next_part, .. } = &mut self.records;
        let (mut is_full, mut has_written) = (false, false);
        self.node.poll_records(batch);
        if let Some(store) = store
            && !batch.is_empty()
        {
            let begun = Instant::now();
            store.commit(batch)?;
            let recorder = self.node.recorder();
            recorder.observe(&metrics::SYNC_SECONDS, &[], begun.elapsed().as_secs_f64());
            recorder.observe(&metrics::SYNC_RECORDS, &[], metrics::float(batch.len() as u64));
            batch.clear();
            let bytes = self.node.snapshot_bytes().filter(|_| !store.is_replacing());
            is_full = bytes.is_some_and(|bytes| store.is_worth_replacing(bytes));
        }
        while let Some(lines) = self.node.poll_lines() {
            self.output.write_all(&lines).await?;
            self.node.reuse(lines);
            has_written = true;
        }
        if has_written {
            self.output.flush().await?;
        }
        if let Some(store) = store.as_mut().filter(|_| is_full) {
            *next_part = SnapshotPosition::default();
            store.begin_snapshot();
        }
        Ok(())
    }

    /// Whether a snapshot has a next step: a part is being written, or the node can provide one.
    fn can_snapshot(&self) -> bool {
        let Some(store) = &self.records.store else { return false };
        let is_part_written = store.part_written().is_some();
        is_part_written || store.is_replacing() && self.node.snapshot_bytes().is_some()
    }

    /// Ready when no part of a snapshot is being written.
    fn part_written(&self) -> impl Future<Output = ()> + use<H, W> {
        let written = self.records.store.as_ref().and_then(Store::part_written);
        async move {
            // If no part is being written, this is ready at its first poll. It must not wait then:
            // `select!` drops it whenever input is ready, so under constant input it would never be
            // ready.
            if let Some(written) = written {
                written.notified().await;
            }
        }
    }

    /// Completes the part of the snapshot that has become durable, or begins to write the next one.
    fn snapshot_next(&mut self) {
        match &mut self.records.store {
            Some(store) if store.part_written().is_some() => store.complete_part(),
            _ => self.add_part(),
        }
    }

    /// Begins to write the next part of the snapshot. Everything that the node has persisted is
    /// durable.
    fn add_part(&mut self) {
        let Some(store) = &mut self.records.store else { return };
        let mut part = Vec::new();
        let mut add = |record: &[u8]| part.push(record.to_vec());
        let mut records = Records::new(&mut add);
        let next = self.node.snapshot(self.records.next_part, PART_BYTES, &mut records);
        match next {
            Ok(next) => {
                store.add_part(Ok(part), next.is_none());
                self.records.next_part = next.unwrap_or_default();
            }
            Err(error) => store.add_part(Err(error), true),
        }
    }

    /// Answers a request for the metrics.
    fn tell(&mut self, asked: Asked) {
        self.node.recorder().count(&metrics::LOG_LINES_LOST, &[], self.lost.take());
        if let Some(store) = &mut self.records.store {
            let recorder = self.node.recorder();
            recorder.gauge(&metrics::DISK_BYTES, &[], metrics::float(store.disk_bytes()));
            for (outcome, count) in store.take_snapshot_counts() {
                recorder.count(&metrics::SNAPSHOTS, &[outcome], count);
            }
        }
        let metrics: Snapshot = self.node.metrics().unwrap_or_default();
        asked.answer(self.node.is_ready(), metrics);
    }

    /// Answers the requests that can still be answered. Open calls fail, since no reply can come. A
    /// handler that answers on a timer gets up to [`DRAIN_MAX`] to do so.
    async fn end_of_input(&mut self, lines: &mut LineSplitter) -> Result<(), DriveError> {
        if let Some(line) = lines.finish() {
            self.handle(&line)?;
        }
        let until = self.clocks.started.elapsed().saturating_add(DRAIN_MAX);
        let mut rounds = 0..DRAIN_ROUNDS_MAX;
        let mut is_told = false;
        loop {
            while !(is_told && self.node.open_rpcs() == 0) && rounds.next().is_some() {
                self.node.handle_end_of_input(self.clocks.read());
                is_told = true;
            }
            self.write_out().await?;
            let next = self.node.poll_timeout().filter(|at| *at <= until);
            if self.node.unanswered() == 0 || next.is_none() {
                return Ok(());
            }
            self.next_deadline().await;
            self.node.handle_timeout(self.clocks.read());
        }
    }
}

/// Ready when the process is asked to stop.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

#[cfg(test)]
#[path = "runtime_tests.rs"]
mod tests;
