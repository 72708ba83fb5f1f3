//! `Node`: a handler's only access to the world.

#[cfg(feature = "gossip")]
mod send_list;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chacha20::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tracing::{Span, debug, error, info};

use crate::auth::Auth;
use crate::body::{self, Ids};
use crate::error::{Error, ErrorCode};
use crate::marks::Marks;
use crate::message::{LINE_END, MsgId, NodeId, Request, begin_line};
use crate::metrics::{self, CallOutcome, Metric, Outcome, Recorder};
use crate::outputs::{Outputs, Seal, SharedText};
use crate::rpc::{PENDING_RPCS_MAX, RpcError, RpcResult, RpcTable, Sent};
use crate::timer::TimerQueue;
use crate::trace::{self, RequestId};

/// The random source of a node. The driver seeds it. The same seed gives the same numbers on every
/// machine. [`MessageHandler`](crate::MessageHandler) shows it in use.
pub type NodeRng = ChaCha8Rng;

/// Maximum number of requests that wait for a reply at the same time. If one more comes, the node
/// gives up the oldest one: its sender has most likely stopped waiting.
pub const OPEN_REQUESTS_MAX: usize = 1 << 18;

/// The time, as the driver tells it. [`RawNode`](crate::RawNode) shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Time since some fixed moment. It never goes back, and has no meaning outside this process.
    pub monotonic: Duration,
    /// Time since the Unix epoch, by the machine's clock. It may stand still, jump and go back.
    pub wall: Duration,
}

/// A handler's view of its node: its name, the time, and everything that the handler can do.
///
/// No method blocks, and none returns an error. A message or a record becomes an
/// [`Output`](crate::Output). A call or a timer later comes back as an event.
/// [`MessageHandler`](crate::MessageHandler) shows a handler that uses most of it.
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
    /// Serial numbers of the requests that wait for a reply, except that of the newest request.
    open_requests: BTreeSet<u64>,
    /// The newest request, if it waits for a reply. Most requests are answered before the next one
    /// comes, so most never enter the set above.
    newest_request: Option<u64>,
    pub(crate) timers: TimerQueue<E>,
    pub(crate) rpcs: RpcTable<E>,
    pub(crate) outputs: Outputs,
    pub(crate) marks: Marks,
    pub(crate) metrics: Recorder,
    pub(crate) auth: Auth,
    /// True if messages to other nodes carry the ids of requests.
    pub(crate) trace_requests: bool,
}

impl<E> Node<E> {
    pub(crate) fn new(seed: [u8; 32], durable: bool, reply_within: Option<Duration>) -> Self {
        let mut rng = NodeRng::from_seed(seed);
        Self {
            id: "".into(),
            node_ids: Arc::new([]),
            clock: Clock::default(),
            // Replies to calls of an earlier process may still arrive, so this process begins with
            // a random id. It has 52 bits: ids then stay within the 53 bits that every JSON parser
            // keeps exactly.
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
            trace_requests: false,
        }
    }

    pub(crate) fn set_names(&mut self, id: NodeId, node_ids: Arc<[NodeId]>) {
        self.id = id;
        self.node_ids = node_ids;
    }

    /// Sets the time. If the driver's monotonic clock went back, the node keeps its own.
    pub(crate) fn set_clock(&mut self, clock: Clock) {
        debug_assert!(clock.monotonic >= self.clock.monotonic, "the monotonic clock went back");
        self.clock =
            Clock { monotonic: clock.monotonic.max(self.clock.monotonic), wall: clock.wall };
    }

    /// The name of this node.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// All nodes of the cluster, including this one. Every node has the same list in the same
    /// order.
    #[must_use]
    pub fn node_ids(&self) -> &Arc<[NodeId]> {
        &self.node_ids
    }

    /// All nodes except this one, in the order of [`node_ids`](Self::node_ids). The iterator owns
    /// its names, so a loop over them can send:
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

    /// The random source. Its methods are those of [`rand::Rng`] and [`rand::RngExt`], which this
    /// crate re-exports as [`crate::rand`].
    pub fn rng(&mut self) -> &mut NodeRng {
        &mut self.rng
    }

    /// Records that something rare and interesting happened. A sweep in virtual time reports which
    /// marks its seeds reached. Other drivers ignore marks. The name begins with the part of the
    /// program that the mark is about:
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

