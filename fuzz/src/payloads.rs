//! Target `payloads`: the first byte chooses a type that nodes read. The second byte chooses a
//! number in the text, if the text has enough of them, and the third byte chooses a replacement for
//! this number. The text after the third byte is a value of the type.
//!
//! * The types that nodes also write are stable: a value that is read, written and read again is
//!   the same value, and is written as the same text. (The first text may differ: spaces, unknown
//!   fields and fields with their default disappear.)
//! * The types that nodes only read are payloads of requests. Nodes read them as the
//!   [reference](mod@crate::reference) does.

use std::fmt::Debug;

use maelstrom_core::{body, gossip};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::odd;
use crate::reference::{self, Fields};

/// Reads, writes and reads again.
fn stable<T: DeserializeOwned + Serialize + Debug>(text: &str) {
    let Ok(first) = serde_json::from_str::<T>(text) else { return };
    let written = serde_json::to_string(&first).unwrap();
    let second: T = serde_json::from_str(&written).unwrap_or_else(|error| {
        panic!("{error}: {text} is written as {written}, which is not read");
    });
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "{text} is written as {written}");
    assert_eq!(written, serde_json::to_string(&second).unwrap(), "{text} is not stable");
}

/// Reads a request's body.
fn request<P: DeserializeOwned + Debug>(text: &str) {
    let Ok(raw) = serde_json::from_str::<Box<RawValue>>(text) else { return };
    let Ok(fields) = serde_json::from_str::<Fields>(text) else { return };
    let Some(kind) = fields.kind() else { return };
    let decoded = body::decode::<P>(&kind, &raw).map_err(|error| match error {
        body::DecodeError::UnknownType(_) => 10,
        body::DecodeError::Malformed(_) => 12,
    });
    if reference::depth(text.as_bytes()) <= reference::DEPTH_MAX {
        let expected = reference::payload::<P>(&kind, &fields);
        assert_eq!(format!("{decoded:?}"), format!("{expected:?}"), "{text}");
    }
}

/// All types.
const TYPES: &[fn(&str)] = &[
    request::<echo::Payload>,
    request::<unique_ids::Payload>,
    request::<broadcast::Payload>,
    request::<g_counter::Payload>,
    request::<kafka_log::Payload>,
    request::<txn_rw::Payload<txn_rw::Registers>>,
    stable::<gossip::Message<broadcast::Values>>,
    stable::<gossip::Message<g_counter::Counter>>,
    stable::<gossip::Message<kafka_log::Committed>>,
    stable::<gossip::Message<txn_rw::Registers>>,
    stable::<kafka_log::Packet>,
    stable::<kafka_log::Record>,
    stable::<kafka_log::Metadata>,
    stable::<txn_rw::Transaction>,
    stable::<txn_rw::Key>,
    stable::<gossip::VersionVector>,
    stable::<maelstrom_core::Error>,
];

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    let [which, place, value, text @ ..] = bytes else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let text = odd::replaced(text, usize::from(*place), usize::from(*value));
    TYPES[usize::from(*which) % TYPES.len()](&text);
}
