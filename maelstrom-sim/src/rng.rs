//! Random numbers: one seed, with an independent stream for each purpose.
//!
//! Because the streams are independent, one more latency draw does not change the actions of the
//! nemesis.

use chacha20::ChaCha8Rng;
use rand::SeedableRng;

/// A generator with the same numbers on every machine. [`stream`] shows it in use.
pub type SimRng = ChaCha8Rng;

/// The purpose of a stream. [`stream`] shows it in use.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// The latencies of messages, and the faults of single messages: losses, duplicates, forgeries.
    Latency = 1,
    /// The operations, their times and their clients.
    Generator = 2,
    /// The actions of the nemesis, and their times.
    Nemesis = 3,
    /// The random numbers of the nodes themselves.
    Nodes = 4,
    /// The staleness of the services.
    Services = 5,
    /// The errors of the services.
    ServiceErrors = 6,
    /// The test that a sweep derives from a seed.
    Swarm = 7,
    /// The times at which nodes join the network.
    Start = 8,
    /// The settings of the nodes, which differ from run to run.
    Settings = 9,
    /// The faults of hardware that a sweep derives from a seed.
    Hardware = 10,
    /// The records that a failing disk keeps.
    Disks = 11,
    /// The variations of earlier runs in a coverage-guided sweep.
    Variation = 12,
}

/// The random numbers of a run for one purpose.
///
/// ```
/// use maelstrom_core::rand::RngExt;
/// use maelstrom_sim::rng::{self, Stream};
///
/// let first = |purpose| rng::stream(7, purpose).random::<u64>();
/// assert_eq!(first(Stream::Latency), first(Stream::Latency));
/// assert_ne!(first(Stream::Latency), first(Stream::Nemesis));
/// ```
#[must_use]
pub fn stream(seed: u64, stream: Stream) -> SimRng {
    let mut rng = SimRng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    rng
}
