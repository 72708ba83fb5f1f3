//! Clients' requests for unit tests. Only a node can make a [`Request`].

use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, RawNode, Request};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Ask,
}

/// A handler that keeps all requests.
#[derive(Default)]
struct Keeper(Vec<Request>);

impl MessageHandler for Keeper {
    type Payload = Payload;
    type Event = NoEvent;

    fn message(
        &mut self,
        _: &mut Node<NoEvent>,
        request: &Request,
        _: Payload,
    ) -> Result<(), Error> {
        self.0.push(request.clone());
        Ok(())
    }
}

/// `count` requests of a client, with the message ids from 0 on.
pub(crate) fn requests(count: u64) -> Vec<Request> {
    let mut node = RawNode::new(Keeper::default(), [0; 32], false);
    let init = json!({"type": "init", "msg_id": 0, "node_id": "n1", "node_ids": ["n1"]});
    let asks = (0..count).map(|id| json!({"type": "ask", "msg_id": id}));
    for body in std::iter::once(init).chain(asks) {
        let line = json!({"src": "c1", "dest": "n1", "body": body}).to_string();
        node.handle_line(Clock::default(), line.as_bytes());
    }
    node.handler().0.clone()
}
