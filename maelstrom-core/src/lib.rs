//! Write [Maelstrom](https://github.com/jepsen-io/maelstrom) nodes as deterministic state machines.
//!
//! A complete node, answering every `echo` with what it was sent:
//!
//! ```no_run
//! use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request, runtime};
//! use serde::{Deserialize, Serialize};
//! use serde_json::value::RawValue;
//!
//! #[derive(Deserialize, Serialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Payload {
//!     Echo { echo: Box<RawValue> },
//!     EchoOk { echo: Box<RawValue> },
//! }
//!
//! struct Echo;
//!
//! impl MessageHandler for Echo {
//!     type Payload = Payload;
//!     type Event = NoEvent;
//!
//!     fn message(&mut self, node: &mut Node<NoEvent>, from: &Request, payload: Payload) -> Result<(), Error> {
//!         if let Payload::Echo { echo } = payload {
//!             node.reply(from, &Payload::EchoOk { echo });
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> anyhow::Result<()> {
//!     runtime::run(Echo, &runtime::Config::default())
//! }
//! ```
//!
//! # Layout
//!
//! | module | what it is for |
//! |---|---|
//! | [`message`], [`body`] | the envelope; bodies as plain serde enums |
//! | [`error`] | error codes, and which of them are definite |
//! | [`handler`], [`node`] | what a program implements, and all that it can touch |
//! | [`rpc`], [`service`] | calls with timeouts; clients of `lin-kv`, `seq-kv`, `lww-kv`, `lin-tso` |
//! | [`task`] | calls that follow each other, as one `async` block |
//! | [`gossip`] | replication by per-origin logs and version vectors |
//! | [`raw_node`] | a node without I/O, and the contract of whoever drives it |
//! | [`runtime`], [`cli`] | the driver for real use: stdin, stdout, clocks, disk; flags and logging |
//!
//! # Rules
//!
//! * A handler is a function of its state and its input. Time, randomness and I/O come through
//!   [`Node`] only, so that a simulator can run the very same handler and replay any failure.
//! * Determinism has traps: the order of a `HashMap` differs from run to run, `Instant::now` and
//!   random sources hide in libraries, and threads race. The `clippy.toml` at the root of this project
//!   forbids them. Copy it, and name the few exceptions with `#[expect(clippy::disallowed_methods)]`.
//! * Outputs are data: what a handler wants sent or kept is queued, and a test can look at it.
//! * Nothing that a peer or a client sends can panic a node.

#[cfg(test)]
mod any_json;
pub mod body;
pub mod cli;
pub mod error;
pub mod gossip;
pub mod handler;
mod lines;
mod marks;
pub mod message;
mod names;
pub mod node;
mod outputs;
pub mod raw_node;
pub mod rpc;
pub mod runtime;
pub mod service;
mod stdio;
mod store;
pub mod task;
mod timer;

pub use body::Verbatim;
pub use cli::{DataArgs, NodeArgs};
pub use error::{Error, ErrorCode};
pub use handler::{MessageHandler, NoEvent, Records, SnapshotPosition};
pub use lines::LINE_BYTES_MAX;
pub use message::{MsgId, NodeId, Request};
pub use node::{Clock, Node, NodeRng, OPEN_REQUESTS_MAX, Output};
/// For what [`Node::rng`] can do, in the version that it speaks: a handler that draws numbers names
/// `maelstrom_core::rand::RngExt` and needs no dependency of its own.
pub use rand;
pub use raw_node::{EARLY_BYTES_MAX, RawNode};
pub use rpc::{PENDING_RPCS_MAX, Reply, RpcError, RpcResult};
pub use store::StoreError;
