//! One node without I/O: a handler, its `Node`, and the rules of the protocol around them.
//!
//! The invariants:
//!
//! * The handler gets no message before `init`, and at most one `init` counts.
//! * Each call ends exactly once: with a reply, an error or a timeout.
//! * No line makes the node panic. A line that is no message leaves the handler as it is.
//! * The state and the outputs depend only on the seed, the records, the lines and the times.

mod admission;
#[cfg(feature = "auth")]
mod authentication;
mod early;
mod observation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::span::EnteredSpan;
use tracing::{debug, info, trace, warn};

use self::early::Early;
use crate::body;
use crate::error::{Error, ErrorCode};
use crate::handler::{MessageHandler, Records, SnapshotPosition};
use crate::limits::Admission;
use crate::message::{Envelope, Header, MsgId, NodeId, Request};
use crate::metrics::{self, CallOutcome};
use crate::names::Names;
use crate::node::{Clock, Node, SystemReply};
use crate::outputs::Output;
use crate::rpc::Reply;
use crate::trace;

/// A node that does no I/O. Its inputs are bytes and the time. Its outputs are bytes and records.
///
/// # The driver's contract
///
/// 1. Create the node with a seed that no other process ever gets (see [`RawNode::new`]).
/// 2. Pass it the records that an earlier process persisted, in order: [`recover`](Self::recover).
/// 3. For each line of input, call [`handle_line`](Self::handle_line).
/// 4. When the clock reaches [`poll_timeout`](Self::poll_timeout), call
///    [`handle_timeout`](Self::handle_timeout). An early call is harmless.
/// 5. When no more input can come, call [`handle_end_of_input`](Self::handle_end_of_input).
/// 6. After each of steps 3 to 5, take all outputs with [`poll_output`](Self::poll_output), in
///    order. Write lines to the network. Make a record durable before any later output leaves. Or
///    take all records with [`poll_records`](Self::poll_records), sync them once, and then take the
///    lines with [`poll_lines`](Self::poll_lines).
///
/// The monotonic part of the clock that the driver passes in must never go back.
///
/// No line can make the node panic or stop it from serving the next line.
///
/// # Before `init`
///
/// Maelstrom delivers messages for a killed node to the node's next process, before the `init` of
/// that process. Therefore requests that come before `init` wait for it, up to
/// [`Limits::pending_bytes`]. The handler gets them in their order, once it has started. A request
/// gets error 11 if it does not fit, or if the input ends without an `init`.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, Output, RawNode, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Ping, Pong }
/// # struct Ping;
/// # impl MessageHandler for Ping {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(&mut self, node: &mut Node<NoEvent>, from: &Request, _: Payload) -> Result<(), Error> {
/// #         node.reply(from, &Payload::Pong);
/// #         Ok(())
/// #     }
/// # }
///
/// let mut node = RawNode::new(Ping, [7; 32], false);
/// let clock = Clock { monotonic: Duration::ZERO, wall: Duration::ZERO };
/// node.handle_line(clock, br#"{"src":"c1","dest":"n1","body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}}"#);
/// node.handle_line(clock, br#"{"src":"c1","dest":"n1","body":{"type":"ping","msg_id":2}}"#);
/// let mut text = String::new();
/// while let Some(Output::Lines(lines)) = node.poll_output() {
///     text += &String::from_utf8(lines)?;
/// }
/// assert!(text.contains("init_ok") && text.contains("pong"));
/// # Ok::<(), std::string::FromUtf8Error>(())
/// ```
///
/// [`Limits::pending_bytes`]: crate::limits::Limits::pending_bytes
#[derive(Debug)]
pub struct RawNode<H: MessageHandler> {
    handler: H,
    node: Node<H::Event>,
    init: Option<Init>,
    early: Early,
    names: Names,
    /// `None`: the node refuses no requests.
    admission: Option<Box<Admission>>,
    /// Turns off decoding in one pass.
    #[cfg(test)]
    step_by_step: bool,
}

/// The content of `init`, the message that gives a node its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Init {
    node_id: String,
    node_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum InitPayload {
    Init(Init),
}

