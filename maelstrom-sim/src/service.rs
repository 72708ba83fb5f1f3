//! The services that nodes may call: three key-value stores and a timestamp oracle.
//!
//! After `maelstrom.service`. Each service is as weak as its consistency model allows:
//!
//! * `lin-kv` is linearizable: it has one state, on which every operation acts.
//! * `seq-kv` is sequentially consistent. It keeps its last 32 states. For each operation it draws
//!   one of them, but none older than the caller has seen. An operation that changes nothing in
//!   that state acts on it. Every other operation acts on the newest state.
//! * `lww-kv` is eventually consistent. It has two replicas, and each operation acts on a random
//!   one. Before each operation, a random replica is merged into a random one: the later write
//!   wins, by a Lamport clock.
//! * `lin-tso` counts up from 0.
//!
//! Every store is as lenient as Maelstrom's:
//!
//! | field of a request | accepted value |
//! |---|---|
//! | `type` | a type that the service knows; any other type is invalid and gets no reply |
//! | `msg_id` | anything: the reply returns it as `in_reply_to`, null if it is missing |
//! | `key`, `value`, `from`, `to` | any JSON value; a missing one is null |
//! | `create_if_not_exists` | set unless it is missing, null or false; `lww-kv` ignores it |
//! | any other | ignored |
//!
//! Two keys, or two values of a `cas`, are equal if their JSON is equal: `1` equals `1`, but not
//! `1.0` or `"1"`.

use std::collections::{BTreeMap, VecDeque};

use maelstrom_core::{Error, ErrorCode, NodeId};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::excerpt::excerpt;
use crate::json::{Fields, canonical};
use crate::rng::SimRng;

/// How many states `seq-kv` keeps.
const SEQUENTIAL_STATES: usize = 32;

/// How many replicas `lww-kv` has.
const EVENTUAL_REPLICAS: usize = 2;

/// Why a request to a service is invalid. [`Services`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum BadRequest {
    /// The body is not a JSON object.
    #[error("the body is not an object")]
    NotAnObject,
    /// The body has no `type`, or it is not a string.
    #[error("the body has no `type`")]
    NoType,
    /// The service does not know this type of request.
    #[error("it knows no requests of type `{kind}`")]
    UnknownType {
        /// The service's name.
        service: String,
        /// The request's type.
        kind: String,
    },
}

/// All services, by the names under which nodes call them.
///
/// ```
/// use maelstrom_sim::rng::{self, Stream};
/// use maelstrom_sim::service::{BadRequest, Services};
///
/// let mut services = Services::new(rng::stream(7, Stream::Services));
/// let write = serde_json::from_str(r#"{"type": "write", "msg_id": 1, "key": "x", "value": 3}"#)?;
/// let reply = services.handle("lin-kv", &"n1".into(), write)?;
/// assert_eq!(reply.get(), r#"{"in_reply_to":1,"type":"write_ok"}"#);
/// let refused = services.handle("lin-tso", &"n1".into(), write);
/// assert!(matches!(refused, Err(BadRequest::UnknownType { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Services {
    rng: SimRng,
    lin_kv: Kv,
    seq_kv: Sequential,
    lww_kv: [Lww; EVENTUAL_REPLICAS],
    lin_tso: u64,
}

/// A request to a key-value store. A missing field is null. A flag is set unless it is missing,
/// null or false.
#[derive(Debug)]
enum KvRequest<'a> {
    Read { key: String },
    Write { key: String, value: &'a RawValue },
    Cas { key: String, from: &'a RawValue, to: &'a RawValue, create_if_not_exists: bool },
}

