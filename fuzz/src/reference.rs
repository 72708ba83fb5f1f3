//! A reference decoder: it reads a message with serde_json alone, field by field, without
//! shortcuts.
//!
//! The decoder of `maelstrom-core` must reach the same verdict and the same values. The two differ
//! on purpose in two places, which the targets leave out:
//!
//! * The depth of a value. serde_json accepts 127 nested brackets. The reference counts from the
//!   field of the body on, and the decoder counts from the body or from the line on. So a line with
//!   more than [`DEPTH_MAX`] nested brackets may get either verdict.
//! * The text of an error. Only its code is compared.

use std::fmt;
use std::str::FromStr;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The targets do not compare lines with more nested brackets than this.
pub const DEPTH_MAX: usize = 100;

/// The fields of an object in their order, including repeated ones.
#[derive(Debug)]
pub struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Fields {
    /// The values of a field.
    fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.get()).collect()
    }

    /// The value of a field that must be present exactly once.
    fn once<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let [value] = self.all(name)[..] else { return None };
        serde_json::from_str(value).ok()
    }

    /// The type of a body with these fields.
    #[must_use]
    pub fn kind(&self) -> Option<String> {
        self.once("type")
    }

    /// The value of a field that may be absent, and may be null.
    fn maybe(&self, name: &str) -> Option<Option<u64>> {
        if self.all(name).is_empty() { Some(None) } else { self.once(name) }
    }
}

/// The treatment of a line by the node `n1`, which has started and has made no calls.
#[derive(Debug, PartialEq)]
pub enum Verdict<P> {
    /// The line is no message: the node is silent.
    Skipped,
    /// The line is a reply without an open call: the node is silent.
    Reply,
    /// The line is an `init`. The reference does not cover it.
    Init,
    /// The node sends an error, unless the message has no id.
    Refused {
        /// The sender, and the id of its message.
        to: (String, Option<u64>),
        /// The error's code.
        code: u64,
    },
    /// The handler gets the message.
    Served {
        /// The sender, and the id of its message.
        from: (String, Option<u64>),
        /// The payload.
        payload: P,
    },
}

/// Judges a line.
pub fn judge<P: DeserializeOwned>(line: &[u8]) -> Verdict<P> {
    let Ok(text) = std::str::from_utf8(line) else { return Verdict::Skipped };
    let Ok(envelope) = serde_json::from_str::<Fields>(text) else { return Verdict::Skipped };
    let names = envelope.once::<String>("src").zip(envelope.once::<String>("dest"));
    let Some(((src, dest), body)) = names.zip(envelope.once::<Box<RawValue>>("body")) else {
        return Verdict::Skipped;
    };
    let refused = |msg_id, code| Verdict::Refused { to: (src.clone(), msg_id), code };
    let Ok(body) = serde_json::from_str::<Fields>(body.get()) else { return refused(None, 12) };
    let ids = body.maybe("msg_id").zip(body.maybe("in_reply_to"));
    let Some((kind, (msg_id, in_reply_to))) = body.once::<String>("type").zip(ids) else {
        // The sender gets an error if any field could be the id of its message.
        let last = body.all("msg_id").last().and_then(|text| u64::from_str(text).ok());
        return refused(last, 12);
    };
    if in_reply_to.is_some() {
        return Verdict::Reply;
    }
    if kind == "init" {
        return Verdict::Init;
    }
    if dest != "n1" {
        return refused(msg_id, 1);
    }
    match payload(&kind, &body) {
        Ok(payload) => Verdict::Served { from: (src, msg_id), payload },
        Err(code) => refused(msg_id, code),
    }
}

/// Decodes the payload of a body as an externally tagged enum, which is its type in Rust.
///
/// # Errors
///
/// 10 if the payload has no such type, 12 if a field is missing or wrong.
pub fn payload<P: DeserializeOwned>(kind: &str, body: &Fields) -> Result<P, u64> {
    let is_core = |key: &str| ["type", "msg_id", "in_reply_to"].contains(&key);
    let text = |text: &str| serde_json::to_string(text).unwrap();
    let fields = body.0.iter().filter(|(key, _)| !is_core(key));
    let fields: Vec<String> =
        fields.map(|(key, value)| format!("{}:{}", text(key), value.get())).collect();
    let kind = text(kind);
    let tagged = format!("{{{kind}:{{{}}}}}", fields.join(","));
    // A variant without fields has no content at all.
    let decoded = serde_json::from_str(&tagged).or_else(|error| {
        if error.to_string().contains("expected unit") {
            serde_json::from_str(&kind)
        } else {
            Err(error)
        }
    });
    decoded.map_err(|error| if error.to_string().starts_with("unknown variant") { 10 } else { 12 })
}

/// The maximum depth of brackets in a text. Brackets within strings count, too.
#[must_use]
pub fn depth(text: &[u8]) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}