impl Init {
    fn check(&self) -> Result<(), Error> {
        let mut sorted: Vec<&String> = self.node_ids.iter().collect();
        sorted.sort();
        if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(Error::malformed_request("field `node_ids`: a node is named twice"));
        }
        if !self.node_ids.contains(&self.node_id) {
            return Err(Error::malformed_request("field `node_id`: not one of `node_ids`"));
        }
        Ok(())
    }
}

impl<H: MessageHandler> RawNode<H> {
    /// A node that waits for `init`.
    ///
    /// `seed` seeds [`Node::rng`]. A real driver takes it from the operating system, so that no two
    /// processes share one. A simulator derives it from the run's seed. With `durable`, each record
    /// that the handler persists becomes an [`Output::Record`]. Otherwise the node drops the
    /// records.
    pub fn new(handler: H, seed: [u8; 32], durable: bool) -> Self {
        Self {
            handler,
            node: Node::new(seed, durable, H::REPLY_WITHIN),
            init: None,
            early: Early::new(),
            names: Names::new(),
            admission: None,
            #[cfg(test)]
            step_by_step: false,
        }
    }

    /// A node whose calls are numbered from 1, so that a test can write them down.
    #[cfg(test)]
    pub(crate) fn numbered_from_1(handler: H, durable: bool) -> Self {
        let mut node = Self::new(handler, [7; 32], durable);
        node.node.next_msg_id = 1;
        node
    }

    /// Makes messages to other nodes carry the ids of clients' requests: see
    /// [module `trace`](crate::trace). Off by default.
    pub fn set_trace_requests(&mut self, trace_requests: bool) {
        self.node.trace_requests = trace_requests;
    }

