//! Clients send ten times as many requests to one node as it takes.

use std::num::NonZeroU32;
use std::time::Duration;

use maelstrom_core::{Limits, MessageHandler, NodeId};
use maelstrom_sim::Test;
use maelstrom_sim::history::{History, Op, OpType, Process};
use maelstrom_sim::options::{Latency, LatencyDist, Options};
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::workload::Workload;
use maelstrom_sim::world::World;

const NODES: usize = 5;

/// Requests that clients send to each node in a second.
const RATE: u32 = 100;

/// Requests that the flooded node takes in a second.
const LIMIT: u32 = RATE / 10;

const SECONDS: u32 = 4;

/// The node that is flooded is the first one. Clients send as much to the others, which take all.
pub(crate) fn flood<H: MessageHandler>(
    workload: impl Workload,
    seed: u64,
    build: impl FnMut(&NodeId) -> H,
) -> World {
    let mut options = options(seed);
    let limits = Limits { requests_per_second: NonZeroU32::new(LIMIT), ..Limits::default() };
    options.node_limits.insert(options.nodes[0].clone(), limits);
    let world = simulate(Test::new(workload, options), build);
    world.assert_valid();
    check_refusals(&world);
    world
}

/// As many requests at nodes that take all of them.
pub(crate) fn options(seed: u64) -> Options {
    let options = Options {
        rate: f64::from(RATE * u32::try_from(NODES).unwrap()),
        time_limit: Duration::from_secs(SECONDS.into()),
        latency: Latency { mean_ms: 10, dist: LatencyDist::Uniform },
        sync_max: Some(Duration::from_millis(1)),
        seed,
        ..Options::default().with_node_count(NODES)
    };
    // Threads whose operation takes long do not make the others wait. In the end each reads once,
    // and the flooded node takes as many reads at once.
    Options { concurrency: 8 * NODES, ..options }
}

/// Whether a client of the flooded node executed this operation.
pub(crate) fn is_flooded(op: &Op) -> bool {
    matches!(op.process, Process::Client(process) if process % NODES as u64 == 0)
}

/// The ends of operations before the final ones, except crashes of clients.
fn ends(history: &History) -> impl Iterator<Item = &Op> {
    let ends = history.client_ops().filter(|op| op.kind != OpType::Invoke && !op.is_final);
    ends.filter(|op| op.f != "crash")
}

/// The flooded node serves requests up to its limit, and refuses all others with error 11.
fn check_refusals(world: &World) {
    let is_refusal =
        |op: &&Op| op.error.as_ref().is_some_and(|text| text.contains("--max-requests-per-second"));
    let at_it = || ends(world.history()).filter(|op| is_flooded(op));
    let refused = at_it().filter(is_refusal).count();
    let taken = at_it().count() - refused;
    // The last request may come a little after its time, when there is one more to take.
    let (sent, most) = ((RATE * SECONDS) as usize, (LIMIT * SECONDS + LIMIT + 1) as usize);
    assert!(at_it().count() > sent * 8 / 10, "only {} requests came", at_it().count());
    assert!((most * 8 / 10..=most).contains(&taken), "{taken} of {most} were taken");
    assert!(at_it().filter(is_refusal).all(|op| op.is_definite));
    let bad: Vec<&Op> = ends(world.history())
        .filter(|op| op.kind != OpType::Ok && !(is_flooded(op) && is_refusal(op)))
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    let metrics = world.metrics(&world.options().nodes[0]).unwrap();
    let counted = metrics.sum("maelstrom_refused_total", &[("limit", "requests_per_second")]);
    assert!(counted >= refused as f64, "{counted}, {refused}");
}
