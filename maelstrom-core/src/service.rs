//! Clients for the services that Maelstrom runs beside the nodes: three key-value stores and a
//! timestamp oracle.
//!
//! | service | consistency |
//! |---|---|
//! | `lin-kv` | linearizable |
//! | `seq-kv` | sequential: a read may be stale, but a client never sees the state go back |
//! | `lww-kv` | eventual, the last write wins |
//! | `lin-tso` | rising integers, linearizable |
//!
//! Each call takes a function that turns the outcome into an event of the handler, as [`Node::rpc`]
//! does. Keys and values can have any type that serde can turn into JSON.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::message::NodeId;
use crate::node::Node;
use crate::rpc::{Reply, RpcError, RpcResult};

/// A client of one of the key-value stores.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_core::service::{Cas, KvClient};
/// use maelstrom_core::{Node, RpcError};
///
/// enum Event {
///     Read(Result<Option<u64>, RpcError>),
///     Added(Result<Cas, RpcError>),
/// }
///
/// fn begin(node: &mut Node<Event>) {
///     KvClient::lin_kv(Duration::from_secs(1)).read(node, "total", Event::Read);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct KvClient {
    service: NodeId,
    timeout: Duration,
}

/// The outcome of a compare-and-set that the service answered. The [module `task`](crate::task)
/// shows it in use.
///
/// A node that passes the outcome on answers with the definite errors of Maelstrom:
///
/// ```
/// use maelstrom_core::Error;
/// use maelstrom_core::service::Cas;
///
/// fn answer(cas: Cas) -> Result<(), Error> {
///     match cas {
///         Cas::Swapped => Ok(()),
///         Cas::Mismatch => Err(Error::precondition_failed("the key has another value")),
///         Cas::Missing => Err(Error::key_does_not_exist("no such key")),
///     }
/// }
/// assert!(answer(Cas::Swapped).is_ok() && answer(Cas::Missing).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cas {
    /// The value was the expected one. It was replaced.
    Swapped,
    /// The value is a different one (error 22). Nothing happened.
    Mismatch,
    /// The key does not exist (error 20). Nothing happened.
    Missing,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum KvRequest<K, V> {
    Read { key: K },
    Write { key: K, value: V },
    Cas { key: K, from: V, to: V, create_if_not_exists: bool },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the protocol's names")]
enum KvReply<V> {
    ReadOk { value: V },
    WriteOk,
    CasOk,
}

impl KvClient {
    /// A client of the service `service`. Its calls end after `timeout` at the latest. Choose a
    /// timeout well below the 5 s after which Maelstrom's clients give up.
    pub fn new(service: impl Into<NodeId>, timeout: Duration) -> Self {
        Self { service: service.into(), timeout }
    }

    /// The linearizable store.
    #[must_use]
    pub fn lin_kv(timeout: Duration) -> Self {
        Self::new("lin-kv", timeout)
    }

    /// The sequentially consistent store.
    #[must_use]
    pub fn seq_kv(timeout: Duration) -> Self {
        Self::new("seq-kv", timeout)
    }

    /// The eventually consistent store.
    #[must_use]
    pub fn lww_kv(timeout: Duration) -> Self {
        Self::new("lww-kv", timeout)
    }

    /// Reads `key`. `None`: the key does not exist.
    pub fn read<E, V: DeserializeOwned>(
        &self,
        node: &mut Node<E>,
        key: impl Serialize,
        then: impl FnOnce(Result<Option<V>, RpcError>) -> E + Send + 'static,
    ) {
        self.call(node, &Self::read_request(key), |result| then(Self::read_result(result)));
    }

    /// Sets `key` to `value`, regardless of its old value.
    pub fn write<E>(
        &self,
        node: &mut Node<E>,
        key: impl Serialize,
        value: impl Serialize,
        then: impl FnOnce(Result<(), RpcError>) -> E + Send + 'static,
    ) {
        let request = Self::write_request(key, value);
        self.call(node, &request, |result| then(Self::write_result(result)));
    }

    /// Sets `key` to `to` if its value is `from`. With `create_if_not_exists`, also if it does not
    /// exist.
    pub fn cas<E, V: Serialize>(
        &self,
        node: &mut Node<E>,
        key: impl Serialize,
        from: V,
        to: V,
        create_if_not_exists: bool,
        then: impl FnOnce(Result<Cas, RpcError>) -> E + Send + 'static,
    ) {
        let request = Self::cas_request(key, from, to, create_if_not_exists);
        self.call(node, &request, |result| then(Self::cas_result(result)));
    }

    pub(crate) fn service(&self) -> &NodeId {
        &self.service
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn read_request<K: Serialize>(key: K) -> impl Serialize {
        KvRequest::<K, ()>::Read { key }
    }

    pub(crate) fn write_request(key: impl Serialize, value: impl Serialize) -> impl Serialize {
        KvRequest::Write { key, value }
    }

    pub(crate) fn cas_request<V: Serialize>(
        key: impl Serialize,
        from: V,
        to: V,
        create_if_not_exists: bool,
    ) -> impl Serialize {
        KvRequest::Cas { key, from, to, create_if_not_exists }
    }

    pub(crate) fn read_result<V: DeserializeOwned>(
        result: RpcResult,
    ) -> Result<Option<V>, RpcError> {
        match result.and_then(|reply| decode(&reply)) {
            Ok(KvReply::ReadOk { value }) => Ok(Some(value)),
            Ok(_) => Err(mixed_up()),
            Err(error) if error.code() == Some(ErrorCode::KeyDoesNotExist) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write_result(result: RpcResult) -> Result<(), RpcError> {
        match result.and_then(|reply| decode::<()>(&reply))? {
            KvReply::WriteOk => Ok(()),
            _ => Err(mixed_up()),
        }
    }

    pub(crate) fn cas_result(result: RpcResult) -> Result<Cas, RpcError> {
        match result.and_then(|reply| decode::<()>(&reply)) {
            Ok(KvReply::CasOk) => Ok(Cas::Swapped),
            Ok(_) => Err(mixed_up()),
            Err(error) => match error.code() {
                Some(ErrorCode::PreconditionFailed) => Ok(Cas::Mismatch),
                Some(ErrorCode::KeyDoesNotExist) => Ok(Cas::Missing),
                _ => Err(error),
            },
        }
    }

    fn call<E>(
        &self,
        node: &mut Node<E>,
        request: &impl Serialize,
        then: impl FnOnce(RpcResult) -> E + Send + 'static,
    ) {
        node.rpc(&self.service, request, self.timeout, then);
    }
}

/// A client of the timestamp oracle `lin-tso`.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_core::{Node, RpcError, service::TsoClient};
///
/// enum Event {
///     Stamped(Result<u64, RpcError>),
/// }
///
/// fn ask_for_a_stamp(node: &mut Node<Event>) {
///     TsoClient::new(Duration::from_secs(1)).ts(node, Event::Stamped);
/// }
/// ```
#[derive(Clone, Debug)]
pub struct TsoClient {
    service: NodeId,
    timeout: Duration,
}

impl TsoClient {
    /// A client whose calls end after `timeout` at the latest.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { service: "lin-tso".into(), timeout }
    }

    /// Requests a timestamp. It is larger than every timestamp given before the call.
    pub fn ts<E>(
        &self,
        node: &mut Node<E>,
        then: impl FnOnce(Result<u64, RpcError>) -> E + Send + 'static,
    ) {
        #[derive(Serialize)]
        #[serde(rename_all = "snake_case")]
        enum TsoRequest {
            Ts,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum TsoReply {
            TsOk { ts: u64 },
        }
        node.rpc(&self.service, &TsoRequest::Ts, self.timeout, |result| {
            then(result.and_then(|reply| reply.decode()).map(|TsoReply::TsOk { ts }| ts))
        });
    }
}

fn decode<V: DeserializeOwned>(reply: &Reply) -> Result<KvReply<V>, RpcError> {
    reply.decode()
}

fn mixed_up() -> RpcError {
    RpcError::Malformed("the reply belongs to another kind of request".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Error, MessageHandler, Output, RawNode, Request};

    /// Makes one call for each message, and keeps the outcome.
    #[derive(Default)]
    struct Caller {
        outcomes: Vec<Outcome>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Call {
        Read,
        Write,
        Cas { create: bool },
        Ts,
    }

    #[derive(Debug, PartialEq)]
    enum Outcome {
        Read(Result<Option<u64>, RpcError>),
        Write(Result<(), RpcError>),
        Cas(Result<Cas, RpcError>),
        Ts(Result<u64, RpcError>),
    }

    const TIMEOUT: Duration = Duration::from_secs(2);

    impl MessageHandler for Caller {
        type Payload = Call;
        type Event = Outcome;

        fn message(
            &mut self,
            node: &mut Node<Outcome>,
            _: &Request,
            call: Call,
        ) -> Result<(), Error> {
            match call {
                Call::Read => KvClient::seq_kv(TIMEOUT).read(node, "k", Outcome::Read),
                Call::Write => {
                    KvClient::lww_kv(TIMEOUT).write(node, ("k", 1), [1, 2], Outcome::Write);
                }
                Call::Cas { create } => {
                    KvClient::lin_kv(TIMEOUT).cas(node, "k", 1, 2, create, Outcome::Cas);
                }
                Call::Ts => TsoClient::new(TIMEOUT).ts(node, Outcome::Ts),
            }
            Ok(())
        }

        fn event(&mut self, _: &mut Node<Outcome>, outcome: Outcome) {
            self.outcomes.push(outcome);
        }
    }

    fn feed(node: &mut RawNode<Caller>, src: &str, body: &str) {
        let line = format!(r#"{{"src":"{src}","dest":"n1","body":{body}}}"#);
        node.handle_line(Clock::default(), line.as_bytes());
    }

    fn take_output(node: &mut RawNode<Caller>) -> String {
        match node.poll_output() {
            Some(Output::Lines(bytes)) => String::from_utf8(bytes).unwrap(),
            other => panic!("not lines: {other:?}"),
        }
    }

    /// A node that has made `call`, and the line with the call.
    fn calling(call: &str) -> (RawNode<Caller>, String) {
        let mut node = RawNode::numbered_from_1(Caller::default(), false);
        let init = r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#;
        feed(&mut node, "c0", init);
        take_output(&mut node);
        feed(&mut node, "c1", call);
        let line = take_output(&mut node);
        (node, line)
    }

    /// The outcome of `call` if `service` answers `reply`. `None`: the service does not answer.
    fn outcome(call: &str, service: &str, reply: Option<&str>) -> Outcome {
        let (mut node, _) = calling(call);
        match reply {
            Some(reply) => feed(&mut node, service, reply),
            None => node.handle_timeout(Clock { monotonic: TIMEOUT, wall: Duration::ZERO }),
        }
        assert_eq!((node.open_rpcs(), node.poll_output()), (0, None));
        let mut outcomes = node.handler().outcomes.iter();
        match (outcomes.next(), outcomes.next()) {
            (Some(Outcome::Read(result)), None) => Outcome::Read(result.clone()),
            (Some(Outcome::Write(result)), None) => Outcome::Write(result.clone()),
            (Some(Outcome::Cas(result)), None) => Outcome::Cas(result.clone()),
            (Some(Outcome::Ts(result)), None) => Outcome::Ts(result.clone()),
            other => panic!("not one outcome: {other:?}"),
        }
    }

    const READ: &str = r#"{"type":"read"}"#;
    const WRITE: &str = r#"{"type":"write"}"#;
    const CAS: &str = r#"{"type":"cas","create":false}"#;
    const CAS_OR_CREATE: &str = r#"{"type":"cas","create":true}"#;
    const TS: &str = r#"{"type":"ts"}"#;

    #[test]
    fn requests_have_the_form_that_the_services_expect() {
        for (call, service, body) in [
            (READ, "seq-kv", r#"{"type":"read","msg_id":1,"key":"k"}"#),
            (WRITE, "lww-kv", r#"{"type":"write","msg_id":1,"key":["k",1],"value":[1,2]}"#),
            (
                CAS,
                "lin-kv",
                r#"{"type":"cas","msg_id":1,"key":"k","from":1,"to":2,"create_if_not_exists":false}"#,
            ),
            (
                CAS_OR_CREATE,
                "lin-kv",
                r#"{"type":"cas","msg_id":1,"key":"k","from":1,"to":2,"create_if_not_exists":true}"#,
            ),
            (TS, "lin-tso", r#"{"type":"ts","msg_id":1}"#),
        ] {
            let expected = format!(r#"{{"src":"n1","dest":"{service}","body":{body}}}"#);
            assert_eq!(calling(call).1, expected + "\n");
        }
    }

    #[test]
    fn a_success_is_told_as_one() {
        let ok = |call, service, reply| outcome(call, service, Some(reply));
        let read = r#"{"type":"read_ok","in_reply_to":1,"msg_id":9,"value":18446744073709551615}"#;
        assert_eq!(ok(READ, "seq-kv", read), Outcome::Read(Ok(Some(u64::MAX))));
        let write = r#"{"type":"write_ok","in_reply_to":1}"#;
        assert_eq!(ok(WRITE, "lww-kv", write), Outcome::Write(Ok(())));
        let cas = r#"{"type":"cas_ok","in_reply_to":1}"#;
        assert_eq!(ok(CAS, "lin-kv", cas), Outcome::Cas(Ok(Cas::Swapped)));
        let ts = r#"{"type":"ts_ok","in_reply_to":1,"ts":7}"#;
        assert_eq!(ok(TS, "lin-tso", ts), Outcome::Ts(Ok(7)));
    }

    fn error(code: u64) -> (String, RpcError) {
        let reply = format!(r#"{{"type":"error","in_reply_to":1,"code":{code},"text":"no"}}"#);
        let error = Error::new(ErrorCode::from_code(code), "no");
        (reply, RpcError::Remote(error))
    }

    #[test]
    fn errors_20_and_22_are_outcomes_where_they_are_to_be_expected_and_errors_elsewhere() {
        let (missing, missing_error) = error(20);
        let (mismatch, mismatch_error) = error(22);
        for (call, service, reply, expected) in [
            (READ, "seq-kv", &missing, Outcome::Read(Ok(None))),
            (READ, "seq-kv", &mismatch, Outcome::Read(Err(mismatch_error.clone()))),
            (WRITE, "lww-kv", &missing, Outcome::Write(Err(missing_error.clone()))),
            (CAS, "lin-kv", &missing, Outcome::Cas(Ok(Cas::Missing))),
            (CAS, "lin-kv", &mismatch, Outcome::Cas(Ok(Cas::Mismatch))),
            (TS, "lin-tso", &missing, Outcome::Ts(Err(missing_error))),
            (TS, "lin-tso", &mismatch, Outcome::Ts(Err(mismatch_error))),
        ] {
            assert_eq!(outcome(call, service, Some(reply)), expected, "{call} {reply}");
        }
    }

    #[test]
    fn an_error_needs_no_text_and_other_fields_of_a_reply_do_not_matter() {
        for rest in ["", r#","text":null"#, r#","text":7"#, r#","text":"no","more":[1]"#] {
            let reply = format!(r#"{{"type":"error","in_reply_to":1,"code":20{rest}}}"#);
            assert_eq!(outcome(READ, "seq-kv", Some(&reply)), Outcome::Read(Ok(None)), "{reply}");
        }
        for reply in [
            r#"{"type":"read_ok","in_reply_to":1,"value":7,"version":3}"#,
            r#"{"in_reply_to":1,"value":7,"type":"read_ok","msg_id":null}"#,
        ] {
            assert_eq!(outcome(READ, "seq-kv", Some(reply)), Outcome::Read(Ok(Some(7))), "{reply}");
        }
    }

    /// The error that `call` ends with.
    fn failure(call: &str, service: &str, reply: Option<&str>) -> RpcError {
        match outcome(call, service, reply) {
            Outcome::Read(Err(error)) => error,
            Outcome::Write(Err(error)) => error,
            Outcome::Cas(Err(error)) => error,
            Outcome::Ts(Err(error)) => error,
            other => panic!("not an error: {other:?}"),
        }
    }

    const CALLS: [(&str, &str); 4] =
        [(READ, "seq-kv"), (WRITE, "lww-kv"), (CAS, "lin-kv"), (TS, "lin-tso")];

    #[test]
    fn any_other_error_is_passed_on_and_is_as_definite_as_its_code() {
        for (call, service) in CALLS {
            for (code, definite) in [(11, true), (13, false), (0, false), (4711, false)] {
                let (reply, expected) = error(code);
                let error = failure(call, service, Some(&reply));
                assert_eq!((error.is_definite(), error), (definite, expected));
            }
        }
    }

    #[test]
    fn no_answer_in_time_is_a_timeout() {
        for (call, service) in CALLS {
            assert_eq!(failure(call, service, None), RpcError::Timeout);
        }
    }

    #[test]
    fn a_reply_that_does_not_fit_the_request_is_an_indefinite_error() {
        for (call, service) in CALLS {
            for reply in [
                r#"{"type":"read_ok","in_reply_to":1}"#,
                r#"{"type":"read_ok","in_reply_to":1,"value":"seven"}"#,
                r#"{"type":"list_ok","in_reply_to":1,"value":1}"#,
                r#"{"type":"ts_ok","in_reply_to":1,"ts":-1}"#,
            ] {
                let error = failure(call, service, Some(reply));
                assert!(matches!(error, RpcError::Malformed(_)), "{call} {error:?}");
                assert!(!error.is_definite());
            }
        }
        let cas_ok = r#"{"type":"cas_ok","in_reply_to":1}"#;
        let write_ok = r#"{"type":"write_ok","in_reply_to":1}"#;
        for (call, service, reply) in
            [(READ, "seq-kv", write_ok), (WRITE, "lww-kv", cas_ok), (CAS, "lin-kv", write_ok)]
        {
            let error = failure(call, service, Some(reply));
            assert!(matches!(error, RpcError::Malformed(_)), "{call} {error:?}");
        }
    }
}
