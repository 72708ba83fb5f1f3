//! How many messages were sent and received.

use serde::Serialize;

/// Message counts, separately for clients and servers. [`Network`](super::Network) counts them.
///
/// ```
/// use maelstrom_sim::network::{Counts, NetStats};
///
/// let clients = Counts { sent: 2, received: 2, ..Counts::default() };
/// let servers = Counts { sent: 5, received: 4, ..Counts::default() };
/// let all = NetStats { clients, servers }.all();
/// assert_eq!((all.sent, all.received), (7, 6));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Messages from or to a client.
    pub clients: Counts,
    /// All other messages: between nodes, and between nodes and services.
    pub servers: Counts,
}

/// Message counts of one kind. [`Network`](super::Network) shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Messages sent.
    #[serde(rename = "send-count")]
    pub sent: u64,
    /// Messages that arrived.
    #[serde(rename = "recv-count")]
    pub received: u64,
    /// The bytes of the bodies of sent messages. Not part of Maelstrom's results.
    #[serde(skip)]
    pub sent_bytes: u64,
}

impl NetStats {
    pub(super) fn count(&mut self, client: bool, f: impl FnOnce(&mut Counts)) {
        f(if client { &mut self.clients } else { &mut self.servers });
    }

    /// The sum of both.
    #[must_use]
    pub fn all(&self) -> Counts {
        Counts {
            sent: self.clients.sent + self.servers.sent,
            received: self.clients.received + self.servers.received,
            sent_bytes: self.clients.sent_bytes + self.servers.sent_bytes,
        }
    }
}
