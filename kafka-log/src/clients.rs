//! The clients that a node heard lately, so that it does not wait for requests that cannot come.
//!
//! An item lingers since another request may come and share its packet. If each client waits for an
//! answer, no other request comes until one of them has got it: then the wait would only delay all
//! of them. PostgreSQL has the same rule for its group commit (`commit_siblings`).
//!
//! A node that heard no client lately does not linger either, even if other nodes forward requests
//! to it.
//!
//! The rule concerns the time of packets only. So its data may be incomplete, and are bounded: with
//! as many clients as it can remember, or more, a node always lingers.

use std::collections::VecDeque;
use std::time::Duration;

use maelstrom_core::NodeId;

/// A client that was silent for longer than this, and for longer than twice the linger, may be gone.
const ACTIVE_FOR: Duration = Duration::from_millis(50);

/// A node remembers no more clients. With so many active ones, it does not look at each of them.
pub(crate) const CLIENTS_MAX: usize = 8;

#[derive(Clone, Debug)]
struct Client {
    id: NodeId,
    heard: Duration,
    /// True if the client sent a request while another one was open. It may do so again.
    pipelines: bool,
}

/// The clients that a node heard lately, in the order in which it heard them.
#[derive(Debug)]
pub(crate) struct Clients {
    heard: VecDeque<Client>,
    /// How long a client counts after its last request.
    active_for: Duration,
}

impl Clients {
    /// No clients yet, at a node with this `--linger`.
    pub(crate) fn new(linger: Duration) -> Self {
        let active_for = ACTIVE_FOR.max(linger.saturating_mul(2));
        Self { heard: VecDeque::new(), active_for }
    }

    /// Notes a request of a client. `waits`: true if the client already waits for an answer.
    pub(crate) fn hear(&mut self, now: Duration, id: &NodeId, waits: bool) {
        while self.heard.front().is_some_and(|client| !self.is_active(client, now)) {
            self.heard.pop_front();
        }
        let known = self.heard.iter().position(|client| client.id == *id);
        let known = known.and_then(|at| self.heard.remove(at));
        let pipelines = waits || known.is_some_and(|client| client.pipelines);
        self.heard.push_back(Client { id: id.clone(), heard: now, pipelines });
        if self.heard.len() > CLIENTS_MAX {
            self.heard.pop_front();
        }
    }

    fn is_active(&self, client: &Client, now: Duration) -> bool {
        now.saturating_sub(client.heard) <= self.active_for
    }

    /// True if no request can come before a client has got an answer. `waits`: true for a client
    /// that waits for one.
    pub(crate) fn all_wait(&self, now: Duration, waits: impl Fn(&NodeId) -> bool) -> bool {
        let is_blocked = |client: &Client| {
            !self.is_active(client, now) || (!client.pipelines && waits(&client.id))
        };
        self.heard.len() < CLIENTS_MAX && self.heard.iter().all(is_blocked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The clients after requests, each with its time, its client, and whether the client waits.
    fn after<'a>(requests: impl IntoIterator<Item = (u64, &'a str, bool)>) -> Clients {
        let mut clients = Clients::new(Duration::ZERO);
        for (at, id, waits) in requests {
            clients.hear(ms(at), &id.into(), waits);
        }
        clients
    }

    #[test]
    fn all_clients_wait_if_each_active_one_waits() {
        let clients = after([(0, "c1", false), (10, "c2", false)]);
        for (now, waiting, expected) in [
            (10, vec!["c1", "c2"], true),
            (10, vec!["c2"], false),
            (50, vec!["c2"], false),
            (51, vec!["c2"], true),
            (51, vec![], false),
            (61, vec![], true),
        ] {
            let waits = |id: &NodeId| waiting.contains(&&**id);
            assert_eq!(clients.all_wait(ms(now), waits), expected, "{now} ms, {waiting:?}");
        }
    }

    #[test]
    fn a_client_counts_for_longer_where_items_linger_longer() {
        for (linger, counts_for) in [(0, 50), (25, 50), (100, 200)] {
            let mut clients = Clients::new(ms(linger));
            clients.hear(ms(0), &"c1".into(), false);
            let all_wait = |at| clients.all_wait(ms(at), |_| false);
            assert!(!all_wait(counts_for) && all_wait(counts_for + 1), "{linger} ms");
        }
    }

    #[test]
    fn a_client_that_does_not_wait_for_its_answers_is_never_waited_out() {
        let mut clients = after([(0, "c1", false), (1, "c1", true), (2, "c1", false)]);
        assert!(!clients.all_wait(ms(2), |_| true));
        // It was silent for so long that it counts as another client.
        clients.hear(ms(100), &"c1".into(), false);
        assert!(clients.all_wait(ms(100), |_| true));
    }

    #[test]
    fn a_node_remembers_a_bounded_number_of_clients_and_then_never_knows_that_all_wait() {
        let names: Vec<String> = (0..=CLIENTS_MAX).map(|n| format!("c{n}")).collect();
        for (count, expected) in
            [(CLIENTS_MAX - 1, true), (CLIENTS_MAX, false), (CLIENTS_MAX + 1, false)]
        {
            let clients = after(names.iter().take(count).map(|name| (0, name.as_str(), false)));
            assert_eq!(clients.all_wait(ms(0), |_| true), expected, "{count} clients");
            assert!(clients.heard.len() <= CLIENTS_MAX);
        }
    }
}
