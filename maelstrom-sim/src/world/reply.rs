//! Interprets a reply: the outcome of the operation that sent the request.
//!
//! After `maelstrom.client`'s `with-errors`, and its schemas, which allow no fields but those that
//! they name.

use maelstrom_core::{Error, ErrorCode};
use serde_json::value::RawValue;

use super::calls::Outcome;
use crate::excerpt::{excerpt, long_excerpt};
use crate::history::{MALFORMED, OpType};
use crate::json::{Fields, is_integer};
use crate::workload::Workload;

/// The outcome of an operation. Unknown by default.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) kind: OpType,
    /// The result. `None`: the result is the argument.
    pub(super) value: Option<Box<RawValue>>,
    pub(super) error: Option<String>,
    /// Whether the node said that the operation certainly did not happen.
    pub(super) is_definite: bool,
}

impl Default for Ending {
    fn default() -> Self {
        Self { kind: OpType::Info, value: None, error: None, is_definite: false }
    }
}

/// The outcome of a request of the operation `f`.
pub(super) fn ending(workload: &dyn Workload, f: &str, request: &str, outcome: &Outcome) -> Ending {
    let body = match outcome {
        Outcome::Timeout => return failed(workload, f, false, "net-timeout".into()),
        Outcome::Reply(body) => body,
    };
    if let Some(error) = error_in(body) {
        let ending = failed(workload, f, error.is_definite(), error.to_string());
        return Ending { is_definite: error.is_definite(), ..ending };
    }
    match result(workload, request, body) {
        Ok(value) => Ending { kind: OpType::Ok, value, ..Ending::default() },
        // Maelstrom makes no exception for idempotent operations here.
        Err(text) => Ending { error: Some(text), ..Ending::default() },
    }
}

fn failed(workload: &dyn Workload, f: &str, definite: bool, error: String) -> Ending {
    let fail = (definite && workload.definite_errors_fail()) || workload.is_idempotent(f);
    let kind = if fail { OpType::Fail } else { OpType::Info };
    Ending { kind, error: Some(error), ..Ending::default() }
}

/// The error in a body of type `error`. Without a valid code, the error counts as indefinite.
pub(super) fn error_in(body: &RawValue) -> Option<Error> {
    let fields = Fields::of(body).ok()?;
    if fields.string("type")? != "error" {
        return None;
    }
    let code = fields.get("code").and_then(|raw| serde_json::from_str(raw.get()).ok());
    let text = fields.string("text").unwrap_or_default();
    Some(Error::new(code.map_or(ErrorCode::Crash, ErrorCode::from_code), long_excerpt(&text)))
}

/// The result in a reply to `request`, or the reason why the reply is malformed.
fn result(
    workload: &dyn Workload,
    request: &str,
    body: &RawValue,
) -> Result<Option<Box<RawValue>>, String> {
    let malformed = |what: String| format!("{MALFORMED}{what}: {}", excerpt(body.get()));
    let fields = Fields::of(body).map_err(|error| malformed(excerpt(&error.to_string())))?;
    let expected = format!("{request}_ok");
    if fields.string("type").as_deref() != Some(expected.as_str()) {
        return Err(malformed(format!("its type is not `{expected}`")));
    }
    if fields.get("msg_id").is_some_and(|id| !is_integer(id)) {
        return Err(malformed("`msg_id` is not an integer (a reply needs none)".into()));
    }
    let rpc = workload.rpcs().iter().find(|rpc| rpc.name == request);
    let wanted = rpc.map(|rpc| rpc.reply).unwrap_or_default();
    if let Some(missing) = wanted.iter().find(|field| fields.get(field.name).is_none()) {
        return Err(malformed(format!("`{}` is missing", missing.name)));
    }
    let known = |name: &str| {
        ["type", "msg_id", "in_reply_to"].contains(&name)
            || wanted.iter().any(|field| field.name == name)
    };
    if let Some(extra) = fields.names().find(|name| !known(name)) {
        return Err(malformed(format!("`{}` has no place in it", excerpt(extra))));
    }
    let mut result = None;
    for field in wanted {
        if let Some(value) = fields.get(field.name) {
            let read = (field.schema.read)(value);
            let value = read.map_err(|what| malformed(format!("`{}` {what}", field.name)))?;
            result.get_or_insert(value);
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Broadcast;

    fn read(body: &str) -> (OpType, String) {
        let body = RawValue::from_string(body.into()).unwrap();
        let ending = ending(&Broadcast::default(), "read", "read", &Outcome::Reply(body));
        (ending.kind, ending.error.or(ending.value.map(|v| v.get().to_owned())).unwrap_or_default())
    }

    #[test]
    fn a_reply_has_its_type_all_its_fields_and_no_others() {
        let good = r#"{"type":"read_ok","in_reply_to":1,"msg_id":2,"messages":[1,2]}"#;
        assert_eq!(read(good), (OpType::Ok, "[1,2]".into()));
        for (bad, why) in [
            (r#"{"type":"read_ok","in_reply_to":1}"#, "`messages` is missing"),
            (r#"{"type":"ok","messages":[]}"#, "its type is not `read_ok`"),
            (r#"{"messages":[]}"#, "its type is not `read_ok`"),
            (r#"{"type":"read_ok","messages":{}}"#, "`messages` is not a list"),
            (r#"{"type":"read_ok","messages":[],"more":1}"#, "`more` has no place in it"),
            (r#"{"type":"read_ok","msg_id":null,"messages":[]}"#, "`msg_id` is not an integer"),
            (r#"{"type":"read_ok","msg_id":"7","messages":[]}"#, "`msg_id` is not an integer"),
            (r#"{"type":"read_ok","msg_id":1.5,"messages":[]}"#, "`msg_id` is not an integer"),
        ] {
            let (kind, error) = read(bad);
            assert_eq!(kind, OpType::Info, "{bad}");
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_history_keeps_the_beginning_of_a_long_text() {
        let long = "x".repeat(1_000_000);
        for body in [
            format!(r#"{{"type":"read_ok","messages":[],"{long}":1}}"#),
            format!(r#"{{"type":"{long}"}}"#),
            format!(r#"{{"type":"error","code":11,"text":"{long}"}}"#),
        ] {
            let (kind, error) = read(&body);
            assert_ne!(kind, OpType::Ok);
            assert!(error.contains("xxx…") && error.len() < 11_000, "{} bytes", error.len());
        }
    }

    #[test]
    fn an_error_is_as_definite_as_its_code_and_a_read_is_idempotent_anyway() {
        let (kind, text) = read(r#"{"type":"error","code":13}"#);
        assert_eq!((kind, text.as_str()), (OpType::Fail, "crash (13): "));
        let body = |text: &str| RawValue::from_string(text.into()).unwrap();
        assert!(error_in(&body(r#"{"type":"error","code":11}"#)).unwrap().is_definite());
        assert!(!error_in(&body(r#"{"type":"error"}"#)).unwrap().is_definite());
        assert!(!error_in(&body(r#"{"type":"error","code":"x"}"#)).unwrap().is_definite());
        assert_eq!(error_in(&body(r#"{"type":"read_ok"}"#)), None);
    }
}
