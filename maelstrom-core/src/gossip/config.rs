//! The configuration of an engine.

use std::time::Duration;

use crate::message::LINE_BYTES_MAX;

/// The configuration of the engine. [`GossipArgs`](super::GossipArgs) reads it from flags.
///
/// ```
/// # use maelstrom_core::Error;
/// # use maelstrom_core::gossip::{Entry, Origin, State};
/// # #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
/// # struct Word(String);
/// # impl Entry for Word {
/// #     fn encoded_len(&self) -> usize {
/// #         self.0.len() + 3
/// #     }
/// # }
/// # #[derive(Default)]
/// # struct Words(Vec<Word>);
/// # impl State for Words {
/// #     type Entry = Word;
/// #     type Piece = Vec<Word>;
/// #     fn apply(&mut self, _: &Origin, words: Vec<Word>) {
/// #         self.0.extend(words);
/// #     }
/// #     fn piece(&self, _: u64, _: usize) -> (Vec<Word>, Option<u64>) {
/// #         (self.0.clone(), None)
/// #     }
/// #     fn bytes(&self) -> usize {
/// #         self.0.iter().map(Entry::encoded_len).sum()
/// #     }
/// #     fn merge(&mut self, _: Vec<Vec<Word>>) -> Result<(), Error> {
/// #         Ok(())
/// #     }
/// # }
/// use maelstrom_core::gossip::{Config, Gossip};
///
/// let config = Config { state_bytes_max: 1_000, ..Config::default() };
/// let gossip = Gossip::new(config, Words::default());
/// assert!(gossip.check_room_for(1_000).is_ok());
/// // The state of a node may not grow beyond 1,000 bytes.
/// assert!(gossip.check_room_for(1_001).is_err_and(|error| error.is_definite()));
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a hub collects entries before it passes them on. `None`: a little more than two
    /// round trips. A node that starts collects entries for about as long before its first message:
    /// 0.3 s by default, and at most 2 s. It stops waiting when it hears from another node.
    pub period: Option<Duration>,
    /// The shortest period that the engine learns from round trips.
    pub period_min: Duration,
    /// The approximate size of the entries in one message, in bytes; a single entry always fits.
    /// Never more than a quarter of the receiver's `line_bytes_max`.
    pub batch_bytes_max: usize,
    /// The longest line that this node's driver reads. Peers learn the limit, and send no longer
    /// lines.
    pub line_bytes_max: usize,
    /// The approximate size of the newest entries that are kept for nodes that lack them, in bytes.
    pub log_bytes_max: usize,
    /// The largest state, in bytes, with which [`check_room_for`](super::Gossip::check_room_for)
    /// accepts a client's write. Entries of other nodes are always applied.
    pub state_bytes_max: usize,
    /// The minimum time beyond the round trip that an answer may take. After that the peer is asked
    /// again; after the second time it is considered down. With the round trip it counts as at most
    /// 10 s, unless it is longer by itself.
    pub patience_min: Duration,
    /// How often to probe one of the peers that are down. Each interval is drawn between half of
    /// this and all of it. A node that has a hub waits up to 8 times as long.
    pub probe_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            period: None,
            period_min: Duration::from_millis(5),
            batch_bytes_max: 256 << 10,
            line_bytes_max: LINE_BYTES_MAX,
            log_bytes_max: 4 << 20,
            state_bytes_max: usize::MAX,
            patience_min: Duration::from_millis(100),
            probe_interval: Duration::from_secs(1),
        }
    }
}
