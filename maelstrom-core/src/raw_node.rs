//! One node without any I/O: a handler, its `Node`, and the rules of the protocol around them.

mod admission;
mod early;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{debug, info, trace, warn};

use self::early::Early;
#[cfg(feature = "auth")]
use crate::auth::{self, Checked, ClusterKey};
use crate::body;
use crate::error::{Error, ErrorCode};
use crate::handler::{MessageHandler, Records, SnapshotPosition};
use crate::limits::Admission;
use crate::message::{Envelope, Header, MsgId, NodeId, Request};
use crate::metrics::{self, CallOutcome, Gauges, Snapshot};
use crate::names::Names;
use crate::node::{Clock, Node, Output, SystemReply};
use crate::rpc::Reply;

/// A node that does no I/O: bytes and time go in, bytes and records come out.
///
/// # The driver's contract
///
/// 1. Create it with a seed that no other process ever gets (see [`RawNode::new`]).
/// 2. Hand it the records that an earlier life persisted, in order: [`recover`](Self::recover).
/// 3. For each line that comes in: [`handle_line`](Self::handle_line).
/// 4. When the clock reaches [`poll_timeout`](Self::poll_timeout):
///    [`handle_timeout`](Self::handle_timeout). Calling it early is harmless.
/// 5. After each of 2 to 4, take all outputs with [`poll_output`](Self::poll_output), in order:
///    write lines to the network; make a record durable before anything after it leaves. Or take
///    all records with [`poll_records`](Self::poll_records), sync them once, and then take the
///    lines with [`poll_lines`](Self::poll_lines).
/// 6. When no more input can come: [`handle_end_of_input`](Self::handle_end_of_input).
///
/// The clock that is passed in must never go back (its monotonic part).
///
/// Whatever a line holds, it cannot panic the node, and the next line is served.
///
/// # Before `init`
///
/// Maelstrom delivers what was sent to a killed node to the node's next process, ahead of its
/// `init`. Requests before `init` therefore wait for it, up to [`Limits::pending_bytes`], and the
/// handler gets them in their order when it has started. A request that does not fit, or for which
/// no `init` comes before the end of the input, gets error 11.
///
/// [`Limits::pending_bytes`]: crate::limits::Limits::pending_bytes
#[derive(Debug)]
pub struct RawNode<H: MessageHandler> {
    handler: H,
    node: Node<H::Event>,
    init: Option<Init>,
    early: Early,
    names: Names,
    /// `None`: nothing is refused.
    admission: Option<Box<Admission>>,
    /// Whether no line is taken for a plain one.
    #[cfg(test)]
    step_by_step: bool,
}

