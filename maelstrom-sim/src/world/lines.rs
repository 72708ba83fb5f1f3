//! Messages as nodes read and print them: a line of JSON each.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::network::Message;

/// A line that a node printed, if it is a message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) src: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) dest: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) body: &'a RawValue,
    #[serde(rename = "id")]
    _id: Option<i64>,
}

impl<'a> Line<'a> {
    /// # Errors
    ///
    /// Why it is none.
    pub(super) fn read(line: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
        let line: Self =
            serde_json::from_str(text).map_err(|error| format!("not a message ({error})"))?;
        if !line.body.get().starts_with('{') {
            return Err("the body is not an object".into());
        }
        Ok(line)
    }
}

/// A message as a node gets it.
pub(super) fn node_line(message: &Message) -> Vec<u8> {
    let (id, src, dest) = (message.id, json!(message.src.as_ref()), json!(message.dest.as_ref()));
    let body = message.body.get();
    format!("{{\"id\":{id},\"src\":{src},\"dest\":{dest},\"body\":{body}}}\n").into_bytes()
}
