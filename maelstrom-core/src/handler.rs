//! What a node program implements.

use std::convert::Infallible;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::message::Request;
use crate::metrics::{Gauges, Metric};
use crate::node::Node;

/// The event type of a handler that sets no timers and makes no calls.
pub type NoEvent = Infallible;

/// A node program: a deterministic state machine, fed one input at a time.
///
/// A handler's next state and its outputs depend on nothing but its state, the input, and what
/// [`Node`] tells (time and randomness among it). It never reads a clock, a random source, a file
/// or a socket, and never spawns: that is what lets a simulator replay a failure from one number.
///
/// The core answers on the handler's behalf what never reaches it: a type that `Payload` does not
/// have (error 10), fields that do not fit (error 12). Requests before `init` wait for it.
pub trait MessageHandler {
    /// The format of the records that the node persists, and its version: such as `counter 1`. It is
    /// kept with them, so that no other program takes them for its own. `None`: there are none.
    const RECORD_FORMAT: Option<&'static str> = None;

    /// The longest time after which a client's request is still answered. A node that was stopped
    /// for longer does not send its reply: the client has given up, and Maelstrom stops listening to
    /// a node that writes to a client that is gone. Its clients give up after 5 s. `None`: there is
    /// no such time.
    const REPLY_WITHIN: Option<Duration> = None;

    /// The handler's own metrics: one list for each part of it that has some. Those without labels are
    /// exported from the start, as zero.
    const METRICS: &'static [&'static [&'static Metric]] = &[];

    /// The requests and messages that the node understands: an enum whose variants are the types,
    /// in snake case, and whose named fields are the bodies' fields. See [`crate::body`].
    type Payload: DeserializeOwned;

    /// What timers and calls bring back. [`NoEvent`] where there are none.
    type Event;

    /// One record that [`Node::persist`] wrote in an earlier life of this node, in their order.
    /// Called before [`started`](Self::started), once for each record that survived.
    ///
    /// # Errors
    ///
    /// If the record makes no sense; or, with error 22, if it makes none with how this node was
    /// started. The node then refuses to start, rather than start without it.
    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let _ = record;
        Err(Error::crash("this node persists nothing, so it has nothing to recover"))
    }

    /// Estimated size in bytes of a snapshot taken now. `None`: no part of a
    /// [`snapshot`](Self::snapshot) can be taken now. Once the records take much more than that, the
    /// driver takes a snapshot.
    fn snapshot_bytes(&self) -> Option<usize> {
        None
    }

    /// Adds the part of a snapshot that begins at `from`: records of about `bytes_max` bytes. Returns
    /// where the next part begins, or `None` after the last one.
    ///
    /// The driver takes one part at a time, so that no part keeps the node from its work for long.
    /// The node handles messages between two parts, and persists records. A later life recovers the
    /// parts and the records persisted between them in the order in which both were made, then the
    /// records persisted after the last part. It must then keep all that was promised: before the
    /// first part, between parts, and after the last.
    ///
    /// The driver takes a part only when all persisted records are durable, and
    /// [`snapshot_bytes`](Self::snapshot_bytes) is not `None`.
    ///
    /// # Errors
    ///
    /// If a record has no JSON form. Then there is no snapshot, and the old records stay.
    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        let _ = (from, bytes_max, records);
        Err(Error::crash("this node has no snapshots"))
    }

    /// The node has been told its name and its peers. Called once, before any message.
    ///
    /// Other nodes may not have been started yet, and Maelstrom stops listening to a node that
    /// writes to one of them: set a timer of a second rather than send from here. Maelstrom starts all
    /// nodes at once, and takes 40 ms until the last of 25 nodes is there on an idle machine. A node
    /// that has heard from another one, or from a client, need not wait.
    fn started(&mut self, node: &mut Node<Self::Event>) {
        let _ = node;
    }

    /// A message has come, from a client or from another node.
    ///
    /// # Errors
    ///
    /// An error is sent back as the reply (if the sender wants one). It must be definite only if
    /// nothing happened and nothing will.
    fn message(
        &mut self,
        node: &mut Node<Self::Event>,
        request: &Request,
        payload: Self::Payload,
    ) -> Result<(), Error>;

    /// A timer has fired or a call has ended.
    ///
    /// Timers are never cancelled, so an event may be stale: check it against the state.
    fn event(&mut self, node: &mut Node<Self::Event>, event: Self::Event) {
        let _ = (node, event);
    }

    /// Tells the handler's gauges, as they are at the monotonic time `now`. Called only when somebody
    /// reads the [metrics](crate::metrics), so it costs a node nothing otherwise.
    fn gauges(&self, now: Duration, gauges: &mut Gauges) {
        let _ = (now, gauges);
    }
}

/// Where a part of a snapshot begins. The first part begins at the default; only the handler knows
/// the meaning of any other one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotPosition {
    /// Which of the handler's parts of the state.
    pub section: u64,
    /// Where in that section.
    pub offset: u64,
}

/// Where a snapshot's records go.
pub struct Records<'a> {
    add: &'a mut dyn FnMut(&[u8]),
}

impl<'a> Records<'a> {
    /// Each record is handed to `add`.
    pub fn new(add: &'a mut dyn FnMut(&[u8])) -> Self {
        Self { add }
    }

    /// Adds a record, in the form that [`Node::persist`] would give it.
    ///
    /// # Errors
    ///
    /// If it has no JSON form.
    pub fn add<R: Serialize + ?Sized>(&mut self, record: &R) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record)
            .map_err(|error| Error::crash(format!("a record has no JSON form: {error}")))?;
        (self.add)(&bytes);
        Ok(())
    }
}
