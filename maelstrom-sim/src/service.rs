//! The services that nodes may call: three key-value stores and a timestamp oracle.
//!
//! After `maelstrom.service`. Each service is as weak as its consistency model allows:
//!
//! * `lin-kv` is linearizable: it has one state, on which every operation acts.
//! * `seq-kv` is sequentially consistent, but see below. For each operation it draws a state that
//!   is not older than the caller has seen. An operation that changes nothing in that state acts on
//!   it. Every other operation acts on the newest state.
//! * `lww-kv` is eventually consistent. It has two replicas, and each operation acts on a random
//!   one. Before each operation, a random replica is merged into a random one: the later write
//!   wins, by a Lamport clock.
//! * `lin-tso` counts up from 0.
//!
//! `seq-kv` keeps only its last 32 states. If it draws state i and has dropped it, it shows the one
//! of the states i + 32, i + 64, … that it keeps, and notes that the caller has seen state i. So a
//! caller that has been away for more than 32 changes may see reads go back. Maelstrom does the
//! same.
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
        self.0.get(request.key()).is_some_and(|stored| equals(stored, value))
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
        let seen = self.seen.get(src).copied().unwrap_or(0);
        let index = rng.random_range(seen..=self.last);
        let back = (self.last - index) % self.states.len() as u64;
        let back = usize::try_from(back).unwrap_or(0);
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
mod tests;
