//! Write [Maelstrom](https://github.com/jepsen-io/maelstrom) nodes as deterministic state machines.
//!
//! This is a complete node. It answers every `echo` with the value that it was sent:
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
//! The module `guide` is a chapter for beginners: errors, timers, calls, persistence, gossip.
//!
//! # Layout
//!
//! | module | contents |
//! |---|---|
//! | [`message`], [`body`] | the envelope; bodies as plain serde enums |
//! | [`error`] | error codes, and which of them are definite |
//! | [`handler`], [`node`] | the trait that a program implements, and its only access to the world |
//! | [`rpc`], [`service`] | calls with timeouts; clients of `lin-kv`, `seq-kv`, `lww-kv`, `lin-tso` |
//! | [`task`] | a sequence of calls, as one `async` block |
//! | [`trace`] | one request in the logs of all nodes |
//! | [`metrics`] | counters, gauges and histograms, and the list of all metrics of a node |
//! | [`auth`] | authentication between nodes |
//! | [`limits`] | limits on the requests of clients, for overload |
//! | [`gossip`] | replication by per-origin logs and version vectors |
//! | [`raw_node`] | a node without I/O, and the contract of its driver |
//! | [`runtime`], [`cli`] | the driver for real use: stdin, stdout, clocks, disk; flags and logging |
//!
//! # Features
//!
//! A node binary needs the default features: all of those below except `metrics`. Without default
//! features, this crate is only the state machine: [`RawNode`], [`Node`], [`rpc`], [`service`] and
//! [`task`], for a driver of your own. That part depends on `chacha20`, `memchr`, `rand`, `serde`,
//! `serde_json`, `thiserror` and `tracing`. It asks nothing of the operating system.
//!
//! | feature | adds | dependencies |
//! |---|---|---|
//! | `auth` | [`auth`]: authentication between nodes, with `--cluster-key-file` | `hmac`, `sha2` |
//! | `gossip` | [`gossip`]: replication for handlers | none |
//! | `runtime` | [`runtime`]: the driver for stdin and stdout | `tokio`, `getrandom`, `anyhow` |
//! | `disk` | records on disk, with [`Config::data_dir`](runtime::Config) | `redb`; `runtime` |
//! | `metrics` | `--metrics`: Prometheus text and health over HTTP | `metrics`, `metrics-exporter-prometheus`; `runtime` |
//! | `cli` | [`cli`]: logging, and the flags below | `clap`, `tracing-subscriber`, `anyhow` |
//!
//! A type with flags needs two features. [`NodeArgs`] needs `cli` and `runtime`. [`DataArgs`] needs
//! `cli` and `disk`. [`GossipArgs`](gossip::GossipArgs) and [`StateArgs`](gossip::StateArgs) need
//! `cli` and `gossip`. With `auth`, [`NodeArgs`] also has the flag `--cluster-key-file`.
//!
//! # Authentication
//!
//! Nodes identify each other by name only. If others can write into the network between the nodes,
//! give each node of a cluster the same secret key:
//!
//! ```text
//! (umask 077; head -c 32 /dev/urandom | base64 > cluster.key)
//! broadcast --cluster-key-file cluster.key
//! ```
//!
//! A node with a key drops each message that claims to come from another node and does not prove
//! that its sender has the key. [`auth`] describes the protocol and its limits: messages are not
//! secret, and a node that has the key is trusted. Clients notice no difference.
//!
//! # Overload
//!
//! A node can refuse requests of clients beyond a rate. A flood of requests then leaves it time for
//! the messages of other nodes, which it never refuses:
//!
//! ```text
//! broadcast --max-requests-per-second 10000 --max-client-requests-per-second 1000
//! ```
//!
//! A refused request gets error 11. [`limits`] lists all limits, and describes the effect of a
//! client that uses many names.
//!
//! # Rules
//!
//! * A handler is a function of its state and its input. Time, randomness and I/O come through
//!   [`Node`] only. So a simulator can run the same handler and replay any failure.
//! * Determinism has traps: the order of a `HashMap` differs from run to run, `Instant::now` and
//!   random sources hide in libraries, and threads race. The `clippy.toml` at the root of this
//!   project forbids them. Copy it, and name the few exceptions with
//!   `#[expect(clippy::disallowed_methods)]`.
//! * Outputs are data: the node queues the messages and records of a handler, and a test can read
//!   them.
//! * No message from a peer or a client can make a node panic.

// The documentation links to all modules, so its links resolve only with all features.
#![cfg_attr(
    not(all(
        feature = "auth",
        feature = "cli",
        feature = "disk",
        feature = "gossip",
        feature = "runtime"
    )),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(test)]
mod any_json;
#[cfg(feature = "auth")]
pub mod auth;
#[cfg(not(feature = "auth"))]
#[path = "no_auth.rs"]
mod auth;
pub mod body;
#[cfg(feature = "cli")]
pub mod cli;
pub mod error;
#[cfg(feature = "metrics")]
mod exporter;
#[cfg(all(feature = "runtime", not(feature = "metrics")))]
#[path = "no_exporter.rs"]
mod exporter;
#[cfg(feature = "gossip")]
pub mod gossip;
pub mod handler;
pub mod limits;
#[cfg(feature = "runtime")]
mod lines;
mod log_rate;
mod marks;
pub mod message;
pub mod metrics;
mod names;
pub mod node;
mod outputs;
pub mod raw_node;
pub mod rpc;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod service;
#[cfg(feature = "runtime")]
mod stdio;
#[cfg(feature = "disk")]
mod store;
#[cfg(all(feature = "runtime", not(feature = "disk")))]
#[path = "no_store.rs"]
mod store;
#[cfg(feature = "runtime")]
mod store_error;
pub mod task;
mod timer;
pub mod trace;

pub use body::Verbatim;
#[cfg(all(feature = "cli", feature = "disk"))]
pub use cli::DataArgs;
#[cfg(all(feature = "cli", feature = "runtime"))]
pub use cli::NodeArgs;
pub use error::{Error, ErrorCode};
pub use handler::{MessageHandler, NoEvent, Records, SnapshotPosition};
pub use limits::{Limits, PENDING_BYTES_MAX};
pub use message::{LINE_BYTES_MAX, MsgId, NodeId, Request};
pub use node::{Clock, Node, NodeRng, OPEN_REQUESTS_MAX};
pub use outputs::Output;
/// Re-exported for the methods of [`Node::rng`], in the version that they belong to. A handler that
/// draws random numbers names `maelstrom_core::rand::RngExt` and needs no dependency of its own.
pub use rand;
pub use raw_node::RawNode;
pub use rpc::{PENDING_RPCS_MAX, Reply, RpcError, RpcResult};
#[cfg(feature = "runtime")]
pub use store_error::StoreError;

// A page ends with the files that its labels mean in the repository. The first definition of a
// label counts, so here the labels mean items.
/// The crate's chapter of the guide. The documentation tests compile and run its examples.
///
/// [limits]: crate::limits
/// [engine]: crate::gossip
/// [forward]: crate::forward_to_gossip
/// [crate]: crate
#[cfg(doc)]
#[doc = include_str!("../README.md")]
pub mod guide {}
