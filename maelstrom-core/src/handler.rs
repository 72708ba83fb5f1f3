//! The trait that a node program implements.

use std::convert::Infallible;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::message::Request;
use crate::metrics::{Gauges, Metric};
use crate::node::Node;

/// The event type of a handler that sets no timers and makes no calls. The
/// [example of the crate](crate) shows it in use.
pub type NoEvent = Infallible;

/// A node program: a deterministic state machine that handles one input at a time.
///
/// A handler's next state and outputs depend only on its state, the input, and the answers of
/// [`Node`], such as the time and random numbers. A handler never reads a clock, a random source, a
/// file or a socket, and never spawns a thread. So a simulator can replay a failure from one
/// number.
///
/// The core answers some requests itself, and the handler never sees them: a type that `Payload`
/// does not have gets error 10, and fields that do not fit get error 12. Requests that come before
/// `init` wait for it.
///
/// A counter that keeps its value on disk, and tells it to the other nodes once a second:
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_core::rand::RngExt;
/// use maelstrom_core::{Error, MessageHandler, Node, Request};
/// # use maelstrom_core::{Clock, RawNode};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Payload {
///     Add { delta: u64 },
///     AddOk,
///     Value { value: u64 },
/// }
///
/// struct Tick;
///
/// #[derive(Default)]
/// struct Counter {
///     value: u64,
/// }
///
/// impl MessageHandler for Counter {
///     const RECORD_FORMAT: Option<&'static str> = Some("counter 1");
///     type Payload = Payload;
///     type Event = Tick;
///
///     fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
///         let delta: u64 = serde_json::from_slice(record)
///             .map_err(|error| Error::crash(error.to_string()))?;
///         self.value += delta;
///         Ok(())
///     }
///
///     fn started(&mut self, node: &mut Node<Tick>) {
///         // The nodes of a cluster tick at different times.
///         let first = node.rng().random_range(0.0..1.0);
///         node.set_timer(Duration::from_secs_f64(first), Tick);
///     }
///
///     fn message(&mut self, node: &mut Node<Tick>, from: &Request, payload: Payload) -> Result<(), Error> {
///         if let Payload::Add { delta } = payload {
///             self.value += delta;
///             node.persist(&delta);
///             node.reply(from, &Payload::AddOk);
///         }
///         Ok(())
///     }
///
///     fn event(&mut self, node: &mut Node<Tick>, Tick: Tick) {
///         node.send_to_peers(&Payload::Value { value: self.value });
///         node.set_timer(Duration::from_secs(1), Tick);
///     }
/// }
///
/// let mut node = RawNode::new(Counter::default(), [7; 32], true);
/// node.recover(b"3")?;
/// # let mut handle = |src: &str, body: serde_json::Value| {
/// #     let line = serde_json::json!({"src": src, "dest": "n1", "body": body}).to_string();
/// #     node.handle_line(Clock::default(), line.as_bytes());
/// # };
/// # let names = ["n1", "n2"];
/// # use serde_json::json;
/// # handle("c0", json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": names}));
/// // …and it gets its `init`, and a request to add 4.
/// # handle("c1", json!({"type": "add", "msg_id": 1, "delta": 4}));
/// assert_eq!(node.handler().value, 7);
/// # let mut records = Vec::new();
/// # node.poll_records(&mut records);
/// # assert_eq!(records, [b"4"]);
/// # let answers = String::from_utf8(node.poll_lines().unwrap()).unwrap();
/// # assert!(answers.contains("add_ok") && !answers.contains("value"), "{answers}");
/// # let later = Clock { monotonic: Duration::from_secs(1), ..Clock::default() };
/// # node.handle_timeout(later);
/// # let told = String::from_utf8(node.poll_lines().unwrap()).unwrap();
/// # assert!(told.contains(r#""value":7"#), "{told}");
/// # Ok::<(), Error>(())
/// ```
pub trait MessageHandler {
    /// The format of the records that the node persists, and its version, such as `counter 1`. The
    /// driver stores it with the records, so that another program does not read them as its own.
    /// `None`: the node persists no records.
    const RECORD_FORMAT: Option<&'static str> = None;

    /// Maximum age of a client's request that the node still answers. `None`: the node answers
    /// requests of any age.
    ///
    /// A node that was paused for longer sends no reply. Its client has given up, and Maelstrom
    /// stops listening to a node that writes to a client that is gone. Maelstrom's clients give up
    /// after 5 s.
    const REPLY_WITHIN: Option<Duration> = None;

    /// The handler's own metrics, as one list for each part that has some. Metrics without labels
    /// are exported from the start, with the value zero.
    const METRICS: &'static [&'static [&'static Metric]] = &[];

    /// The requests and messages that the node understands: an enum. The name of a variant in snake
    /// case is the message's type, and its named fields are the body's fields. See [`crate::body`].
    type Payload: DeserializeOwned;

    /// The event of a timer or a call. [`NoEvent`] if the handler has neither.
    type Event;

    /// Applies one record that [`Node::persist`] wrote in an earlier process of this node. The core
    /// calls it before [`started`](Self::started), once for each record that survived, in the order
    /// in which they were written.
    ///
    /// # Errors
    ///
    /// If the record makes no sense. Error 22: the record does not fit the configuration of this
    /// process. In both cases the node refuses to start, because it would lack the record.
    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let _ = record;
        Err(Error::crash("this node persists nothing, so it has nothing to recover"))
    }