/// The first message that a node gets.
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
    /// `seed` feeds [`Node::rng`]. A real driver takes it from the operating system, so that no two
    /// processes share one; a simulator derives it from the run's seed. With `durable`, what the
    /// handler persists becomes [`Output::Record`]s; without, it is dropped.
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

    /// From now on, messages between nodes need this key: see [`auth`]. Only before `init`.
    #[cfg(feature = "auth")]
    pub fn set_cluster_key(&mut self, key: ClusterKey) {
        self.node.auth.set_key(key);
    }

    /// How many messages between nodes were dropped, since they had no valid MAC.
    #[cfg(feature = "auth")]
    #[must_use]
    pub fn unauthenticated(&self) -> u64 {
        self.node.auth.dropped()
    }

    /// Replays one record of an earlier life. Only before `init`.
    ///
    /// # Errors
    ///
    /// If the handler cannot make sense of the record, or the node has started already. The node
    /// must not be used then: it lacks something that it once promised to keep.
    pub fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        if self.init.is_some() {
            return Err(Error::crash("records can be recovered only before init"));
        }
        self.handler.recover(record)
    }

    /// The name that a line would give this node, if it is an `init` that would be taken: a driver
    /// that keeps records finds them by that, and has the node recover them first.
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

    /// See [`MessageHandler::snapshot`]. All records that [`poll_output`](Self::poll_output) returned
    /// must be durable, and it must have returned everything.
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

    /// The handler, for tests and checkers to look at.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Takes one line of input, with or without its newline. An empty line is nothing.
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

    #[cfg(feature = "auth")]
    fn handle_text(&mut self, text: &str) {
        match self.node.auth.check(text, self.node.id(), self.node.node_ids()) {
            Checked::AsItIs => self.handle_message(text),
            Checked::Opened(message) => self.handle_message(&message),
            Checked::Unproven { src, reason } => self.drop_unproven(&src, reason),
            Checked::NoMessage(error) => self.skip(text, &error),
        }
    }

    /// A message says that it is from a node, and does not prove it.
    #[cfg(feature = "auth")]
    fn drop_unproven(&mut self, src: &NodeId, reason: &'static str) {
        self.node.count(&metrics::UNAUTHENTICATED, &[reason], 1);
        self.node.mark(auth::DROPPED);
        if let Some(dropped) = self.node.auth.drop_one(self.node.now()) {
            warn!(
                peer = %src,
                dropped,
                "a message between nodes was dropped: its MAC is {reason} (do all nodes have the \
                 same --cluster-key-file?)"
            );
        }
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
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let (timer, rpc) = (self.node.timers.next_deadline(), self.node.rpcs.next_deadline());
        timer.into_iter().chain(rpc).min()
    }

    /// Fires the timers and ends the calls that are due. What they set for this very moment waits
    /// for the next call, so that a driver's loop always comes back to its input.
    pub fn handle_timeout(&mut self, clock: Clock) {
        self.node.set_clock(clock);
        let now = self.node.now();
        let (mark, call_mark) = (self.node.timers.mark(), self.node.next_msg_id);
        while let Some(event) = self.node.rpcs.pop_due(now, call_mark) {
            self.node.call_ended(CallOutcome::Timeout);
            self.handler.event(&mut self.node, event);
        }
        while let Some(event) = self.node.timers.pop_due(now, mark) {
            self.handler.event(&mut self.node, event);
        }
    }

    /// The next thing to do, in order. `None`: all is done until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.node.outputs.pop()
    }

    /// Moves the records among the outputs to the end of `records`, past the lines before them, so
    /// that one sync is enough for all of them. A driver that has made them durable takes the rest
    /// with [`poll_lines`](Self::poll_lines).
    pub fn poll_records(&mut self, records: &mut Vec<Vec<u8>>) {
        self.node.outputs.pop_records(records);
    }

    /// The next lines. `None`: nothing waits, or the next output is a record.
    pub fn poll_lines(&mut self) -> Option<Vec<u8>> {
        self.node.outputs.pop_lines()
    }

    /// Gives back the buffer of an [`Output::Lines`] that has been written, so that the next lines
    /// need no new one. A driver may leave this out.
    pub fn reuse(&mut self, lines: Vec<u8>) {
        self.node.outputs.reuse(lines);
    }

    /// Keeps the [marks](Node::mark) of the handler from now on, until they are
    /// [taken](Self::take_marks).
    pub fn record_marks(&mut self) {
        self.node.marks.record();
    }

    /// The marks since they were taken last, in order. None if nobody asked for them.
    pub fn take_marks(&mut self) -> Vec<&'static str> {
        self.node.marks.take()
    }

    /// Records the [metrics] of the node and of its handler from now on.
    pub fn record_metrics(&mut self) {
        self.node.metrics.record(self.node.is_durable(), H::METRICS);
    }

    /// The metrics as they are now. `None` if nobody asked to [record](Self::record_metrics) them.
    #[must_use]
    pub fn metrics(&self) -> Option<Snapshot> {
        if !self.node.metrics.is_on() {
            return None;
        }
        let mut gauges = Gauges::default();
        gauges.set_count(&metrics::REQUESTS_OPEN, self.unanswered());
        gauges.set_count(&metrics::CALLS_OPEN, self.open_rpcs());
        gauges.set_count(&metrics::TIMERS, self.node.timers.len());
        gauges.set_count(&metrics::OUTPUT_BYTES, self.output_bytes());
        gauges.set_count(&metrics::EARLY_BYTES, self.early.bytes());
        gauges.set_count(&metrics::READY, usize::from(self.is_ready()));
        self.handler.gauges(self.node.now(), &mut gauges);
        self.node.metrics.snapshot(gauges)
    }

    /// Whether the node has been told its name.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.init.is_some()
    }

    /// The most bytes of a line that a node of this limit reads.
    #[cfg(feature = "runtime")]
    pub(crate) fn line_bytes_max(&self, limit: usize) -> usize {
        self.node.auth.line_bytes_max(limit)
    }

    /// The metrics that the driver adds to.
    #[cfg(feature = "runtime")]
    pub(crate) fn recorder(&mut self) -> &mut metrics::Recorder {
        &mut self.node.metrics
    }

    /// How many bytes of lines and records wait in [`poll_output`](Self::poll_output).
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.node.outputs.bytes()
    }

    /// No reply can come any more: every open call has timed out.
    ///
    /// The handler may open new calls in return; a driver that wants those to end as well calls
    /// again, a bounded number of times.
    pub fn handle_end_of_input(&mut self, clock: Clock) {
        self.node.set_clock(clock);
        for line in self.early.take() {
            self.refuse_early(&line);
        }
        let mark = self.node.next_msg_id;
        while let Some(event) = self.node.rpcs.pop_open(mark) {
            self.node.call_ended(CallOutcome::Timeout);
            self.handler.event(&mut self.node, event);
        }
    }

    /// How many calls are under way.
    #[must_use]
    pub fn open_rpcs(&self) -> usize {
        self.node.rpcs.len()
    }

    /// How many requests the handler has taken and not answered yet.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.node.unanswered()
    }

    /// Serves a request that has nothing odd about it, which can be decoded in one pass. Of all
    /// other lines it says only that they are others, and has done nothing.
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
        request.kind = self.node.metrics.received(Some(message.kind), line_bytes(line));
        trace!(peer = %request.src(), msg_id = request.msg_id(), kind = message.kind, "message");
        if !self.refuse_beyond_limits(&request, message.kind) {
            self.serve(&request, message.kind, message.payload);
        }
        true
    }

    /// Lets the handler answer, and answers with its error where it has one.
    fn serve(&mut self, request: &Request, kind: &str, payload: H::Payload) {
        if let Err(error) = self.handler.message(&mut self.node, request, payload) {
            // A handler's own errors are part of its service, and may come with every request.
            debug!(peer = %request.src(), msg_id = request.msg_id(), kind, %error, "answered with");
            self.node.reply_error(request, &error);
        }
    }

    fn handle_envelope(&mut self, line: &str, envelope: &Envelope<'_>) {
        let src = self.names.get(&envelope.src, self.node.node_ids());
        if self.init.is_none() {
            // Not told its name yet, the node answers in the one it was called by.
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
            self.node.count(&metrics::REFUSED, &["pending_bytes"], 1);
        }
        let mut request = self.node.accept(src, header.msg_id);
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
        // Only what the handler understands has a name: anybody can make up others.
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

    /// `init` makes the node what it is. Sent again unchanged it is a retry, and harmless.
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

    /// No `init` can come any more: a request that waits for it is refused.
    fn refuse_early(&mut self, line: &str) {
        let Ok(envelope) = read_envelope(line) else { return };
        let Ok(header) = read_header(envelope.body) else { return };
        // Not told its name, the node answers in the one it was called by.
        self.node.set_names(envelope.dest.as_ref().into(), Arc::new([]));
        let src = self.names.get(&envelope.src, self.node.node_ids());
        let request = self.node.accept(src, header.msg_id);
        self.node.metrics.received(None, line_bytes(line));
        self.refuse(&request, header.kind.as_ref(), &not_initialized());
    }

    /// Whether somebody waited for the reply.
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
            Some(event) => {
                let outcome = if is_error { CallOutcome::Error } else { CallOutcome::Ok };
                self.node.call_ended(outcome);
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

/// The message on a line. serde would take an array for a struct as well.
fn read_envelope(text: &str) -> serde_json::Result<Envelope<'_>> {
    if text.trim_start().starts_with('{') {
        serde_json::from_str(text)
    } else {
        Err(serde::de::Error::custom("not an object"))
    }
}

/// The header, or an error for whoever can be found to have asked.
fn read_header(body: &RawValue) -> Result<Header<'_>, (Option<MsgId>, Error)> {
    body::decode_header(body).map_err(|error| {
        // The other values stay text: whatever they hold, the sender gets its answer.
        let fields: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(body.get()).ok();
        let msg_id = fields.and_then(|fields| fields.get("msg_id")?.get().parse().ok());
        (msg_id, error.into())
    })
}

/// The error in a reply; one that makes no sense may mean anything, so it is indefinite.
fn read_error(body: &RawValue) -> Error {
    serde_json::from_str(body.get()).unwrap_or_else(|error| {
        Error::crash(format!("an error reply that makes no sense: {error}"))
    })
}

/// The length of a line without its newline.
fn line_bytes(line: &str) -> usize {
    line.strip_suffix('\n').unwrap_or(line).len()
}

/// More than enough of a line for its preview.
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
