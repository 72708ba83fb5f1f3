//! How far behind nodes are, how many bytes that costs, and what waits in memory, where much is
//! appended without end.
//!
//! Values say that they are large, so that sizes and times are those of a real cluster.

use super::*;

/// The size in bytes that each value claims.
const BYTES: usize = 64 << 10;

type Larges = sized::Sized<BYTES>;

/// Measurements made while clients append values.
#[derive(Debug, Default)]
struct Seen {
    /// How far behind a node was, at worst.
    behind: Duration,
    /// The most bytes that a node held besides its state: its log, pieces that wait, and lines that it has
    /// sent and nobody has got.
    beside: usize,
}

struct Load {
    cluster: Cluster<Larges>,
    /// Between two values.
    interval: Duration,
    /// When each value was appended.
    times: Vec<Duration>,
}

impl Load {
    fn new(hop_ms: u64, interval_ms: u64) -> Self {
        let cluster = Cluster::new(3, 3, Config::default(), steady(hop_ms));
        let mut load = Self { cluster, interval: ms(interval_ms), times: Vec::new() };
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

    /// For how long a node has lacked the oldest value that it lacks.
    fn behind(&self, index: usize) -> Duration {
        let values = self.cluster.values(index);
        let lacks = (0..).zip(&self.times).find(|(value, _)| !values.contains(value));
        lacks.map_or(Duration::ZERO, |(_, at)| self.cluster.now - *at)
    }

    fn beside(&self, index: usize) -> usize {
        let Config { batch_bytes_max, .. } = self.cluster.config;
        let engine = self.cluster.engine(index);
        let (entries, pieces) = self.cluster.under_way_from(index);
        let early: usize = engine.bursts.waiting();
        let pieces = pieces + engine.fetching.waiting() + early;
        engine.replica.log_bytes() + entries * BYTES + pieces * batch_bytes_max
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

/// 20 MB of values, and one of the nodes comes back empty. From then on there are 0.6 MB/s, and a hop
/// takes 50 ms.
fn coming_back(back: usize) -> Load {
    let mut load = Load::new(50, 10);
    load.run(ms(3_200), &[1]);
    load.cluster.run_for(secs(20));
    load.cluster.assert_converged();
    load.interval = ms(105);
    load.run(secs(3), &[1]);
    load.cluster.restart(back, NO_RECORDS);
    load
}

#[test]
fn a_leaf_that_comes_back_empty_under_load_gets_everything_once() {
    let mut load = coming_back(2);
    let (sent, count) = (load.bytes_sent(), load.times.len());
    load.run(secs(3), &[1]);
    let seen = load.run(secs(10), &[1]);
    let new = load.times.len() - count;
    // The node gets all that there was, and two nodes get all that is new. Pieces count as if they were
    // full, a few values come by a push as well, and each node may give up a fetch of a window: 8 MiB.
    let (bytes, bytes_max) = (load.bytes_sent() - sent, (count + 2 * new) * BYTES + (8 << 20));
    println!("{seen:?}, {bytes} bytes of {bytes_max}");
    assert!(seen.behind <= ms(400), "{seen:?}");
    assert!(bytes <= bytes_max, "{bytes} of {bytes_max}");
}

/// While it has nothing, it passes nothing on. So its leaves fall behind as well, and since it has no
/// logs, each gets a snapshot of it.
#[test]
fn a_hub_that_comes_back_empty_under_load_catches_up_and_so_do_its_leaves() {
    let mut load = coming_back(0);
    let (sent, count) = (load.bytes_sent(), load.times.len());
    load.run(secs(3), &[1]);
    assert!(load.behind(0) <= secs(1), "{:?}", load.behind(0));
    load.run(secs(2), &[1]);
    let seen = load.run(secs(10), &[1]);
    let new = load.times.len() - count;
    // A value waits for a period of 228 ms, is early for the beat by 19 ms, takes two hops, and the
    // test looks once in 105 ms. The leaf that did not append may get all that there was, from the
    // hub.
    let (bytes, bytes_max) = (load.bytes_sent() - sent, 2 * (count + new) * BYTES + (8 << 20));
    println!("{seen:?}, {bytes} bytes of {bytes_max}");
    assert!(seen.behind <= ms(460), "{seen:?}");
    assert!(bytes <= bytes_max, "{bytes} of {bytes_max}");
}

/// 2 MB/s, where a hop takes 100 ms.
#[test]
fn nobody_falls_behind_under_load_nor_holds_much_beside_its_state() {
    for at in [&[0][..], &[2], &[0, 1, 2]] {
        let mut load = Load::new(100, 30);
        let seen = load.run(secs(20), at);
        println!(
            "at {at:?}: {seen:?}, {} bytes, {} fetches, {} pieces",
            load.bytes_sent(),
            load.cluster.fetches_sent,
            load.cluster.pieces_sent
        );
        // A value waits for a period of 456 ms at most, is early for the beat by a margin of 20 ms,
        // and takes two hops.
        assert!(seen.behind <= ms(680), "at {at:?}: {seen:?}");
        // The log takes 4 MiB. The values of a period take less than 1 MiB, and are on their way to
        // two nodes.
        assert!(seen.beside <= 6 << 20, "at {at:?}: {seen:?}");
        // Each value goes to two nodes, and nothing goes twice.
        let bytes_max = load.times.len() * BYTES * 2;
        assert!(load.bytes_sent() <= bytes_max, "at {at:?}: {} of {bytes_max}", load.bytes_sent());
    }
}