    /// Estimated size in bytes of a snapshot taken now. `None`: no part of a
    /// [`snapshot`](Self::snapshot) can be taken now. The driver takes a snapshot once the stored
    /// records are much larger than this.
    fn snapshot_bytes(&self) -> Option<usize> {
        None
    }

    /// Adds the part of a snapshot that begins at `from`: records of about `bytes_max` bytes.
    /// Returns the beginning of the next part, or `None` after the last one.
    ///
    /// The driver takes one part at a time, so that no part stops the node for long. Between two
    /// parts, the node handles messages and persists records. A later process recovers the parts
    /// and the records between them in the order in which they were made, then the records
    /// persisted after the last part. The recovered state must keep every promise of the node,
    /// whether it was made before the first part, between parts, or after the last one.
    ///
    /// The driver takes a part only if all persisted records are durable and
    /// [`snapshot_bytes`](Self::snapshot_bytes) is not `None`.
    ///
    /// # Errors
    ///
    /// If a record has no JSON form. The snapshot is then dropped, and the old records stay.
    fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        let _ = (from, bytes_max, records);
        Err(Error::crash("this node has no snapshots"))
    }

    /// Handles the start: the node now knows its name and its peers. The core calls this once,
    /// before any message.
    ///
    /// Do not send from here: other nodes may not run yet, and Maelstrom stops listening to a node
    /// that writes to one of them. Set a timer of a second instead. Maelstrom starts all nodes at
    /// once. On an idle machine, the last of 25 nodes is there after 40 ms. A node that has heard
    /// from another node or from a client need not wait.
    fn started(&mut self, node: &mut Node<Self::Event>) {
        let _ = node;
    }

    /// Handles a message from a client or from another node.
    ///
    /// # Errors
    ///
    /// The core sends an error back as the reply, if the sender wants one. Return a definite error
    /// only if the operation did not happen and never will.
    fn message(
        &mut self,
        node: &mut Node<Self::Event>,
        request: &Request,
        payload: Self::Payload,
    ) -> Result<(), Error>;

    /// Handles a timer that fired or a call that ended.
    ///
    /// Timers cannot be cancelled, so an event may be stale: check it against the state.
    fn event(&mut self, node: &mut Node<Self::Event>, event: Self::Event) {
        let _ = (node, event);
    }

    /// Sets the handler's gauges to their values at the monotonic time `now`. The core calls this
    /// only for a reader of the [metrics](crate::metrics), so it costs nothing otherwise.
    fn gauges(&self, now: Duration, gauges: &mut Gauges) {
        let _ = (now, gauges);
    }
}

/// The beginning of a part of a snapshot. The first part begins at the default value. The handler
/// alone defines the meaning of any other value. [`Records`] shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotPosition {
    /// A section of the state. The handler numbers the sections.
    pub section: u64,
    /// Offset in the section.
    pub offset: u64,
}

/// A sink for the records of a snapshot.
///
/// ```
/// use maelstrom_core::{Error, Records, SnapshotPosition};
///
/// /// Adds the records of one part. Returns the beginning of the next part.
/// fn snapshot(
///     words: &[&str],
///     from: SnapshotPosition,
///     bytes_max: usize,
///     records: &mut Records<'_>,
/// ) -> Result<Option<SnapshotPosition>, Error> {
///     for (offset, word) in (0..).zip(words).skip(from.offset as usize) {
///         if records.bytes() >= bytes_max {
///             return Ok(Some(SnapshotPosition { offset, ..from }));
///         }
///         records.add(word)?;
///     }
///     Ok(None)
/// }
///
/// let mut all = Vec::new();
/// let mut add = |record: &[u8]| all.push(record.to_vec());
/// let words = ["a", "b", "c"];
/// let next = snapshot(&words, SnapshotPosition::default(), 6, &mut Records::new(&mut add))?;
/// assert_eq!(next, Some(SnapshotPosition { section: 0, offset: 2 }));
/// assert_eq!(all, [br#""a""#, br#""b""#]);
/// # Ok::<(), Error>(())
/// ```
pub struct Records<'a> {
    add: &'a mut dyn FnMut(&[u8]),
    bytes: usize,
}

impl<'a> Records<'a> {
    /// A sink that passes each record to `add`.
    pub fn new(add: &'a mut dyn FnMut(&[u8])) -> Self {
        Self { add, bytes: 0 }
    }

    /// The size of all records that were added, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a record in the same encoding as [`Node::persist`].
    ///
    /// # Errors
    ///
    /// If the record has no JSON form.
    pub fn add<R: Serialize + ?Sized>(&mut self, record: &R) -> Result<(), Error> {
        let bytes = serde_json::to_vec(record)
            .map_err(|error| Error::crash(format!("a record has no JSON form: {error}")))?;
        self.bytes = self.bytes.saturating_add(bytes.len());
        (self.add)(&bytes);
        Ok(())
    }
}
