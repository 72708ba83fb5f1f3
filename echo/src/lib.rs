//! Challenge 1: answers every `echo` with the value it was sent, exactly as it came.
//!
//! The value is never parsed, only passed on as text: a number keeps all its digits, an object the
//! order of its keys.

use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The handler. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

/// What it understands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Asks for an [`Reply::EchoOk`] with the same value.
    Echo {
        /// Any JSON value.
        echo: Box<RawValue>,
    },
}

/// What it answers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The answer to [`Payload::Echo`].
    EchoOk {
        /// The value that came.
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