    /// Replays one record of an earlier process. Call it only before `init`.
    ///
    /// # Errors
    ///
    /// If the handler cannot interpret the record, or if the node has started already. Do not use
    /// the node after an error: it lacks something that it once promised to keep.
    pub fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        if self.init.is_some() {
            return Err(Error::crash("records can be recovered only before init"));
        }
        self.handler.recover(record)
    }

    /// The name that `line` would give this node. `None`: the line is no `init` that the node would
    /// accept. A driver that keeps records finds them by this name, and makes the node recover them
    /// before it handles the line.
    #[must_use]
    pub fn name_in_init(&self, line: &[u8]) -> Option<NodeId> {
        if self.init.is_some() {
            return None;
        }
        let envelope = read_envelope(std::str::from_utf8(line).ok()?).ok()?;
        let header = read_header(envelope.body).ok()?;
        if header.kind != "init" || header.in_reply_to.is_some() {
            return None;
        }
        let InitPayload::Init(init) = body::decode("init", envelope.body).ok()?;
        init.check().ok()?;
        Some(init.node_id.into())
    }

    /// See [`MessageHandler::snapshot_bytes`].
    #[must_use]
    pub fn snapshot_bytes(&self) -> Option<usize> {
        self.handler.snapshot_bytes()
    }

    /// See [`MessageHandler::snapshot`]. Before this call, [`poll_output`](Self::poll_output) must
    /// have returned everything, and all records that it returned must be durable.
    ///
    /// # Errors
    ///
    /// See [`MessageHandler::snapshot`].
    pub fn snapshot(
        &self,
        from: SnapshotPosition,
        bytes_max: usize,
        records: &mut Records<'_>,
    ) -> Result<Option<SnapshotPosition>, Error> {
        self.handler.snapshot(from, bytes_max, records)
    }

    /// The handler, for tests and checkers.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Handles one line of input, with or without its newline. Ignores an empty line.
    pub fn handle_line(&mut self, clock: Clock, line: &[u8]) {
        self.node.set_clock(clock);
        if line.trim_ascii().is_empty() {
            return;
        }
        let text = match std::str::from_utf8(line) {
            Ok(text) => text,
            Err(error) => {
                let line =
                    preview(&String::from_utf8_lossy(line.get(..PREVIEW_BYTES).unwrap_or(line)));
                self.node.count(&metrics::SKIPPED, &["not_utf8"], 1);
                return warn!(%error, line, "a line is not UTF-8 and was skipped");
            }
        };
        self.handle_text(text);
    }

    #[cfg(not(feature = "auth"))]
    fn handle_text(&mut self, text: &str) {
        self.handle_message(text);
    }

    fn handle_message(&mut self, text: &str) {
        if self.handle_plain_line(text) {
            return;
        }
        match read_envelope(text) {
            Ok(envelope) => self.handle_envelope(text, &envelope),
            Err(error) => self.skip(text, &error),
        }
    }

    fn skip(&mut self, text: &str, error: &serde_json::Error) {
        self.node.count(&metrics::SKIPPED, &["no_message"], 1);
        warn!(%error, line = preview(text), "a line is not a message and was skipped");
    }

    /// The time at which [`handle_timeout`](Self::handle_timeout) is due, on the monotonic clock.
    /// `None`: no timer is set and no call is open.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let (timer, rpc) = (self.node.timers.next_deadline(), self.node.rpcs.next_deadline());
        timer.into_iter().chain(rpc).min()
    }

    /// Ends the calls that are due, then fires the timers that are due. If the handler then sets
    /// timers or opens calls that are due at this same moment, they wait for the next
    /// `handle_timeout`. So a driver's loop always returns to its input.
    pub fn handle_timeout(&mut self, clock: Clock) {
        self.node.set_clock(clock);
        let now = self.node.now();
        let (mark, call_mark) = (self.node.timers.mark(), self.node.next_msg_id);
        while let Some((event, sent)) = self.node.rpcs.pop_due(now, call_mark) {
            self.node.call_ended(CallOutcome::Timeout, sent);
            self.handler.event(&mut self.node, event);
        }
        while let Some(event) = self.node.timers.pop_due(now, mark) {
            self.handler.event(&mut self.node, event);
        }
    }

    /// The next output, in order. `None`: there are no more until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.node.outputs.pop()
    }

    /// Takes all records out of the outputs, also those behind lines, and appends them to
    /// `records`. So one sync is enough for all of them. Once they are durable, the driver takes
    /// the lines with [`poll_lines`](Self::poll_lines).
    pub fn poll_records(&mut self, records: &mut Vec<Vec<u8>>) {
        self.node.outputs.pop_records(records);
    }

    /// The next lines. `None`: nothing waits, or the next output is a record.
    pub fn poll_lines(&mut self) -> Option<Vec<u8>> {
        self.node.outputs.pop_lines()
    }

    /// Gives back the buffer of an [`Output::Lines`] that was written, so that the next lines need
    /// no new one. This call is optional.
    pub fn reuse(&mut self, lines: Vec<u8>) {
        self.node.outputs.reuse(lines);
    }

    /// True if the node has been told its name.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.init.is_some()
    }

    /// Maximum length in bytes of a line that the node reads, if its messages have at most `limit`
    /// bytes.
    #[cfg(feature = "runtime")]
    pub(crate) fn line_bytes_max(&self, limit: usize) -> usize {
        self.node.auth.line_bytes_max(limit)
    }

    /// Bytes of lines and records that wait in [`poll_output`](Self::poll_output).
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.node.outputs.bytes()
    }

    /// Handles the end of the input: every open call times out, because no reply can come any more.
    /// Requests that wait for `init` get error 11.
    ///
    /// The handler may open new calls in response. A driver that wants to end those as well calls
    /// this again, a bounded number of times.
    pub fn handle_end_of_input(&mut self, clock: Clock) {
        self.node.set_clock(clock);
        for line in self.early.take() {
            self.refuse_early(&line);
        }
        let mark = self.node.next_msg_id;
        while let Some((event, sent)) = self.node.rpcs.pop_open(mark) {
            self.node.call_ended(CallOutcome::Timeout, sent);
            self.handler.event(&mut self.node, event);
        }
    }

    /// How many calls are open.
    #[must_use]
    pub fn open_rpcs(&self) -> usize {
        self.node.rpcs.len()
    }

    /// How many requests the handler has taken and not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.node.unanswered()
    }

    /// Handles a plain request, which can be decoded in one pass. Returns false for all other
    /// lines, without any effect.
    fn handle_plain_line(&mut self, line: &str) -> bool {
        #[cfg(test)]
        if self.step_by_step {
            return false;
        }
        if self.init.is_none() {
            return false;
        }
        let Some(message) = body::line::decode(line) else {
            return false;
        };
        if message.dest != self.node.id().as_ref() {
            return false;
        }
        let src = self.names.get(message.src, self.node.node_ids());
        let mut request = self.node.accept(src, message.msg_id);
        let _span = self.enter_span(&request, message.kind);
        request.kind = self.node.metrics.received(Some(message.kind), line_bytes(line));
        trace!(peer = %request.src(), msg_id = request.msg_id(), kind = message.kind, "message");
        if !self.refuse_beyond_limits(&request, message.kind) {
            self.serve(&request, message.kind, message.payload);
        }
        true
    }

    /// Enters the span of a client's request.
    #[inline]
    fn enter_span(&self, request: &Request, kind: &str) -> EnteredSpan {
        let span = self.node.request_span(request).entered();
        if !span.is_disabled() {
            debug!(target: trace::TARGET, kind, "received");
        }
        span
    }

    /// Passes a request to the handler. If the handler returns an error, replies with it.
    fn serve(&mut self, request: &Request, kind: &str, payload: H::Payload) {
        if let Err(error) = self.handler.message(&mut self.node, request, payload) {
            // Not a warning: a handler's errors are part of its service, and every request may get
            // one.
            debug!(peer = %request.src(), msg_id = request.msg_id(), kind, %error, "answered with");
            self.node.reply_error(request, &error);
        }
    }

    fn handle_envelope(&mut self, line: &str, envelope: &Envelope<'_>) {
        let src = self.names.get(&envelope.src, self.node.node_ids());
        if self.init.is_none() {
            // The node has no name yet, so it answers under the name that the message calls it by.
            self.node.set_names(envelope.dest.as_ref().into(), Arc::new([]));
        }
        let header = match read_header(envelope.body) {
            Ok(header) => header,
            Err((msg_id, error)) => {
                let request = self.node.accept(src, msg_id);
                self.node.metrics.received(None, line_bytes(line));
                return self.refuse(&request, "?", &error);
            }
        };
        let kind = header.kind.as_ref();
        if let Some(in_reply_to) = header.in_reply_to {
            let is_known = self.handle_reply(src, kind, in_reply_to, envelope.body);
            self.node.metrics.received(is_known.then_some(kind), line_bytes(line));
            return;
        }
        if self.init.is_none() && kind != "init" {
            if self.early.push(line) {
                if self.early.len() == 1 {
                    warn!(peer = %src, kind, "a request came before `init`: it waits");
                }
                return;
            }
            self.node.count_refused_for_pending_bytes();
        }
        let mut request = self.node.accept(src, header.msg_id);
        let _span = self.enter_span(&request, kind);
        trace!(peer = %request.src(), msg_id = request.msg_id(), kind, "message");
        let result = if kind == "init" {
            request.kind = self.node.metrics.received(Some(kind), line_bytes(line));
            self.handle_init(&request, envelope.body)
        } else {
            self.dispatch(&mut request, line, envelope, kind)
        };
        if let Err(error) = result {
            self.refuse(&request, kind, &error);
        }
    }

    fn dispatch(
        &mut self,
        request: &mut Request,
        line: &str,
        envelope: &Envelope<'_>,
        kind: &str,
    ) -> Result<(), Error> {
        let payload = self.decode_request(envelope, kind);
        // The metrics name only types that the handler understands, since a sender can make up
        // others.
        let known = payload.is_ok().then_some(kind);
        request.kind = self.node.metrics.received(known, line_bytes(line));
        if !self.refuse_beyond_limits(request, kind) {
            self.serve(request, kind, payload?);
        }
        Ok(())
    }

    fn decode_request(&self, envelope: &Envelope<'_>, kind: &str) -> Result<H::Payload, Error> {
        if self.init.is_none() {
            return Err(not_initialized());
        }
        if envelope.dest != self.node.id().as_ref() {
            let text = format!("this is {}, not {}", self.node.id(), envelope.dest);
            return Err(Error::new(ErrorCode::NodeNotFound, text));
        }
        Ok(body::decode(kind, envelope.body)?)
    }

    /// Handles `init`, which gives the node its name. The same `init` again is a retry and has no
    /// further effect.
    fn handle_init(&mut self, request: &Request, body: &RawValue) -> Result<(), Error> {
        let InitPayload::Init(init) = body::decode("init", body)?;
        init.check()?;
        match &self.init {
            Some(known) if *known == init => {}
            Some(_) => {
                let text = format!("this node is {} already", self.node.id());
                return Err(Error::new(ErrorCode::PreconditionFailed, text));
            }
            None => {
                let node_ids = init.node_ids.iter().map(|id| id.as_str().into()).collect();
                self.node.set_names(init.node_id.as_str().into(), node_ids);
                self.names = Names::new();
                info!(node = %init.node_id, nodes = init.node_ids.len(), "initialized");
                self.init = Some(init);
                self.handler.started(&mut self.node);
            }
        }
        self.node.reply(request, &SystemReply::InitOk);
        for line in self.early.take() {
            self.handle_text(&line);
        }
        Ok(())
    }

    /// Refuses a request that waits for `init`, since no `init` can come any more.
    fn refuse_early(&mut self, line: &str) {
        let Ok(envelope) = read_envelope(line) else { return };
        let Ok(header) = read_header(envelope.body) else { return };
        // The node has no name, so it answers under the name that the message calls it by.
        self.node.set_names(envelope.dest.as_ref().into(), Arc::new([]));
        let src = self.names.get(&envelope.src, self.node.node_ids());
        let request = self.node.accept(src, header.msg_id);
        self.node.metrics.received(None, line_bytes(line));
        self.refuse(&request, header.kind.as_ref(), &not_initialized());
    }

    /// Handles a reply. Returns true if a call waited for it.
    fn handle_reply(
        &mut self,
        src: NodeId,
        kind: &str,
        in_reply_to: MsgId,
        body: &RawValue,
    ) -> bool {
        let is_error = kind == "error";
        let result = if is_error {
            Err(read_error(body).into())
        } else {
            Ok(Reply::new(src.clone(), kind.to_owned(), body.to_owned()))
        };
        match self.node.rpcs.complete(in_reply_to, &src, result) {
            Some((event, sent)) => {
                let outcome = if is_error { CallOutcome::Error } else { CallOutcome::Ok };
                self.node.call_ended(outcome, sent);
                self.handler.event(&mut self.node, event);
                true
            }
            None => {
                debug!(peer = %src, in_reply_to, kind, "a reply that nobody waits for");
                false
            }
        }
    }

    fn refuse(&mut self, request: &Request, kind: &str, error: &Error) {
        warn!(peer = %request.src(), msg_id = request.msg_id(), kind, %error, "refused");
        self.node.reply_error(request, error);
    }
}

