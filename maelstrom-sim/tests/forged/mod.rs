//! Somebody between the nodes forges messages, changes others, and sends old ones again.

use maelstrom_core::auth::{ClusterKey, DROPPED};
use maelstrom_core::{MessageHandler, NodeId};
use maelstrom_sim::Test;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::sweep::{Case, Sweep};

use super::seeds::seeds;

/// The number of seeds with a key, and how many may show the harm to nodes without one.
const SEEDS: u64 = 2;
const SEEDS_WITHOUT_KEY: u64 = 14;

/// The nodes have a key, and somebody without it is between them.
pub(crate) fn forged(mut test: Test) -> Test {
    test.options.nemesis.extend([Fault::Forgery, Fault::Replay]);
    test.options.cluster_key = Some(key());
    test
}

fn key() -> ClusterKey {
    ClusterKey::new(b"known to all of the nodes").unwrap()
}

/// A full sweep of these handlers is as it was without forged messages.
pub(crate) fn sweep_with_forgery<H: MessageHandler>(
    sweep: Sweep,
    name: &str,
    build: impl Fn(&NodeId) -> H + Sync,
) {
    sweep.expecting([DROPPED]).test_cases(name, 1, |test| Case::new(forged(test), &build));
}

/// Forged messages are all that is wrong. With a key each run ends well, and nodes drop messages.
/// Without one, at least one run does not end well.
pub(crate) fn expect_that_only_a_key_helps<H: MessageHandler>(
    sweep: &Sweep,
    build: impl Fn(&NodeId) -> H,
) {
    let run = |seed: u64, key: Option<ClusterKey>| {
        let mut test = sweep.test_for(seed);
        test.options = test.options.with_node_count(3);
        test.options.nemesis = [Fault::Forgery].into();
        test.options.cluster_key = key;
        Case::new(test, &build).run("forgery")
    };
    for seed in seeds(SEEDS) {
        let (world, _) = run(seed, Some(key())).unwrap();
        assert!(world.marks().contains_key(DROPPED), "seed {seed}: nothing was dropped");
    }
    // From the last seed on: with seed 2, forged messages keep a broadcast busy for ten seconds, and
    // with the last one all handlers of the workspace fail soon.
    let mut without = (0..SEEDS_WITHOUT_KEY).rev();
    assert!(without.any(|seed| run(seed, None).is_err()), "nobody noticed forged messages");
}
