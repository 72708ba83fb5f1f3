//! `Node`: all that a handler can touch of the world.

#[cfg(feature = "gossip")]
mod send_list;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tracing::{debug, error, info};

use crate::auth::Auth;
use crate::body::{self, Ids};
use crate::error::{Error, ErrorCode};
use crate::marks::Marks;
use crate::message::{MsgId, NodeId, Request};
use crate::metrics::{self, CallOutcome, Metric, Outcome, Recorder};
use crate::outputs::{Outputs, Seal, SharedText};
use crate::rpc::{PENDING_RPCS_MAX, RpcError, RpcResult, RpcTable};
use crate::timer::TimerQueue;

/// The random source of a node: seeded by the driver, the same numbers on every machine.
pub type NodeRng = ChaCha8Rng;

/// How many requests may wait for a reply at a time. One more, and the oldest is given up: whoever
/// sent it has long stopped waiting.
pub const OPEN_REQUESTS_MAX: usize = 1 << 18;

/// What time it is, as told by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Time since some fixed moment. Never goes back, and has no meaning outside this process.
    pub monotonic: Duration,
    /// Time since the Unix epoch, as far as the machine knows: it may stand still, jump and go
    /// back.
    pub wall: Duration,
}

/// What a node wants done, in order. See [`RawNode`](crate::RawNode) for the driver's duties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// One or more complete lines to write to the network, each with its newline.
    Lines(Vec<u8>),
    /// A record to make durable before any later output leaves.
    Record(Vec<u8>),
}

/// A handler's view of its node and of the world: who and when it is, and what it can do.
///
/// Nothing here blocks or fails; what a handler asks for becomes an [`Output`] or an event.
#[derive(Debug)]
pub struct Node<E> {
    id: NodeId,
    node_ids: Arc<[NodeId]>,
    clock: Clock,
    rng: NodeRng,
    durable: bool,
    reply_within: Option<Duration>,
    pub(crate) next_msg_id: MsgId,
    next_serial: u64,
    next_task: u64,
    /// The serial numbers of the requests that wait for a reply, but for the newest:
    open_requests: BTreeSet<u64>,
    /// most are answered before the next one comes, and never get into the set.
    newest_request: Option<u64>,
    pub(crate) timers: TimerQueue<E>,
    pub(crate) rpcs: RpcTable<E>,
    pub(crate) outputs: Outputs,
    pub(crate) marks: Marks,
    pub(crate) metrics: Recorder,
    pub(crate) auth: Auth,
}

impl<E> Node<E> {
    pub(crate) fn new(seed: [u8; 32], durable: bool, reply_within: Option<Duration>) -> Self {
        let mut rng = NodeRng::from_seed(seed);
        Self {
            id: "".into(),
            node_ids: Arc::new([]),
            clock: Clock::default(),
            // Calls of an earlier life may still be answered: the ids of this one are others. 52 bits,
            // so that any JSON parser keeps all their digits.
            next_msg_id: rng.next_u64() >> 12,
            rng,
            durable,
            reply_within,
            next_serial: 0,
            next_task: 0,
            open_requests: BTreeSet::new(),
            newest_request: None,
            timers: TimerQueue::new(),
            rpcs: RpcTable::new(),
            outputs: Outputs::default(),
            marks: Marks::default(),
            metrics: Recorder::default(),
            auth: Auth::default(),
        }
    }

    pub(crate) fn set_names(&mut self, id: NodeId, node_ids: Arc<[NodeId]>) {
        self.id = id;
        self.node_ids = node_ids;
    }