fn not_initialized() -> Error {
    Error::temporarily_unavailable("not initialized yet: send `init` first")
}

/// Parses the message on a line. Checks for an object, because serde also accepts an array for a
/// struct.
fn read_envelope(text: &str) -> serde_json::Result<Envelope<'_>> {
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text)
    } else {
        Err(serde::de::Error::custom("not an object"))
    }
}

/// Parses the header. An error comes with the sender's `msg_id`, if the body has one.
fn read_header(body: &RawValue) -> Result<Header<'_>, (Option<MsgId>, Error)> {
    body::decode_header(body).map_err(|error| {
        // Keep the other values as text. So the sender gets its answer, regardless of these values.
        let fields: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(body.get()).ok();
        let msg_id = fields.and_then(|fields| fields.get("msg_id")?.get().parse().ok());
        (msg_id, error.into())
    })
}

/// Parses the error in a reply. An error that makes no sense becomes an indefinite one, since it
/// may mean anything.
fn read_error(body: &RawValue) -> Error {
    serde_json::from_str(body.get()).unwrap_or_else(|error| {
        Error::crash(format!("an error reply that makes no sense: {error}"))
    })
}

/// The length of a line without its newline.
fn line_bytes(line: &str) -> usize {
    line.strip_suffix('\n').unwrap_or(line).len()
}

/// Bytes of a line that are always enough for its preview.
const PREVIEW_BYTES: usize = 1024;

/// The beginning of a line, for the log.
fn preview(line: &str) -> String {
    const CHARS: usize = 120;
    let line = line.trim_end();
    let mut text: String = line.chars().take(CHARS).collect();
    if line.chars().nth(CHARS).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
#[path = "raw_node_tests.rs"]
mod tests;
