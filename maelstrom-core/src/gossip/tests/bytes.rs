//! Bounds on bytes sent, on memory beside the state, and on the lag of nodes: under load, and while
//! a node catches up.
//!
//! Let there be n nodes, and values of B bytes. One value is appended per interval, for a time T,
//! at a nodes in turn. A hop takes h, the period is p, and batches have b bytes.
//!
//! * *Lag* ≤ p + margin + 2h + interval. A value waits for at most one period, is sent a margin
//!   before the hub's beat, and takes two hops. The test checks once per interval.
//! * *Bytes of values* ≤ values × (n − 1) × B. Each value goes to each other node once.
//! * *Other bytes* ≤ messages × (envelope + a rows) + values × (n − 1) × (a run + a number). A
//!   message names one row for each log. In the worst case each value is a run of its own.
//! * *Messages* ≤ 2 (n − 1) per period or per value, whichever are fewer; a tenth of these for last
//!   calls; twice that once for the messages at the end; and one to each other node for each full
//!   batch.
//! * *Memory beside the state* ≤ the logs + (n − 1) × B × (values in a period + 1). The logs take 4
//!   MiB. If values are large, they take the newest value of each log and 1 MiB. They never take
//!   more than all values, with 48 bytes for each. (See `Replica::limit`.) All values of a period
//!   may be in transit to all nodes.
//!
//! A node restarts empty after H values, and N more values are appended while it catches up. Then
//! these bounds grow:
//!
//! * *Bytes of values* by (H + N) × B + 2 windows. The node gets all old values once, and may get
//!   new values both by a push and by a fetch. A window is 4 MiB, or a single value if that is
//!   larger, and never more than all values, whatever the round trip. Two windows may be abandoned.
//! * *Messages* by 4 for each batch that the node lacks (a fetch, its answer, and both once more)
//!   and for each period.
//! * *Memory* by (H + N) × B at the node itself, because pieces wait until all have arrived, and by
//!   a window at a node that sends them.
//! * *Lag* is as before after 3 s, but round trips vary, so the margin may be a quarter of a period.
//!   The node is silent for at most 1 s, and then receives twice as much per second as is appended.

use super::sized::{Sized, set_value_bytes};
use super::*;

/// A hop takes this long. After the longer one, a window has room for many batches.
const HOP_MS: u64 = 10;
const LONG_HOP_MS: u64 = 100;

/// The largest size of a message without its rows and runs.
const ENVELOPE_BYTES: usize = 350;

/// The size of a row, and of a run without its entries.
const ROW_BYTES: usize = 40;
const RUN_BYTES: usize = 100;

/// The size of a value as these tests encode it.
const NUMBER_BYTES: usize = 5;

/// The size of a window of batches.
const WINDOW_BYTES: usize = 4 << 20;

/// How many parts fit into a time, rounded up.
fn rounded_up(time: Duration, part: Duration) -> usize {
    usize::try_from(time.as_nanos().div_ceil(part.as_nanos())).unwrap()
}

struct Load {
    cluster: Cluster<Sized>,
    /// The size of a value.
    bytes: usize,
    hop: Duration,
    interval: Duration,
    /// The nodes that append in turn.
    appending: Vec<usize>,
    /// The time at which each value was appended.
    times: Vec<Duration>,
    /// For each node, the first value that it lacked at the last check.
    lacked: Vec<usize>,
    /// The longest lag.
    behind: Duration,
    /// For each node, the most memory beside its state.
    beside: Vec<usize>,
}

impl Load {
    fn new(bytes: usize, size: usize, hop_ms: u64) -> Self {
        Self::with(bytes, size, hop_ms, Config::default())
    }

    fn with(bytes: usize, size: usize, hop_ms: u64, config: Config) -> Self {
        set_value_bytes(bytes);
        let cluster = Cluster::new(size as u64, size, config, steady(hop_ms));
        let hop = ms(hop_ms);
        let mut appending = vec![0, 1, size / 2, size - 1];
        appending.dedup();
        // At most 8 MB per second, or 2 MB with the long hop: the values that are appended in two
        // round trips must fit into half of the logs.
        let bytes_per_ms = if hop_ms > HOP_MS { 2_000 } else { 8_000 };
        let interval = ms(u64::try_from((bytes / bytes_per_ms).max(size).max(5)).unwrap());
        let (lacked, beside) = (vec![0; size], vec![0; size]);
        let (times, behind) = (Vec::new(), Duration::ZERO);
        let mut load =
            Self { cluster, bytes, hop, interval, appending, times, lacked, behind, beside };
        for index in load.appending.clone() {
            load.append(index);
            load.cluster.run_for(secs(3));
        }
        load.cluster.run_for(secs(10));
        load.cluster.assert_converged();
        load.forget();
        load
    }

    fn size(&self) -> usize {
        self.cluster.size()
    }

    fn append(&mut self, index: usize) {
        self.cluster.append(index);
        self.times.push(self.cluster.now);
    }

