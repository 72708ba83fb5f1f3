//! The options of workloads with keys.

use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::arguments::whole;
use crate::rng::SimRng;

/// The keys of a test.
///
/// ```
/// use maelstrom_sim::workload::{Kafka, Keys, Workload};
///
/// let keys = Keys { key_count: 2, ..Keys::default() };
/// let kafka = Kafka { keys, ..Kafka::default() };
/// assert!(kafka.settings().contains(&"--key-count 2".into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Keys {
    /// How many keys to use at a time, in workloads with keys.
    #[arg(long, value_name = "INT", default_value_t = Self::default().key_count,
        value_parser = whole::<u32>(1..=1_000_000))]
    pub key_count: u32,
    /// How often to write to a key before a new key replaces it.
    #[arg(long, value_name = "INT", default_value_t = Self::default().max_writes_per_key,
        value_parser = whole::<u64>(1..=u64::MAX))]
    pub max_writes_per_key: u64,
}

impl Default for Keys {
    /// Maelstrom's defaults.
    fn default() -> Self {
        Self { key_count: 10, max_writes_per_key: 16 }
    }
}

impl Keys {
    /// The flags that set these options.
    pub(super) fn settings(self) -> Vec<String> {
        let Self { key_count, max_writes_per_key } = self;
        vec![
            format!("--key-count {key_count}"),
            format!("--max-writes-per-key {max_writes_per_key}"),
        ]
    }

    /// The keys of one run of a sweep.
    pub(super) fn draw(rng: &mut SimRng) -> Self {
        let key_count = rng.random_range(1..=10_u8).into();
        let max_writes_per_key = [4, 16, 64].choose(rng).copied().unwrap_or(16);
        Self { key_count, max_writes_per_key }
    }
}