    /// Adds `n` to a counter. `labels` are the values of the metric's labels, in the metric's
    /// order.
    ///
    /// A label must have few possible values: an outcome or the name of a node, never text from a
    /// client. [`metrics`] describes how the numbers are exported.
    pub fn count(&mut self, metric: &'static Metric, labels: &[&str], n: u64) {
        self.metrics.count(metric, labels, n);
    }

    /// Counts a client's request that the handler refuses because too many bytes of requests wait
    /// already. The number is in the metric `maelstrom_refused_total`, with the limit
    /// `pending_bytes`: see [`limits`](crate::limits).
    pub fn count_refused_for_pending_bytes(&mut self) {
        self.count(&metrics::REFUSED, &["pending_bytes"], 1);
    }

    /// Sets a gauge. If the value follows from the handler's state, implement
    /// [`MessageHandler::gauges`](crate::MessageHandler::gauges) instead: the core calls it only
    /// for a reader of the metrics.
    pub fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.metrics.gauge(metric, labels, value);
    }

    /// Adds an observation to a histogram. The metric's name tells the unit.
    pub fn observe(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        self.metrics.observe(metric, labels, value);
    }

    /// The id of a client's request, in the log of all nodes: see [module `trace`](crate::trace).
    #[must_use]
    pub fn request_id<'a>(&'a self, request: &'a Request) -> RequestId<'a> {
        RequestId { node: &self.id, client: request.src(), msg_id: request.msg_id() }
    }

    /// The span of a client's request. Enter it to continue the request in a later event: see
    /// [module `trace`](crate::trace). A disabled span if the log does not want it, or if another node
    /// sent the request.
    #[inline]
    #[must_use]
    pub fn request_span(&self, request: &Request) -> Span {
        if !trace::is_enabled() || self.node_ids.contains(request.src()) {
            return Span::none();
        }
        trace::span_of(self.request_id(request))
    }

    /// True if messages to other nodes carry the ids of clients' requests.
    #[must_use]
    pub fn traces_requests(&self) -> bool {
        self.trace_requests
    }

    /// The id of a client's request for a message to another node. `None`: the message carries no
    /// id, because the node does not trace requests.
    #[must_use]
    pub fn traced_id(&self, request: &Request) -> Option<Arc<str>> {
        self.trace_requests.then(|| self.request_id(request).to_string().into())
    }

    /// Answers a request. If the sender wants no reply, nothing is sent.
    ///
    /// The node logs an error and sends nothing in these cases, which are mistakes in the program:
    ///
    /// * The request was answered before. Its sender may be gone, and Maelstrom stops listening to
    ///   a node that writes to a client that is gone.
    /// * The node gave the request up for newer ones, see [`OPEN_REQUESTS_MAX`].
    ///
    /// The node sends nothing either if the client has given up: see
    /// [`MessageHandler::REPLY_WITHIN`].
    ///
    /// [`MessageHandler::REPLY_WITHIN`]: crate::MessageHandler::REPLY_WITHIN
    ///
    /// `body` is an enum variant with named fields. The variant's name is the reply's type. A body
    /// without a JSON form is a mistake in the program: the node logs it and answers with error 13.
    pub fn reply<B: Serialize + ?Sized>(&mut self, request: &Request, body: &B) {
        self.reply_as(request, body, None);
    }

    /// Like [`reply`](Self::reply). If the body is an error, `code` is its code.
    fn reply_as<B: Serialize + ?Sized>(
        &mut self,
        request: &Request,
        body: &B,
        code: Option<ErrorCode>,
    ) {
        let span = self.request_span(request).entered();
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
        if !span.is_disabled() {
            debug!(target: trace::TARGET, ?outcome, "answered");
        }
        if self.metrics.is_on() {
            self.metrics.answered(request.kind, outcome, self.age(request));
        }
    }

    /// Time since the request came.
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

    /// Answers a request with `body` or with an error, such as the [`RpcError`] of a call that the
    /// handler made for the request.
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

    /// Sends a message that wants no reply. A body without a JSON form is a mistake in the program:
    /// the node logs it and sends nothing.
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
    /// [`MessageHandler::event`](crate::MessageHandler::event) gets. A tuple variant of the event
    /// type is such a function. The outcome is the reply, the other side's error, or
    /// [`RpcError::Timeout`] after `timeout`. If the message cannot be sent, the outcome is
    /// [`RpcError::Overloaded`] or [`RpcError::NoJsonForm`].
    ///
    /// The outcome comes exactly once, and never before the handler has returned. The node drops a
    /// reply that comes after the timeout. [`Reply`](crate::Reply) shows a call.
    pub fn rpc<B: Serialize + ?Sized>(
        &mut self,
        dest: &NodeId,
        body: &B,
        timeout: Duration,
        then: impl FnOnce(RpcResult) -> E + Send + 'static,
    ) {
        if self.rpcs.len() >= PENDING_RPCS_MAX {
            self.count_call(CallOutcome::Unsent);
            let event = then(Err(RpcError::Overloaded));
            return self.set_timer(Duration::ZERO, event);
        }
        let id = self.next_msg_id;
        self.next_msg_id = id.wrapping_add(1);
        if let Err(error) = self.write_line(dest, Ids { msg_id: Some(id), in_reply_to: None }, body)
        {
            error!(peer = %dest, %error, "a call has no JSON form and was not sent");
            self.count_call(CallOutcome::Unsent);
            let event = then(Err(RpcError::NoJsonForm(error.to_string())));
            return self.set_timer(Duration::ZERO, event);
        }
        let deadline = self.now().saturating_add(timeout);
        let sent = Sent { kind: self.metrics.newest_sent(), at: self.now() };
        self.rpcs.insert(id, dest.clone(), deadline, sent, Box::new(then));
    }

    /// Delivers `event` to the handler once, after the time `after`. A timer cannot be cancelled:
    /// if the handler's state has moved on, it ignores the event.
    /// [`MessageHandler`](crate::MessageHandler) shows a timer in use.
    pub fn set_timer(&mut self, after: Duration, event: E) {
        self.timers.set(self.clock.monotonic.saturating_add(after), event);
    }

    /// Makes `record` durable. Nothing sent after this call leaves the node before the record is
    /// safe. After a crash, [`MessageHandler::recover`](crate::MessageHandler::recover) gets the
    /// record back.
    ///
    /// If the driver keeps no records (the default), this does nothing: see
    /// [`is_durable`](Self::is_durable). A record without a JSON form is a mistake in the program:
    /// the node logs it and does not keep it.
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

    /// True if the driver keeps the records of [`persist`](Self::persist). If this is false, a
    /// handler can skip other work for durability, such as messages.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Counts a call that ended, and the time that it took.
    pub(crate) fn call_ended(&mut self, outcome: CallOutcome, sent: Sent) {
        self.count_call(outcome);
        self.metrics.call_ended(sent.kind, self.now().saturating_sub(sent.at));
    }

    fn count_call(&mut self, outcome: CallOutcome) {
        self.metrics.count(&metrics::CALLS, &[outcome.name()], 1);
    }

    /// A number that no other task of this node has.
    pub(crate) fn next_task(&mut self) -> u64 {
        let task = self.next_task;
        self.next_task = task.wrapping_add(1);
        task
    }

    /// How many requests wait for the handler's reply.
    pub(crate) fn unanswered(&self) -> usize {
        self.open_requests.len().saturating_add(usize::from(self.newest_request.is_some()))
    }

    /// Stops waiting for the reply to a request. Returns true if the request was waiting.
    fn close(&mut self, serial: u64) -> bool {
        if self.newest_request == Some(serial) {
            self.newest_request = None;
            return true;
        }
        self.open_requests.remove(&serial)
    }

    /// Registers a message that came. If it has a `msg_id`, it waits for a reply from now on.
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

    /// The seal for a line to that node. `None`: the line needs no seal.
    fn seal_for(&self, dest: &NodeId) -> Option<Seal> {
        let key = self.auth.key_for(dest, &self.node_ids)?.clone();
        Some(Seal { key, src: self.id.clone(), dest: dest.clone() })
    }

    /// Appends a line to the outputs. On an error, nothing is written.
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

/// The part of `LINE_END` that counts as part of the line: the brace, not the newline.
const BRACE: usize = 1;

/// The replies that every node gives.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SystemReply<'a> {
    InitOk,
    Error(&'a Error),
}