    /// Resets all counters.
    fn forget(&mut self) {
        let cluster = &mut self.cluster;
        (cluster.messages_sent, cluster.bytes_sent) = (0, 0);
        (cluster.entries_sent, cluster.piece_values_sent) = (0, 0);
        self.behind = Duration::ZERO;
        self.beside.fill(0);
    }

    fn look(&mut self) {
        for index in 0..self.size() {
            let state = self.cluster.engine(index).state();
            let lacked = &mut self.lacked[index];
            let has = |value: usize| state.has(u32::try_from(value).unwrap());
            if *lacked > 0 && !has(*lacked - 1) {
                *lacked = 0;
            }
            *lacked += (*lacked..self.times.len()).take_while(|value| has(*value)).count();
            let since = self.times.get(*lacked).map(|at| self.cluster.now - *at);
            self.behind = self.behind.max(since.unwrap_or_default());
            self.beside[index] = self.beside[index].max(self.beside_now(index));
        }
    }

    fn beside_now(&self, index: usize) -> usize {
        let engine = self.cluster.engine(index);
        let (entries, pieces) = self.cluster.under_way_from(index);
        let pieces = pieces + engine.fetching.waiting() + engine.bursts.waiting();
        let piece_bytes = self.cluster.config.batch_bytes_max.max(self.bytes);
        engine.replica.log_bytes()
            + engine.following.bytes()
            + entries * self.bytes
            + pieces * piece_bytes
    }

    /// Appends for `time`, and returns the number of values.
    fn run(&mut self, time: Duration) -> usize {
        let (until, before) = (self.cluster.now + time, self.times.len());
        for nth in 0.. {
            if self.cluster.now >= until {
                break;
            }
            self.append(self.appending[nth % self.appending.len()]);
            self.cluster.run_for(self.interval);
            self.look();
        }
        self.times.len() - before
    }

    fn period(&self) -> Duration {
        (0..self.size()).map(|index| self.cluster.engine(index).period).max().unwrap()
    }

    fn periods_in(&self, time: Duration) -> usize {
        rounded_up(time, self.period())
    }

    /// The longest lag, if round trips have this `variation`.
    fn behind_max(&self, variation: Duration) -> Duration {
        let period = self.period();
        period + beat::margin(period, variation) + 2 * self.hop + self.interval
    }

    /// The most messages that `count` values may take.
    fn messages_max(&self, count: usize) -> usize {
        let periods = self.periods_in(self.interval * u32::try_from(count).unwrap());
        let rounds = periods.min(count) + 2;
        let batches = count / (self.cluster.config.batch_bytes_max / self.bytes).max(1);
        (2 * rounds + rounds / 5 + batches) * (self.size() - 1)
    }

    fn beside_max(&self) -> usize {
        let (log_bytes_max, entry_bytes) = (self.cluster.config.log_bytes_max, self.bytes + 48);
        let logs = log_bytes_max.max(self.appending.len() * entry_bytes + log_bytes_max / 4);
        let logs = logs.min(self.times.len() * entry_bytes);
        let in_a_period = rounded_up(self.period(), self.interval) + 1;
        logs + (self.size() - 1) * self.bytes * in_a_period
    }

    /// Asserts that not more bytes were sent than this many values and messages take.
    fn assert_sent(&self, values: usize, messages: usize, rows: usize) {
        let Cluster { messages_sent, bytes_sent, entries_sent, piece_values_sent, .. } =
            &self.cluster;
        let (bytes, size, sent) = (self.bytes, self.size(), entries_sent + piece_values_sent);
        println!(
            "{bytes} bytes, {size} nodes: {sent} values of {values}, {messages_sent} messages of {messages}, \
             {bytes_sent} other bytes"
        );
        assert!(sent <= values, "{bytes} bytes, {size} nodes: {sent} values of {values}");
        assert!(
            *messages_sent <= messages as u64,
            "{messages_sent} messages of {messages}, {size}"
        );
        let bytes_max =
            messages * (ENVELOPE_BYTES + rows * ROW_BYTES) + values * (RUN_BYTES + NUMBER_BYTES);
        assert!(
            *bytes_sent <= bytes_max,
            "{bytes} bytes, {size} nodes: {bytes_sent} of {bytes_max}"
        );
    }

    fn assert_behind(&self, variation: Duration) {
        let (behind, behind_max) = (self.behind, self.behind_max(variation));
        let (bytes, size) = (self.bytes, self.size());
        println!("{bytes} bytes, {size} nodes: {behind:?} of {behind_max:?} behind");
        assert!(behind <= behind_max, "{bytes} bytes, {size} nodes: {behind:?} of {behind_max:?}");
    }

    fn assert_beside(&self, more: impl Fn(usize) -> usize) {
        let bytes = self.bytes;
        for (index, beside) in self.beside.iter().enumerate() {
            let beside_max = self.beside_max() + more(index);
            println!("{bytes} bytes: n{index} holds {beside} of {beside_max}");
            assert!(
                *beside <= beside_max,
                "{bytes} bytes, n{index} of {}: {beside} of {beside_max}",
                self.size()
            );
        }
    }
}

