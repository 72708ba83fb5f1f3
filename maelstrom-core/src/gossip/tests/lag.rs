//! Measures the lag of nodes, its cost in bytes, and the memory for waiting messages, under a
//! continuous load.
//!
//! Values claim to be large, so sizes and times are those of a real cluster.

use super::*;

/// The size in bytes that each value claims.
const BYTES: usize = 64 << 10;

type Larges = sized::Sized;

/// Measurements during a load.
#[derive(Debug, Default)]
struct Seen {
    /// The longest lag of a node.
    behind: Duration,
    /// The most bytes that a node held beside its state: its log, waiting pieces, and lines in
    /// transit from it.
    beside: usize,
}

struct Load {
    cluster: Cluster<Larges>,
    /// The time between two values.
    interval: Duration,
    /// The time at which each value was appended.
    times: Vec<Duration>,
    /// For each node, the number of the first values that it had at the last check.
    had: [usize; 3],
}

impl Load {
    fn new(hop_ms: u64, interval_ms: u64) -> Self {
        sized::set_value_bytes(BYTES);
        let cluster = Cluster::new(3, 3, Config::default(), steady(hop_ms));
        let mut load = Self { cluster, interval: ms(interval_ms), times: Vec::new(), had: [0; 3] };
        for index in 0..3 {
            load.append(index);
            load.cluster.run_for(secs(3));
        }
        load.cluster.assert_converged();
        load
    }

    fn append(&mut self, index: usize) {
        self.cluster.append(index);
        self.times.push(self.cluster.now);
    }

    /// The lag of a node: how long it has lacked the oldest value that it lacks.
    fn behind(&mut self, index: usize) -> Duration {
        let state = self.cluster.engine(index).state();
        let has = |value: usize| state.has(u32::try_from(value).unwrap());
        let had = &mut self.had[index];
        *had += (*had..self.times.len()).take_while(|value| has(*value)).count();
        self.times.get(*had).map_or(Duration::ZERO, |at| self.cluster.now - *at)
    }

    fn beside(&self, index: usize) -> usize {
        let Config { batch_bytes_max, .. } = self.cluster.config;
        let engine = self.cluster.engine(index);
        let (entries, pieces) = self.cluster.under_way_from(index);
        let early: usize = engine.bursts.waiting();
        let pieces = pieces + engine.fetching.waiting() + early;
        let kept = engine.replica.log_bytes() + engine.following.bytes();
        kept + entries * BYTES + pieces * batch_bytes_max
    }

    /// Appends for `time`, at these nodes in turn.
    fn run(&mut self, time: Duration, at: &[usize]) -> Seen {
        let (until, mut seen) = (self.cluster.now + time, Seen::default());
        for index in at.iter().cycle() {
            if self.cluster.now >= until {
                break;
            }
            self.append(*index);
            self.cluster.run_for(self.interval);
            for index in 0..3 {
                seen.behind = seen.behind.max(self.behind(index));
                seen.beside = seen.beside.max(self.beside(index));
            }
        }
        seen
    }

    /// An upper bound of the bytes that nodes have sent.
    fn bytes_sent(&self) -> usize {
        let pieces = usize::try_from(self.cluster.pieces_sent).unwrap();
        self.cluster.entries_sent * BYTES + pieces * self.cluster.config.batch_bytes_max
    }
}

/// A cluster with 20 MB of values in which one node restarts empty. From then on clients append 0.6
/// MB/s, and a hop takes 50 ms.
fn coming_back(back: usize) -> Load {
    let mut load = Load::new(50, 10);
    load.run(ms(3_200), &[1]);
    load.cluster.run_for(secs(20));
    load.cluster.assert_converged();
    load.interval = ms(105);
    load.run(secs(3), &[1]);
    load.cluster.restart(back, NO_RECORDS);
    load.had[back] = 0;
    load
}

#[test]
fn a_leaf_that_comes_back_empty_under_load_gets_everything_once() {
    let mut load = coming_back(2);
    let (sent, count) = (load.bytes_sent(), load.times.len());
    load.run(secs(3), &[1]);
    let seen = load.run(secs(10), &[1]);
    let new = load.times.len() - count;
    // The node gets all old values, and two nodes get all new values. Pieces count as full, a few
    // values also arrive by a push, and each node may abandon a fetch of one window: 4 MiB each.
    let (bytes, bytes_max) = (load.bytes_sent() - sent, (count + 2 * new) * BYTES + (8 << 20));
    println!("{seen:?}, {bytes} bytes of {bytes_max}");
    assert!(seen.behind <= ms(400), "{seen:?}");
    assert!(bytes <= bytes_max, "{bytes} of {bytes_max}");
}

/// While the hub has nothing, it passes nothing on. So its leaves fall behind as well. Since it has
/// no logs, each leaf gets a snapshot from it.
#[test]
fn a_hub_that_comes_back_empty_under_load_catches_up_and_so_do_its_leaves() {
    let mut load = coming_back(0);
    let (sent, count) = (load.bytes_sent(), load.times.len());
    load.run(secs(3), &[1]);
    assert!(load.behind(0) <= secs(1), "{:?}", load.behind(0));
    load.run(secs(2), &[1]);
    let seen = load.run(secs(10), &[1]);
    let new = load.times.len() - count;
    // A value waits for a period of 228 ms, is sent 19 ms before the beat, and takes two hops. The
    // test checks once per 105 ms. The leaf that did not append may get all old values from the
    // hub.
    let (bytes, bytes_max) = (load.bytes_sent() - sent, 2 * (count + new) * BYTES + (8 << 20));
    println!("{seen:?}, {bytes} bytes of {bytes_max}");
    assert!(seen.behind <= ms(460), "{seen:?}");
    assert!(bytes <= bytes_max, "{bytes} of {bytes_max}");
}

/// 2 MB/s, with 100 ms per hop: for 10 s, or for a minute on request.
#[test]
fn nobody_falls_behind_under_load_nor_holds_much_beside_its_state() {
    let time = secs(if seeds_asked_for().is_some() { 60 } else { 10 });
    for at in [&[0][..], &[2], &[0, 1, 2]] {
        let mut load = Load::new(100, 30);
        let seen = load.run(time, at);
        println!(
            "at {at:?}: {seen:?}, {} bytes, {} fetches, {} pieces",
            load.bytes_sent(),
            load.cluster.fetches_sent,
            load.cluster.pieces_sent
        );
        // A value waits for at most a period of 456 ms, is sent a margin of 20 ms before the beat,
        // and takes two hops.
        assert!(seen.behind <= ms(680), "at {at:?}: {seen:?}");
        // The log takes 4 MiB. The values of a period take less than 1 MiB, and are in transit to
        // two nodes.
        assert!(seen.beside <= 6 << 20, "at {at:?}: {seen:?}");
        // Each value goes to two nodes, and none goes twice.
        let bytes_max = load.times.len() * BYTES * 2;
        assert!(load.bytes_sent() <= bytes_max, "at {at:?}: {} of {bytes_max}", load.bytes_sent());
    }
}
