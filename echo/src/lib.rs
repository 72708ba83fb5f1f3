//! Challenge 1: answers every `echo` with the value of the request, exactly as it came.
//!
//! The node never parses the value, and passes it on as text. So a number keeps all its digits, and
//! an object keeps the order of its keys.

use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The crate's chapter of the guide. Its links to files work in the repository.
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}

/// The handler. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

/// The requests that the node understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Asks for a [`Reply::EchoOk`] with the same value.
    Echo {
        /// Any JSON value.
        echo: Box<RawValue>,
    },
}

/// The replies of the node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The answer to [`Payload::Echo`].
    EchoOk {
        /// The value of the request.
        echo: Box<RawValue>,
    },
}

impl MessageHandler for Echo {
    type Payload = Payload;
    type Event = NoEvent;

    fn message(
        &mut self,
        node: &mut Node<NoEvent>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let Payload::Echo { echo } = payload;
        node.reply(request, &Reply::EchoOk { echo });
        Ok(())
    }
}