/// Sizes of values and of clusters, and how long a hop takes. By default each size of a value has one
/// cluster. On request it has all, also those of many nodes, with both times.
fn sizes() -> Vec<(usize, usize, u64)> {
    if seeds_asked_for().is_some() {
        let with_both = |bytes, size| [(bytes, size, HOP_MS), (bytes, size, LONG_HOP_MS)];
        let values = [10, 1_000, 64 << 10, 8 << 20];
        let clusters = values.into_iter().flat_map(|bytes| [2, 5, 25, 100].map(|n| (bytes, n)));
        clusters.flat_map(|(bytes, size)| with_both(bytes, size)).collect()
    } else {
        vec![
            (10, 2, LONG_HOP_MS),
            (1_000, 5, HOP_MS),
            (64 << 10, 2, LONG_HOP_MS),
            (8 << 20, 5, HOP_MS),
        ]
    }
}

fn is_bounded_under_load(bytes: usize, size: usize, hop_ms: u64) {
    let mut load = Load::new(bytes, size, hop_ms);
    let count = load.run(secs(4));
    load.assert_behind(Duration::ZERO);
    load.cluster.run_for(secs(10));
    load.cluster.assert_converged();
    load.assert_sent(count * (size - 1), load.messages_max(count), load.appending.len());
    load.assert_beside(|_| 0);
}

#[test]
fn bytes_sent_memory_and_time_behind_are_bounded_under_load() {
    for (bytes, size, hop_ms) in sizes() {
        is_bounded_under_load(bytes, size, hop_ms);
    }
    is_bounded_under_load(10, 25, HOP_MS);
}

fn is_bounded_while_a_node_catches_up(bytes: usize, size: usize, hop_ms: u64) {
    let mut load = Load::new(bytes, size, hop_ms);
    load.run(secs(4));
    load.cluster.run_for(secs(10));
    load.cluster.assert_converged();
    let (back, before) = (size - 1, load.times.len());
    load.appending.retain(|index| *index != back);
    load.forget();
    load.cluster.restart(back, NO_RECORDS);
    let mut new = load.run(secs(3));
    load.behind = Duration::ZERO;
    new += load.run(secs(2));
    load.assert_behind(Duration::MAX);
    load.cluster.run_for(secs(10));
    load.cluster.assert_converged();
    let (all, window) = (before + new, WINDOW_BYTES.max(bytes));
    let values = before + size * new + 2 * all.min(window / bytes);
    let batches = all.div_ceil((load.cluster.config.batch_bytes_max / bytes).max(1));
    let messages = load.messages_max(new) + 4 * (batches + load.periods_in(secs(5)));
    load.assert_sent(values, messages, load.appending.len() + 2);
    load.assert_beside(|index| if index == back { all * bytes } else { window.min(all * bytes) });
}

#[test]
fn bytes_sent_memory_and_time_behind_are_bounded_while_a_node_catches_up() {
    for (bytes, size, hop_ms) in sizes() {
        is_bounded_while_a_node_catches_up(bytes, size, hop_ms);
    }
}

/// Restarts a node without its records. Returns the most bytes of values that were in transit in
/// answers of the other node at once. The node gets entries if the logs are long enough, and else pieces.
fn most_in_transit_to_a_node_that_comes_back(
    bytes: usize,
    count: usize,
    log_bytes_max: usize,
) -> usize {
    let config = Config { log_bytes_max, ..Config::default() };
    let mut load = Load::with(bytes, 2, LONG_HOP_MS, config);
    for _ in 0..count {
        load.append(0);
        load.cluster.run_for(secs(1));
    }
    load.cluster.run_for(secs(10));
    load.cluster.assert_converged();
    load.cluster.restart(1, NO_RECORDS);
    let mut most = 0;
    for _ in 0..10_000 {
        load.cluster.run_for(ms(1));
        most = most.max(load.cluster.values_in_answers_from(0) * bytes);
    }
    load.cluster.assert_converged();
    most
}

#[test]
fn an_answer_takes_no_more_bytes_than_a_window_whatever_the_size_of_values() {
    const LARGE: usize = 8 << 20;
    const MIDDLE: usize = 1_500_000;
    const SMALL: usize = 100_000;
    for log_bytes_max in [WINDOW_BYTES, 1 << 30] {
        let most = most_in_transit_to_a_node_that_comes_back(LARGE, 20, log_bytes_max);
        assert!(most <= LARGE, "{most} bytes");
        let most = most_in_transit_to_a_node_that_comes_back(MIDDLE, 40, log_bytes_max);
        assert!((MIDDLE..=WINDOW_BYTES).contains(&most), "{most} bytes");
        let most = most_in_transit_to_a_node_that_comes_back(SMALL, 200, log_bytes_max);
        assert!((WINDOW_BYTES / 2..=WINDOW_BYTES).contains(&most), "{most} bytes");
    }
}