    /// Moves time on. A driver whose monotonic clock went back is not followed.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        debug_assert!(clock.monotonic >= self.clock.monotonic, "the monotonic clock went back");
        self.clock =
            Clock { monotonic: clock.monotonic.max(self.clock.monotonic), wall: clock.wall };
    }

    /// This node's name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// All nodes of the cluster, this one among them: the same list in the same order on each.
    #[must_use]
    pub fn node_ids(&self) -> &Arc<[NodeId]> {
        &self.node_ids
    }

    /// All nodes but this one, in the order of [`node_ids`](Self::node_ids). The names are owned, so
    /// a loop over them can send:
    ///
    /// ```
    /// # use maelstrom_core::Node;
    /// # fn greet<E>(node: &mut Node<E>) {
    /// for peer in node.peers() {
    ///     node.send(&peer, "hello");
    /// }
    /// # }
    /// ```
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + use<E> {
        let (ids, own) = (Arc::clone(&self.node_ids), self.id.clone());
        (0..ids.len()).filter_map(move |at| ids.get(at).filter(|id| **id != own).cloned())
    }

    /// Monotonic time. Compare it only with itself, and only within one process.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.monotonic
    }

    /// Time since the Unix epoch. It may stand still, jump and go back: never build safety on it.
    #[must_use]
    pub fn wall_clock(&self) -> Duration {
        self.clock.wall
    }

    /// The random source. What can be drawn from it are methods of [`rand::Rng`] and
    /// [`rand::RngExt`], which are found at [`crate::rand`].
    pub fn rng(&mut self) -> &mut NodeRng {
        &mut self.rng
    }

    /// Says that something rare and interesting has happened, for sweeps in virtual time: they tell
    /// which marks their seeds reached. Other drivers take no notice. The name begins with that of the
    /// part that it is about:
    ///
    /// ```
    /// # use maelstrom_core::Node;
    /// # fn truncate<E>(node: &mut Node<E>) {
    /// node.mark("log: cut off a diverging suffix");
    /// # }
    /// ```
    pub fn mark(&mut self, name: &'static str) {
        self.marks.mark(name);
    }

    /// Adds `n` to a counter. `labels` are the values of the metric's labels, in their order.
    ///
    /// A label must have few values: an outcome, the name of a node, never a client's text. See
    /// [`metrics`] for what becomes of the numbers.
    pub fn count(&mut self, metric: &'static Metric, labels: &[&str], n: u64) {
        self.metrics.count(metric, labels, n);
    }

    /// Sets a gauge. A gauge that follows from the handler's state is better told when somebody
    /// asks: see [`MessageHandler::gauges`](crate::MessageHandler::gauges).
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.metrics.gauge(metric, labels, value);
    }

    /// Adds an observation to a histogram, in the unit that its name tells.
    pub fn observe(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.metrics.observe(metric, labels, value);
    }

    /// Answers a request. Without effect where no reply is wanted.
    ///
    /// A second reply is a mistake in the program: it is logged and not sent, since its receiver
    /// may be gone, and Maelstrom stops listening to a node that writes to nobody. So is a reply
    /// to a request that was given up for newer ones, see [`OPEN_REQUESTS_MAX`]. A reply to a client
    /// that has given up ([`MessageHandler::REPLY_WITHIN`]) is not sent either.
    ///
    /// [`MessageHandler::REPLY_WITHIN`]: crate::MessageHandler::REPLY_WITHIN
    ///
    /// `body` is a variant of an enum (its name is the reply's type) with named fields. One that
    /// has no JSON form is a mistake in the program: it is logged, and the client gets error 13.
    pub fn reply<B: Serialize + ?Sized>(&mut self, request: &Request, body: &B) {
        self.reply_as(request, body, None);
    }

    /// The same, for a body that is an error of this code.
    fn reply_as<B: Serialize + ?Sized>(
        &mut self,
        request: &Request,
        body: &B,
        code: Option<ErrorCode>,
    ) {
        let Some(in_reply_to) = request.msg_id() else {
            debug!(peer = %request.src(), "no reply: the message has no msg_id");
            return;
        };
        if !self.close(request.serial()) {
            error!(peer = %request.src(), msg_id = in_reply_to, "answered already: not sent");
            return;
        }
        if self.is_too_late(request) {
            info!(peer = %request.src(), msg_id = in_reply_to, "the client has given up: no reply");
            return self.metrics.answered(request.kind, Outcome::Late, self.age(request));
        }
        let mut outcome = code.map_or(Outcome::Ok, Outcome::Error);
        let ids = Ids { msg_id: None, in_reply_to: Some(in_reply_to) };
        if let Err(error) = self.write_line(request.src(), ids, body) {
            error!(peer = %request.src(), msg_id = in_reply_to, %error, "a reply has no JSON form");
            let error = Error::crash("the reply has no JSON form");
            self.write_line(request.src(), ids, &SystemReply::Error(&error)).ok();
            outcome = Outcome::Error(error.code);
        }
        if self.metrics.is_on() {
            self.metrics.answered(request.kind, outcome, self.age(request));
        }
    }

    /// How long ago the request came.
    fn age(&self, request: &Request) -> Duration {
        self.now().saturating_sub(request.came_at())
    }

    fn is_too_late(&self, request: &Request) -> bool {
        self.reply_within.is_some_and(|within| self.age(request) > within)
            && !self.node_ids.contains(request.src())
    }

    /// Answers a request with an error.
    pub fn reply_error(&mut self, request: &Request, error: &Error) {
        self.reply_as(request, &SystemReply::Error(error), Some(error.code));
    }

    /// Answers a request with `body`, or with an error: a [`RpcError`] of a call that was made for the
    /// request, say.
    pub fn reply_result<B: Serialize, F: Into<Error>>(
        &mut self,
        request: &Request,
        body: Result<B, F>,
    ) {
        match body {
            Ok(body) => self.reply(request, &body),
            Err(error) => self.reply_error(request, &error.into()),
        }
    }

    /// Sends a message that wants no reply.
    pub fn send<B: Serialize + ?Sized>(&mut self, dest: &NodeId, body: &B) {
        if let Err(error) = self.write_line(dest, Ids::default(), body) {
            error!(peer = %dest, %error, "a message has no JSON form and was not sent");
        }
    }

    /// Sends a message that wants no reply to each [peer](Self::peers). Its body is encoded once.
    pub fn send_to_peers<B: Serialize + ?Sized>(&mut self, body: &B) {
        let mut encoded = Vec::new();
        if let Err(error) = body::encode(&mut encoded, Ids::default(), body) {
            return error!(%error, "a message has no JSON form and was not sent");
        }
        let encoded: SharedText = encoded.into();
        for peer in self.peers() {
            let seal = self.seal_for(&peer);
            let id = &self.id;
            let metrics = &mut self.metrics;
            let begin = |out: &mut Vec<u8>| {
                let start = out.len();
                begin_line(out, id, &peer)?;
                let body_at = out.len().saturating_sub(start);
                let bytes = body_at.saturating_add(encoded.len());
                metrics.sent(&encoded, bytes.saturating_add(BRACE));
                Ok::<_, serde_json::Error>(body_at)
            };
            let texts = (vec![encoded.clone()], LINE_END);
            let result = self.outputs.write_shared(begin, texts, seal);
            if let Err(error) = result {
                error!(%peer, %error, "a message was not sent");
            }
        }
    }

    /// Calls another node or a service. `then` turns the outcome into the event that
    /// [`MessageHandler::event`](crate::MessageHandler::event) gets: the reply, the other side's
    /// error, or [`RpcError::Timeout`] after `timeout`. A tuple variant is such a function.
    ///
    /// The outcome comes exactly once, and never before the handler has returned. A reply after the
    /// timeout is dropped.
    pub fn rpc<B: Serialize + ?Sized>(
        &mut self,
        dest: &NodeId,
        body: &B,
        timeout: Duration,
        then: impl FnOnce(RpcResult) -> E + Send + 'static,
    ) {
        if self.rpcs.len() >= PENDING_RPCS_MAX {
            self.call_ended(CallOutcome::Unsent);
            let event = then(Err(RpcError::Overloaded));
            return self.set_timer(Duration::ZERO, event);
        }
        let id = self.next_msg_id;
        self.next_msg_id = id.wrapping_add(1);
        if let Err(error) = self.write_line(dest, Ids { msg_id: Some(id), in_reply_to: None }, body)
        {
            error!(peer = %dest, %error, "a call has no JSON form and was not sent");
            self.call_ended(CallOutcome::Unsent);
            let event = then(Err(RpcError::NoJsonForm(error.to_string())));
            return self.set_timer(Duration::ZERO, event);
        }
        let deadline = self.now().saturating_add(timeout);
        self.rpcs.insert(id, dest.clone(), deadline, Box::new(then));
    }

    /// Brings `event` back after `after`, once. There is no cancelling: a handler whose state has
    /// moved on ignores the event.
    pub fn set_timer(&mut self, after: Duration, event: E) {
        self.timers.set(self.clock.monotonic.saturating_add(after), event);
    }

    /// Makes `record` durable: nothing sent after this call leaves before the record is safe, and
    /// after a crash [`MessageHandler::recover`](crate::MessageHandler::recover) gets it back.
    ///
    /// Where the driver keeps nothing (the default), this does nothing: see
    /// [`is_durable`](Self::is_durable).
    pub fn persist<R: Serialize + ?Sized>(&mut self, record: &R) {
        if !self.durable {
            return;
        }
        match serde_json::to_vec(record) {
            Ok(bytes) => {
                self.metrics.count(&metrics::RECORDS, &[], 1);
                self.metrics.count(&metrics::RECORD_BYTES, &[], bytes.len() as u64);
                self.outputs.record(bytes);
            }
            Err(error) => error!(%error, "a record has no JSON form and is not durable"),
        }
    }

    /// Whether the driver keeps what is [persisted](Self::persist). A handler that has to do more
    /// than that for durability, such as sending messages, can leave it out where this is false.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// A call that ended is counted.
    pub(crate) fn call_ended(&mut self, outcome: CallOutcome) {
        self.metrics.count(&metrics::CALLS, &[outcome.name()], 1);
    }

    /// A number that no other task of this node has.
    pub(crate) fn next_task(&mut self) -> u64 {
        let task = self.next_task;
        self.next_task = task.wrapping_add(1);
        task
    }

    /// How many requests wait for a reply that the handler has not given yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.open_requests.len().saturating_add(usize::from(self.newest_request.is_some()))
    }

    /// Whether a request waited for its reply. It no longer does.
    fn close(&mut self, serial: u64) -> bool {
        if self.newest_request == Some(serial) {
            self.newest_request = None;
            return true;
        }
        self.open_requests.remove(&serial)
    }

    /// A message that has come. With a `msg_id`, it waits for a reply from now on.
    pub(crate) fn accept(&mut self, src: NodeId, msg_id: Option<MsgId>) -> Request {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        if msg_id.is_some() {
            if let Some(before) = self.newest_request.replace(serial) {
                self.open_requests.insert(before);
            }
            if self.unanswered() > OPEN_REQUESTS_MAX {
                self.open_requests.pop_first();
                self.metrics.count(&metrics::GIVEN_UP, &[], 1);
                debug!("more requests wait for a reply than can be kept: the oldest is given up");
            }
        }
        Request::new(src, msg_id, serial, self.now())
    }

    /// How a line to that node is sealed, if it has to be.
    fn seal_for(&self, dest: &NodeId) -> Option<Seal> {
        let key = self.auth.key_for(dest, &self.node_ids)?.clone();
        Some(Seal { key, src: self.id.clone(), dest: dest.clone() })
    }

    /// Appends a line to the last output. On an error nothing has been written.
    fn write_line<B: Serialize + ?Sized>(
        &mut self,
        dest: &str,
        ids: Ids,
        body: &B,
    ) -> Result<(), serde_json::Error> {
        let (id, metrics) = (&self.id, &mut self.metrics);
        let key = self.auth.key_for(dest, &self.node_ids);
        self.outputs.write(|out| {
            let start = out.len();
            begin_line(out, id, dest)?;
            let body_at = out.len();
            body::encode(out, ids, body)?;
            if metrics.is_on() {
                let bytes = out.len().saturating_sub(start).saturating_add(BRACE);
                metrics.sent(out.get(body_at..).unwrap_or_default(), bytes);
            }
            out.extend_from_slice(LINE_END.as_bytes());
            if let Some(key) = key {
                key.seal(out, body_at, id, dest);
            }
            Ok(())
        })
    }
}

/// The end of the line, behind the body.
pub(crate) const LINE_END: &str = "}\n";

/// The bytes of it that are not the newline.
const BRACE: usize = 1;

/// Writes all that comes before the body.
pub(crate) fn begin_line(
    out: &mut Vec<u8>,
    src: &str,
    dest: &str,
) -> Result<(), serde_json::Error> {
    out.extend_from_slice(br#"{"src":"#);
    serde_json::to_writer(&mut *out, src)?;
    out.extend_from_slice(br#","dest":"#);
    serde_json::to_writer(&mut *out, dest)?;
    out.extend_from_slice(br#","body":"#);
    Ok(())
}

/// The replies that every node gives.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SystemReply<'a> {
    InitOk,
    Error(&'a Error),
}
