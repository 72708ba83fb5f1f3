//! Randomness: one seed, an independent stream for each use.
//!
//! With a stream each, drawing one latency more does not change what the nemesis does next.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Random numbers that are the same on every machine.
pub type SimRng = ChaCha8Rng;

/// What a stream is used for.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// How long messages take.
    Latency = 1,
    /// When operations are started, which, and by whom.
    Generator = 2,
    /// What the nemesis does, and when.
    Nemesis = 3,
    /// The nodes' own random numbers.
    Nodes = 4,
    /// How far behind the services are.
    Services = 5,
    /// Which errors they answer with.
    ServiceErrors = 6,
    /// What a seed of a sweep stands for.
    Swarm = 7,
    /// When the nodes join the network.
    Start = 8,
    /// The nodes' settings, where each run has others.
    Settings = 9,
}

/// The random numbers of a run for one use.
#[must_use]
pub fn stream(seed: u64, stream: Stream) -> SimRng {
    let mut rng = SimRng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}
