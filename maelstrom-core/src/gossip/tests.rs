//! Tests the engine against a model in which every node sends everything with every message, on
//! networks with various faults.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;

mod bursts;
mod bytes;
mod catching_up;
mod cluster;
mod convergence;
mod costs;
mod following;
mod hostile;
mod hubs;
mod lag;
mod limits;
mod many_lives;
mod monotonic;
mod other_nodes;
mod outages;
mod restarts;
mod sized;
mod snapshots;
mod states;
mod work;

use cluster::{Cluster, Faults, NO_RECORDS, Records, copied, name};
use states::{Set, Sums, VALUE_BYTES, Values};

/// How long a node that is not a hub may delay an acknowledgement.
const ACKNOWLEDGEMENT: Duration = secs(2);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A perfect network that takes `delay_ms` for each message.
fn steady(delay_ms: u64) -> Faults {
    Faults { delay_ms: delay_ms..=delay_ms, loss: 0.0, duplication: 0.0 }
}

/// The number of seeds in the environment variable `SEEDS`, if it is set. A test may then take
/// long.
#[expect(clippy::disallowed_methods, reason = "a test has no other command line")]
fn seeds_asked_for() -> Option<u64> {
    let asked = std::env::var("SEEDS").ok().filter(|text| !text.is_empty());
    asked.map(|text| text.parse().unwrap())
}

/// Runs `test` with `count` seeds, or as many as the environment sets. Names the seed that failed.
fn with_seeds(count: u64, test: impl Fn(u64)) {
    for seed in 0..seeds_asked_for().unwrap_or(count) {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed)));
        if let Err(panic) = result {
            println!("with seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// A cluster of 2 to 6 nodes with random faults, and batches and logs of random sizes.
fn any_cluster<S: Values>(seed: u64) -> Cluster<S> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let size = rng.random_range(2..=6);
    let delay_ms = [0, 20, 100, 400][rng.random_range(0..4)];
    let faults = Faults {
        delay_ms: delay_ms / 10..=delay_ms,
        loss: rng.random_range(0.0..0.5),
        duplication: rng.random_range(0.0..0.3),
    };
    let config = Config {
        batch_bytes_max: [0, 3 * VALUE_BYTES, 256 << 10][rng.random_range(0..3)],
        log_bytes_max: [0, 500, 4 << 20][rng.random_range(0..3)],
        ..Config::default()
    };
    let mut cluster = Cluster::new(seed, size, config, faults);
    cluster.rng = rng;
    cluster
}

/// Cuts each link with the given probability, in one direction or in both.
fn cut_anything<S: Values>(cluster: &mut Cluster<S>, probability: f64) {
    cluster.cut.clear();
    for from in 0..cluster.size() {
        for to in 0..cluster.size() {
            if from != to && cluster.rng.random_bool(probability) {
                cluster.cut.insert((from, to));
            }
        }
    }
}

/// Appends while links fail and recover, and nodes are paused.
fn stormy_weather<S: Values>(cluster: &mut Cluster<S>) {
    for _ in 0..6 {
        cut_anything(cluster, 0.4);
        if cluster.rng.random_bool(0.3) {
            let index = cluster.rng.random_range(0..cluster.size());
            cluster.pause(index);
        }
        for _ in 0..cluster.rng.random_range(0..4) {
            let count = cluster.rng.random_range(0..4);
            cluster.append_anywhere(count);
            let pause = cluster.rng.random_range(0..1_500);
            cluster.run_for(ms(pause));
        }
        cluster.resume_all();
    }
}

/// Ends all faults. Messages still overtake each other.
fn calm_down<S: Values>(cluster: &mut Cluster<S>) {
    cluster.cut.clear();
    cluster.faults.loss = 0.0;
    cluster.faults.duplication = 0.0;
    cluster.resume_all();
}

/// The longest time from the last fault until all nodes have everything, if every link works.
///
/// A node may hold entries back because it believes that another node serves a peer. It notices the
/// error by its patience: an acknowledgement may take its time, and then the peer is asked twice. A
/// node that considers a peer down probes it at the next interval. Then there are a few hops.
/// Missing entries arrive batch by batch, in the worst case as the whole state of each peer in
/// turn.
fn bound<S: Values>(cluster: &Cluster<S>) -> Duration {
    let delay = ms(*cluster.faults.delay_ms.end());
    let patience = (6 * delay).max(2 * delay + cluster.config.patience_min).max(secs(3));
    let acknowledgement = (5 * 2 * delay).max(ACKNOWLEDGEMENT);
    let batch = (cluster.config.batch_bytes_max / VALUE_BYTES).max(1);
    let batches = u32::try_from(cluster.appended.len().div_ceil(batch) * cluster.size()).unwrap();
    let settled = acknowledgement + 2 * patience + cluster.config.probe_interval + 6 * delay;
    settled + batches * 2 * delay
}
