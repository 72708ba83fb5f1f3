//! Clients for the services that Maelstrom runs beside the nodes: three key-value stores and a
//! timestamp oracle.
//!
//! | service | consistency |
//! |---|---|
//! | `lin-kv` | linearizable |
//! | `seq-kv` | sequential: a read may be stale, a client never sees time go back |
//! | `lww-kv` | eventual, the last write wins |
//! | `lin-tso` | rising integers, linearizable |
//!
//! Each call takes a function that turns the outcome into an event of the handler, as
//! [`Node::rpc`] does. Keys and values are anything that serde can turn into JSON.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;
use crate::message::NodeId;
use crate::node::Node;
use crate::rpc::{Reply, RpcError, RpcResult};

/// A client of one of the key-value stores.
#[derive(Clone, Debug)]
pub struct KvClient {
    service: NodeId,
    timeout: Duration,
}

/// What came of a compare-and-set that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cas {
    /// The value was the expected one, and has been replaced.
    Swapped,
    /// The value is another one (error 22). Nothing happened.
    Mismatch,
    /// The key does not exist (error 20). Nothing happened.
    Missing,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum KvRequest<K, V> {
    Read {
        key: K,
    },
    Write {
        key: K,
        value: V,
    },
    Cas {
        key: K,
        from: V,
        to: V,
        create_if_not_exists: bool,
    },
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
    /// A client of the service `service`, whose calls end after `timeout` at the latest. Choose it
    /// well below the 5 s after which Maelstrom's clients give up.
    pub fn new(service: impl Into<NodeId>, timeout: Duration) -> Self {
        Self {
            service: service.into(),
            timeout,
        }
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
        let request: KvRequest<_, ()> = KvRequest::Read { key };
        self.call(node, &request, |result| {
            then(match result.and_then(|reply| decode(&reply)) {
                Ok(KvReply::ReadOk { value }) => Ok(Some(value)),
                Ok(_) => Err(mixed_up()),
                Err(error) if error.code() == Some(ErrorCode::KeyDoesNotExist) => Ok(None),
                Err(error) => Err(error),
            })
        });
    }

    /// Sets `key` to `value`, whatever it was.
    pub fn write<E>(
        &self,
        node: &mut Node<E>,
        key: impl Serialize,
        value: impl Serialize,
        then: impl FnOnce(Result<(), RpcError>) -> E + Send + 'static,
    ) {
        self.call(node, &KvRequest::Write { key, value }, |result| {
            then(match result.and_then(|reply| decode::<()>(&reply)) {
                Ok(KvReply::WriteOk) => Ok(()),
                Ok(_) => Err(mixed_up()),
                Err(error) => Err(error),
            })
        });
    }

    /// Sets `key` to `to` if it is `from`, or, with `create_if_not_exists`, if it does not exist.
    pub fn cas<E, V: Serialize>(
        &self,
        node: &mut Node<E>,
        key: impl Serialize,
        from: V,
        to: V,
        create_if_not_exists: bool,
        then: impl FnOnce(Result<Cas, RpcError>) -> E + Send + 'static,
    ) {
        let request = KvRequest::Cas {
            key,
            from,
            to,
            create_if_not_exists,
        };
        self.call(node, &request, |result| {
            then(match result.and_then(|reply| decode::<()>(&reply)) {
                Ok(KvReply::CasOk) => Ok(Cas::Swapped),
                Ok(_) => Err(mixed_up()),
                Err(error) => match error.code() {
                    Some(ErrorCode::PreconditionFailed) => Ok(Cas::Mismatch),
                    Some(ErrorCode::KeyDoesNotExist) => Ok(Cas::Missing),
                    _ => Err(error),
                },
            })
        });
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
#[derive(Clone, Debug)]
pub struct TsoClient {
    service: NodeId,
    timeout: Duration,
}

impl TsoClient {
    /// A client whose calls end after `timeout` at the latest.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self {
            service: "lin-tso".into(),
            timeout,
        }
    }

    /// Asks for a timestamp: larger than every one given before the call.
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
            then(
                result
                    .and_then(|reply| reply.decode())
                    .map(|TsoReply::TsOk { ts }| ts),
            )
        });
    }
}

fn decode<V: DeserializeOwned>(reply: &Reply) -> Result<KvReply<V>, RpcError> {
    reply.decode()
}

fn mixed_up() -> RpcError {
    RpcError::Malformed("the reply belongs to another kind of request".into())
}