impl<'a> KvRequest<'a> {
    /// Parses a request. `None`: no store knows this type.
    fn read(kind: &str, body: &Fields<'a>) -> Option<Self> {
        let field = |name| body.get(name).unwrap_or(RawValue::NULL);
        let key = canonical(field("key"));
        match kind {
            "read" => Some(Self::Read { key }),
            "write" => Some(Self::Write { key, value: field("value") }),
            "cas" => {
                let flag = field("create_if_not_exists").get();
                let create_if_not_exists = !matches!(flag, "null" | "false");
                let (from, to) = (field("from"), field("to"));
                Some(Self::Cas { key, from, to, create_if_not_exists })
            }
            _ => None,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum KvReply {
    ReadOk { value: Box<RawValue> },
    WriteOk,
    CasOk,
    TsOk { ts: u64 },
    Error(Error),
}

#[derive(Serialize)]
struct Addressed<'a> {
    in_reply_to: &'a RawValue,
    #[serde(flatten)]
    reply: &'a KvReply,
}

impl Services {
    /// The names of the services.
    pub const NAMES: [&'static str; 4] = ["lin-kv", "seq-kv", "lww-kv", "lin-tso"];

    /// Clears all services.
    pub fn forget(&mut self) {
        let Self { rng: _, lin_kv, seq_kv, lww_kv, lin_tso } = self;
        *lin_kv = Kv::default();
        *seq_kv = Sequential::new();
        *lww_kv = std::array::from_fn(|_| Lww::default());
        *lin_tso = 0;
    }

    /// Empty services.
    #[must_use]
    pub fn new(rng: SimRng) -> Self {
        Self {
            rng,
            lin_kv: Kv::default(),
            seq_kv: Sequential::new(),
            lww_kv: std::array::from_fn(|_| Lww::default()),
            lin_tso: 0,
        }
    }

    /// Handles a request from `src`, and returns the reply. The reply returns the `msg_id` of the
    /// request as `in_reply_to`, null if there was none.
    ///
    /// # Errors
    ///
    /// If the request is invalid. It has no effect then, and there is no reply.
    pub fn handle(
        &mut self,
        service: &str,
        src: &NodeId,
        body: &RawValue,
    ) -> Result<Box<RawValue>, BadRequest> {
        let fields = Fields::of(body).map_err(|_| BadRequest::NotAnObject)?;
        let kind = fields.string("type").ok_or(BadRequest::NoType)?;
        let unknown = || BadRequest::UnknownType { service: service.into(), kind: excerpt(&kind) };
        let reply = if service == "lin-tso" {
            if kind != "ts" {
                return Err(unknown());
            }
            self.timestamp()
        } else {
            let request = KvRequest::read(&kind, &fields).ok_or_else(unknown)?;
            match service {
                "lin-kv" => self.lin_kv.handle(&request),
                "seq-kv" => self.seq_kv.handle(src, &request, &mut self.rng),
                "lww-kv" => self.handle_lww(&request),
                _ => return Err(unknown()),
            }
        };
        addressed(&fields, &reply).ok_or(BadRequest::NotAnObject)
    }

    /// With probability ½, an error in place of the reply, and whether that error is definite.
    pub fn error(body: &RawValue, rng: &mut SimRng) -> Option<(Box<RawValue>, bool)> {
        let fields = Fields::of(body).ok()?;
        if !rng.random_bool(0.5) {
            return None;
        }
        let codes = [ErrorCode::TemporarilyUnavailable, ErrorCode::Abort, ErrorCode::Crash];
        let code = codes.choose(rng).copied()?;
        let reply = KvReply::Error(Error::new(code, "injected by the nemesis"));
        Some((addressed(&fields, &reply)?, code.is_definite()))
    }

    fn timestamp(&mut self) -> KvReply {
        let ts = self.lin_tso;
        self.lin_tso += 1;
        KvReply::TsOk { ts }
    }

    fn handle_lww(&mut self, request: &KvRequest<'_>) -> KvReply {
        let mut any = || self.rng.random_range(0..EVENTUAL_REPLICAS);
        let (source, dest, replica) = (any(), any(), any());
        if let Some(source) = self.lww_kv.get(source).cloned()
            && let Some(dest) = self.lww_kv.get_mut(dest)
        {
            dest.merge(&source);
        }
        match self.lww_kv.get_mut(replica) {
            Some(replica) => replica.handle(request),
            None => missing(),
        }
    }
}

fn addressed(request: &Fields<'_>, reply: &KvReply) -> Option<Box<RawValue>> {
    let in_reply_to = request.get("msg_id").unwrap_or(RawValue::NULL);
    serde_json::value::to_raw_value(&Addressed { in_reply_to, reply }).ok()
}

fn missing() -> KvReply {
    KvReply::Error(Error::new(ErrorCode::KeyDoesNotExist, "key does not exist"))
}

fn mismatch(is: &RawValue, from: &RawValue) -> KvReply {
    let text = format!("current value {is} is not {from}");
    KvReply::Error(Error::new(ErrorCode::PreconditionFailed, text))
}

fn equals(stored: &RawValue, from: &RawValue) -> bool {
    stored.get() == from.get() || canonical(stored) == canonical(from)
}

/// The effect of a request on the value of its key. The same for all stores.
enum Effect {
    Nothing(KvReply),
    Set(Box<RawValue>, KvReply),
}

impl KvRequest<'_> {
    fn key(&self) -> &str {
        match self {
            Self::Read { key } | Self::Write { key, .. } | Self::Cas { key, .. } => key,
        }
    }

    fn effect(&self, stored: Option<&RawValue>, may_create: bool) -> Effect {
        match (self, stored) {
            (Self::Read { .. }, Some(value)) => {
                Effect::Nothing(KvReply::ReadOk { value: value.to_owned() })
            }
            (Self::Write { value, .. }, _) => Effect::Set((*value).to_owned(), KvReply::WriteOk),
            (Self::Cas { from, to, .. }, Some(value)) if equals(value, from) => {
                Effect::Set((*to).to_owned(), KvReply::CasOk)
            }
            (Self::Cas { from, .. }, Some(value)) => Effect::Nothing(mismatch(value, from)),
            (Self::Cas { to, create_if_not_exists: true, .. }, None) if may_create => {
                Effect::Set((*to).to_owned(), KvReply::CasOk)
            }
            (Self::Read { .. } | Self::Cas { .. }, None) => Effect::Nothing(missing()),
        }
    }
}

/// A plain map.
#[derive(Clone, Debug, Default)]
struct Kv(BTreeMap<String, Box<RawValue>>);

impl Kv {
    fn effect(&self, request: &KvRequest<'_>) -> Effect {
        request.effect(self.0.get(request.key()).map(AsRef::as_ref), true)
    }

    fn handle(&mut self, request: &KvRequest<'_>) -> KvReply {
        match self.effect(request) {
            Effect::Nothing(reply) => reply,
            Effect::Set(value, reply) => {
                self.0.insert(request.key().to_owned(), value);
                reply
            }
        }
    }

    /// Whether the key already has this value, so that the write changes nothing.
    fn has(&self, request: &KvRequest<'_>, value: &RawValue) -> bool {
        let stored = self.0.get(request.key());
        stored.is_some_and(|stored| stored.get() == value.get())
    }
}

/// The last states of a map, and the latest one that each caller has seen.
#[derive(Debug)]
struct Sequential {
    /// The newest is last. Never empty.
    states: VecDeque<Kv>,
    last: u64,
    seen: BTreeMap<NodeId, u64>,
}

impl Sequential {
    fn new() -> Self {
        Self { states: VecDeque::from([Kv::default()]), last: 0, seen: BTreeMap::new() }
    }

    fn handle(&mut self, src: &NodeId, request: &KvRequest<'_>, rng: &mut SimRng) -> KvReply {
        let oldest = self.last.saturating_sub(self.states.len() as u64 - 1);
        let seen = self.seen.get(src).copied().unwrap_or(0).max(oldest);
        let index = rng.random_range(seen..=self.last);
        let back = usize::try_from(self.last - index).unwrap_or(0);
        let state = self.states.iter().rev().nth(back);
        let Some(state) = state.or(self.states.back()) else {
            return missing();
        };
        match state.effect(request) {
            Effect::Nothing(reply) => {
                self.seen.insert(src.clone(), index);
                reply
            }
            Effect::Set(value, reply) if state.has(request, &value) => {
                self.seen.insert(src.clone(), index);
                reply
            }
            Effect::Set(..) => self.change(src, request),
        }
    }

    /// A request that changes something acts on the newest state and adds a newer one.
    fn change(&mut self, src: &NodeId, request: &KvRequest<'_>) -> KvReply {
        let mut state = self.states.back().cloned().unwrap_or_default();
        let reply = state.handle(request);
        self.states.push_back(state);
        if self.states.len() > SEQUENTIAL_STATES {
            self.states.pop_front();
        }
        self.last += 1;
        self.seen.insert(src.clone(), self.last);
        reply
    }
}

/// A replica in which the last write of a key wins.
#[derive(Clone, Debug, Default)]
struct Lww {
    clock: u64,
    values: BTreeMap<String, (u64, Box<RawValue>)>,
}

impl Lww {
    fn handle(&mut self, request: &KvRequest<'_>) -> KvReply {
        let key = request.key();
        let stored = self.values.get(key).map(|(_, value)| value.as_ref());
        match request.effect(stored, false) {
            Effect::Nothing(reply) => reply,
            Effect::Set(value, reply) => {
                self.values.insert(key.to_owned(), (self.clock, value));
                self.clock += 1;
                reply
            }
        }
    }

    /// Merges `source` into this replica: the later write of each key wins. If both have the same
    /// time, the source's value wins, as in Maelstrom.
    fn merge(&mut self, source: &Self) {
        self.clock = self.clock.max(source.clock);
        for (key, (time, value)) in &source.values {
            let later = self.values.get(key).is_none_or(|(own, _)| own <= time);
            if later {
                self.values.insert(key.clone(), (*time, value.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::rng::{Stream, stream};

    fn services() -> Services {
        Services::new(stream(1, Stream::Services))
    }

    fn ask(services: &mut Services, service: &str, src: &str, body: &str) -> String {
        let body = RawValue::from_string(body.into()).unwrap();
        let reply = services.handle(service, &src.into(), &body);
        let reply: Option<Value> = reply.ok().map(|raw| serde_json::from_str(raw.get()).unwrap());
        reply.map_or_else(String::new, |mut reply| {
            assert_eq!(reply["in_reply_to"].take(), 1);
            let field = ["value", "ts", "code"].into_iter().find_map(|name| reply.get(name));
            let field = field.map(|value| format!(" {value}")).unwrap_or_default();
            format!("{}{field}", reply["type"].as_str().unwrap())
        })
    }

    fn write(value: u32) -> String {
        format!(r#"{{"type":"write","msg_id":1,"key":"k","value":{value}}}"#)
    }

    const READ: &str = r#"{"type":"read","msg_id":1,"key":"k"}"#;

    fn cas(from: u32, to: u32, create: bool) -> String {
        format!(
            r#"{{"type":"cas","msg_id":1,"key":"k","from":{from},"to":{to},"create_if_not_exists":{create}}}"#
        )
    }

    #[test]
    fn lin_kv_reads_writes_and_swaps() {
        let mut services = services();
        let mut ask = |body: &str| ask(&mut services, "lin-kv", "n1", body);
        assert_eq!(ask(READ), "error 20");
        assert_eq!(ask(&cas(0, 1, false)), "error 20");
        assert_eq!(ask(&cas(0, 1, true)), "cas_ok");
        assert_eq!(ask(READ), "read_ok 1");
        assert_eq!(ask(&cas(0, 2, true)), "error 22");
        assert_eq!(ask(&write(7)), "write_ok");
        assert_eq!(ask(&cas(7, 8, false)), "cas_ok");
        assert_eq!(ask(READ), "read_ok 8");
        let other = r#"{"type":"read","msg_id":1,"key":{"b":1,"a":[2]}}"#;
        assert_eq!(
            ask(&other.replace("read", "write").replace("}}", "},\"value\":3}")),
            "write_ok"
        );
        assert_eq!(ask(r#"{"type":"read","msg_id":1,"key":{"a":[2],"b":1}}"#), "read_ok 3");
    }

    #[test]
    fn a_message_without_sense_gets_no_answer() {
        let mut services = services();
        for (body, why) in [
            (r#"{"type":"no","msg_id":1}"#, "knows no requests of type `no`"),
            (r#"{"type":null,"msg_id":1}"#, "has no `type`"),
            ("{}", "has no `type`"),
            ("[]", "is not an object"),
        ] {
            for service in Services::NAMES {
                let body = RawValue::from_string(body.into()).unwrap();
                let error = services.handle(service, &"n1".into(), &body).unwrap_err();
                assert!(error.to_string().contains(why), "{service} {body} {error}");
            }
        }
        for (service, kind) in [("lin-tso", "read"), ("lin-kv", "ts"), ("lww-kv", "ts")] {
            assert_eq!(ask(&mut services, service, "n1", &format!(r#"{{"type":"{kind}"}}"#)), "");
        }
    }

    /// The complete replies of `lin-kv` to these requests.
    fn conversation(requests: &[&str]) -> Vec<Value> {
        let mut services = services();
        let mut ask = |body: &&str| {
            let body = RawValue::from_string((*body).into()).unwrap();
            let reply = services.handle("lin-kv", &"n1".into(), &body).unwrap();
            serde_json::from_str(reply.get()).unwrap()
        };
        requests.iter().map(&mut ask).collect()
    }

    #[test]
    fn a_reply_carries_back_whatever_msg_id_came() {
        for (msg_id, back) in [
            (r#""msg_id":7,"#, json!(7)),
            (r#""msg_id":-7,"#, json!(-7)),
            (r#""msg_id":1.5,"#, json!(1.5)),
            (r#""msg_id":"6f1c-uuid","#, json!("6f1c-uuid")),
            (r#""msg_id":[1,{"a":2}],"#, json!([1, { "a": 2 }])),
            (r#""msg_id":null,"#, Value::Null),
            ("", Value::Null),
        ] {
            let reply =
                conversation(&[&format!(r#"{{{msg_id}"type":"write","key":1,"value":2}}"#)]);
            assert_eq!(reply, [json!({ "type": "write_ok", "in_reply_to": back })]);
        }
    }

    #[test]
    fn a_field_that_is_missing_is_null_and_a_flag_is_any_value_but_null_and_false() {
        let replies = conversation(&[
            r#"{"type":"cas","key":1,"to":5,"create_if_not_exists":true}"#,
            r#"{"type":"cas","key":1,"from":5}"#,
            r#"{"type":"read","key":1,"extra":9}"#,
            r#"{"type":"cas","key":1,"to":6}"#,
            r#"{"type":"write"}"#,
            r#"{"type":"read","key":null}"#,
            r#"{"type":"cas","key":2,"to":1,"create_if_not_exists":null}"#,
            r#"{"type":"cas","key":2,"to":1,"create_if_not_exists":false}"#,
            r#"{"type":"cas","key":2,"to":1,"create_if_not_exists":0}"#,
        ]);
        let told = replies.iter().map(|reply| match reply["type"].as_str().unwrap() {
            "error" => reply["code"].to_string(),
            "read_ok" => format!("read_ok {}", reply["value"]),
            other => other.to_owned(),
        });
        let told: Vec<String> = told.collect();
        assert_eq!(
            told,
            [
                "cas_ok",
                "cas_ok",
                "read_ok null",
                "cas_ok",
                "write_ok",
                "read_ok null",
                "20",
                "20",
                "cas_ok"
            ]
        );
    }

    #[test]
    fn keys_and_values_are_equal_if_their_json_is() {
        let replies = conversation(&[
            r#"{"type":"write","key":1,"value":1.0}"#,
            r#"{"type":"read","key":"1"}"#,
            r#"{"type":"read","key":1.0}"#,
            r#"{"type":"cas","key":1,"from":1,"to":2}"#,
            r#"{"type":"cas","key":1,"from":1.00,"to":18446744073709551617}"#,
            r#"{"type":"cas","key":1,"from":18446744073709551616,"to":3}"#,
            r#"{"type":"cas","key":1,"from":18446744073709551617,"to":3}"#,
        ]);
        let told: Vec<Value> = replies
            .iter()
            .map(|reply| reply.get("code").unwrap_or(&reply["type"]).clone())
            .collect();
        let expected = json!(["write_ok", 20, 20, 22, "cas_ok", 22, "cas_ok"]);
        assert_eq!(Value::from(told), expected);
    }

    #[test]
    fn lin_tso_counts_up_from_0() {
        let mut services = services();
        for n in 0..5 {
            let reply = ask(&mut services, "lin-tso", "n1", r#"{"type":"ts","msg_id":1}"#);
            assert_eq!(reply, format!("ts_ok {n}"));
        }
    }

    #[test]
    fn seq_kv_serves_stale_reads_but_nobody_sees_time_go_back() {
        let mut services = services();
        let (mut stale, mut last) = (false, BTreeMap::new());
        for value in 0..200 {
            assert_eq!(ask(&mut services, "seq-kv", "n1", &write(value)), "write_ok");
            // The writer sees its own writes.
            assert_eq!(ask(&mut services, "seq-kv", "n1", READ), format!("read_ok {value}"));
            for reader in ["n2", "n3"] {
                let reply = ask(&mut services, "seq-kv", reader, READ);
                let seen: i64 = match reply.strip_prefix("read_ok ") {
                    Some(text) => text.parse().unwrap(),
                    None => -1,
                };
                assert!(seen >= last.get(reader).copied().unwrap_or(-1));
                assert!(seen > i64::from(value) - 32);
                stale |= seen < i64::from(value);
                last.insert(reader, seen);
            }
        }
        assert!(stale);
    }

    #[test]
    fn seq_kv_swaps_only_the_newest_value() {
        let mut services = services();
        for value in 0..50 {
            ask(&mut services, "seq-kv", "n1", &write(value));
        }
        // Another caller may read any state, but never swaps an old value.
        for _ in 0..50 {
            assert_ne!(ask(&mut services, "seq-kv", "n2", &cas(20, 99, false)), "cas_ok");
        }
        ask(&mut services, "seq-kv", "n1", &cas(49, 50, false));
        assert_eq!(ask(&mut services, "seq-kv", "n1", READ), "read_ok 50");
    }

    #[test]
    fn lww_kv_diverges_and_comes_together_again() {
        let mut services = services();
        let mut seen = BTreeSet::new();
        for value in 0..50 {
            ask(&mut services, "lww-kv", "n1", &write(value));
            seen.insert(ask(&mut services, "lww-kv", "n1", READ) == format!("read_ok {value}"));
        }
        assert_eq!(seen.len(), 2, "it is sometimes stale and sometimes not");
        let reads: Vec<String> =
            (0..50).map(|_| ask(&mut services, "lww-kv", "n1", READ)).collect();
        assert!(reads[40..].iter().all(|read| *read == reads[49]));
    }
}
