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
//! * *Messages* ≤ 2 (n − 1) per period or per value, whichever are fewer; twice that once for the
//!   messages at the end; and one to each other node for each full batch.
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
//!   larger, and never more than all values. Two windows may be abandoned.
//! * *Messages* by 4 for each batch that the node lacks (a fetch, its answer, and both once more)
//!   and for each period.
//! * *Memory* by (H + N) × B at the node itself, because pieces wait until all have arrived, and by
//!   a window at a node that sends them.
//! * *Lag* is as before after 3 s. The node is silent for at most 1 s, and then receives twice as
//!   much per second as is appended.

use super::sized::Sized;
use super::*;

const HOP_MS: u64 = 10;

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

struct Load<const B: usize> {
    cluster: Cluster<Sized<B>>,
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

impl<const B: usize> Load<B> {
    fn new(size: usize) -> Self {
        let cluster = Cluster::new(size as u64, size, Config::default(), steady(HOP_MS));
        let mut appending = vec![0, 1, size / 2, size - 1];
        appending.dedup();
        // At most 8 MB per second.
        let interval = ms(u64::try_from((B / 8_000).max(size).max(5)).unwrap());
        let (lacked, beside) = (vec![0; size], vec![0; size]);
        let (times, behind) = (Vec::new(), Duration::ZERO);
        let mut load = Self { cluster, interval, appending, times, lacked, behind, beside };
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
        let piece_bytes = self.cluster.config.batch_bytes_max.max(B);
        engine.replica.log_bytes() + entries * B + pieces * piece_bytes
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

    fn behind_max(&self) -> Duration {
        let period = self.period();
        period + beat::margin(period, Duration::ZERO) + 2 * ms(HOP_MS) + self.interval
    }

    /// The most messages that `count` values may take.
    fn messages_max(&self, count: usize) -> usize {
        let periods = self.periods_in(self.interval * u32::try_from(count).unwrap());
        let rounds = periods.min(count) + 2;
        let batches = count / (self.cluster.config.batch_bytes_max / B).max(1);
        (2 * rounds + batches) * (self.size() - 1)
    }

    fn beside_max(&self) -> usize {
        let (log_bytes_max, entry_bytes) = (self.cluster.config.log_bytes_max, B + 48);
        let logs = log_bytes_max.max(self.appending.len() * entry_bytes + log_bytes_max / 4);
        let logs = logs.min(self.times.len() * entry_bytes);
        let in_a_period = rounded_up(self.period(), self.interval) + 1;
        logs + (self.size() - 1) * B * in_a_period
    }

    /// Asserts that not more bytes were sent than this many values and messages take.
    fn assert_sent(&self, values: usize, messages: usize, rows: usize) {
        let Cluster { messages_sent, bytes_sent, entries_sent, piece_values_sent, .. } =
            &self.cluster;
        let (size, sent) = (self.size(), entries_sent + piece_values_sent);
        println!(
            "{B} bytes, {size} nodes: {sent} values of {values}, {messages_sent} messages of {messages}, \
             {bytes_sent} other bytes"
        );
        assert!(sent <= values, "{B} bytes, {size} nodes: {sent} values of {values}");
        assert!(
            *messages_sent <= messages as u64,
            "{messages_sent} messages of {messages}, {size}"
        );
        let bytes_max =
            messages * (ENVELOPE_BYTES + rows * ROW_BYTES) + values * (RUN_BYTES + NUMBER_BYTES);
        assert!(*bytes_sent <= bytes_max, "{B} bytes, {size} nodes: {bytes_sent} of {bytes_max}");
    }

    fn assert_behind(&self) {
        let (behind, behind_max, size) = (self.behind, self.behind_max(), self.size());
        println!("{B} bytes, {size} nodes: {behind:?} of {behind_max:?} behind");
        assert!(behind <= behind_max, "{B} bytes, {size} nodes: {behind:?} of {behind_max:?}");
    }

    fn assert_beside(&self, more: impl Fn(usize) -> usize) {
        for (index, beside) in self.beside.iter().enumerate() {
            let beside_max = self.beside_max() + more(index);
            println!("{B} bytes: n{index} holds {beside} of {beside_max}");
            assert!(
                *beside <= beside_max,
                "{B} bytes, n{index} of {}: {beside} of {beside_max}",
                self.size()
            );
        }
    }
}

/// Clusters of many nodes take a long time, so they run only on request.
fn sizes() -> &'static [usize] {
    if seeds_asked_for().is_some() { &[2, 5, 25, 100] } else { &[2, 5] }
}

fn is_bounded_under_load<const B: usize>(size: usize) {
    let mut load = Load::<B>::new(size);
    let count = load.run(secs(4));
    load.assert_behind();
    load.cluster.run_for(secs(10));
    load.cluster.assert_converged();
    load.assert_sent(count * (size - 1), load.messages_max(count), load.appending.len());
    load.assert_beside(|_| 0);
}

#[test]
fn bytes_sent_memory_and_time_behind_are_bounded_under_load() {
    for size in sizes() {
        is_bounded_under_load::<10>(*size);
        is_bounded_under_load::<1_000>(*size);
        is_bounded_under_load::<{ 64 << 10 }>(*size);
        is_bounded_under_load::<{ 8 << 20 }>(*size);
    }
    is_bounded_under_load::<10>(25);
}

fn is_bounded_while_a_node_catches_up<const B: usize>(size: usize) {
    let mut load = Load::<B>::new(size);
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
    load.assert_behind();
    load.cluster.run_for(secs(10));
    load.cluster.assert_converged();
    let (all, window) = (before + new, WINDOW_BYTES.max(B));
    let values = before + size * new + 2 * all.min(window / B);
    let batches = all.div_ceil((load.cluster.config.batch_bytes_max / B).max(1));
    let messages = load.messages_max(new) + 4 * (batches + load.periods_in(secs(5)));
    load.assert_sent(values, messages, load.appending.len() + 2);
    load.assert_beside(|index| if index == back { all * B } else { window.min(all * B) });
}

#[test]
fn bytes_sent_memory_and_time_behind_are_bounded_while_a_node_catches_up() {
    for size in sizes() {
        is_bounded_while_a_node_catches_up::<10>(*size);
        is_bounded_while_a_node_catches_up::<1_000>(*size);
        is_bounded_while_a_node_catches_up::<{ 64 << 10 }>(*size);
        is_bounded_while_a_node_catches_up::<{ 8 << 20 }>(*size);
    }
}
