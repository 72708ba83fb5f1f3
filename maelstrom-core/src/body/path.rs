//! The path to the field that serde_json refused, such as `topology.n1[1]`.
//!
//! serde_json tells the position at which it stopped. The path follows from it, so no second pass
//! through the types of a payload is needed. An error of a type's own, such as one of
//! `#[serde(try_from)]`, comes up only after serde_json has read on. So inside a list, or in the last
//! field of an object, the path then ends at the list or the object.

use std::borrow::Cow;

/// serde_json enters no more objects and lists inside each other than this. It skips deeper ones if
/// no field asks for them.
const DEPTH_MAX: usize = 128;

/// An object or a list that contains the position.
struct Open<'a> {
    /// The present key, with its quotes. `None` in a list.
    key: Option<&'a str>,
    /// The present place in a list.
    index: usize,
    is_list: bool,
    /// True if the present value has begun.
    has_value: bool,
}

/// The path to the value at the position of an error in this JSON. Empty for the outermost value.
pub(super) fn path(json: &str, error: &serde_json::Error) -> String {
    let line = error.line().saturating_sub(1);
    let start: usize = json.split_inclusive('\n').take(line).map(str::len).sum();
    let mut end = start.saturating_add(error.column()).min(json.len());
    while !json.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let read = json.get(..end).unwrap_or_default().trim_end();
    let mut open = opened(read);
    // The only values that serde_json refuses before it reads them.
    let text = error.to_string();
    let is_ahead = ["invalid type: map", "invalid type: sequence"];
    if let Some(last) =
        open.last_mut().filter(|_| is_ahead.iter().any(|kind| text.starts_with(kind)))
    {
        last.has_value = true;
    }
    let mut path = String::new();
    for value in open.iter().filter(|value| value.has_value) {
        if value.is_list {
            path.push_str(&format!("[{}]", value.index));
            continue;
        }
        let quoted = value.key.unwrap_or_default();
        let key = serde_json::from_str(quoted).map_or(Cow::Borrowed(quoted), Cow::<str>::Owned);
        path.push_str(if path.is_empty() { "" } else { "." });
        path.push_str(&key);
    }
    path
}

/// The objects and lists that are open at the end of this part of a JSON text.
fn opened(read: &str) -> Vec<Open<'_>> {
    let mut open: Vec<Open<'_>> = Vec::new();
    // The objects and lists that are open beyond the maximum depth: only their number is of use.
    let mut deeper = 0_usize;
    let mut rest = read;
    while let Some(first) = rest.bytes().next() {
        let (token, after) = rest.split_at_checked(token_len(rest)).unwrap_or((rest, ""));
        rest = after;
        let opens = matches!(first, b'{' | b'[');
        let closes = matches!(first, b'}' | b']');
        if deeper > 0 || (opens && open.len() >= DEPTH_MAX) {
            deeper = deeper.saturating_add(usize::from(opens)).saturating_sub(usize::from(closes));
            continue;
        }
        match (first, open.last_mut()) {
            (b' ' | b'\t' | b'\r' | b'\n' | b':', _) => continue,
            (b'}' | b']', _) => {
                open.pop();
                continue;
            }
            (b',', Some(last)) => {
                (last.key, last.has_value) = (None, false);
                last.index = last.index.saturating_add(1);
            }
            (b'"', Some(last)) if !last.is_list && last.key.is_none() => last.key = Some(token),
            (_, Some(last)) => last.has_value = true,
            (_, None) => {}
        }
        if opens {
            open.push(Open { key: None, index: 0, is_list: first == b'[', has_value: false });
        }
    }
    open
}

/// The length in bytes of the first token of a JSON text: a string, or else a single character.
fn token_len(text: &str) -> usize {
    let mut chars = text.char_indices();
    let Some((_, '"')) = chars.next() else { return text.chars().next().map_or(0, char::len_utf8) };
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            '"' => return at.saturating_add(1),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only errors matter")]
    struct Fields {
        number: Option<u8>,
        text: Option<String>,
        list: Option<Vec<Vec<u8>>>,
        map: Option<BTreeMap<String, Inner>>,
        pair: Option<(u8, u8)>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only errors matter")]
    struct Inner {
        need: u8,
    }

    #[test]
    fn an_error_has_the_path_to_its_value() {
        for (json, expected) in [
            (r#"{"number":"x"}"#, "number"),
            (r#"{"text":"a", "number": 256 , "list":[]}"#, "number"),
            (r#"{"number":{}}"#, "number"),
            (r#"{"number": [1]}"#, "number"),
            (r#"{"text":true}"#, "text"),
            (r#"{"list":[[1],[2,3],[4,"5"]]}"#, "list[2][1]"),
            (r#"{"list":[[1],[2,-3],[4]]}"#, "list[1][1]"),
            (r#"{"list":[[1],7]}"#, "list[1]"),
            (r#"{"list":[[1],{}]}"#, "list[1]"),
            (r#"{"list":[[[1]]]}"#, "list[0][0]"),
            (r#"{"list":[[],[{}]]}"#, "list[1][0]"),
            (r#"{"text":"}],{[\"","map":{"a":{"need":1},"b":{"need":null}}}"#, "map.b.need"),
            (r#"{"map":{"k\u0061\"y":{"need":[]}}}"#, "map.ka\"y.need"),
            ("{\"map\":{\n\"é\":\n{\"need\":\n-1}}}", "map.é.need"),
            // A field is missing: the object's end.
            (r#"{"map":{"a":{}}}"#, "map.a"),
            (r#"{"map":{"a":{"more":[{}]},"b":{"need":1}}}"#, "map.a"),
            (r#"{"pair":[1]}"#, "pair"),
            (r#"{"pair":[1,2,3]}"#, "pair[2]"),
            (r#"{"pair":[1,[]]}"#, "pair[1]"),
            (r#"{"text":"a","more":1}"#, ""),
            (r#"[[1]]"#, "[0]"),
            // The position is inside a character: serde_json reads a byte too many.
            (r#"{"text":"\ud800é","number":1}"#, "text"),
        ] {
            let error = serde_json::from_str::<Fields>(json).unwrap_err();
            assert_eq!(path(json, &error), expected, "{json}: {error}");
        }
    }

    #[test]
    fn deep_nesting_that_no_field_asks_for_takes_little_memory_and_hides_no_path() {
        #[derive(Debug, Deserialize)]
        #[expect(dead_code, reason = "only errors matter")]
        struct Lenient {
            number: u8,
        }
        for depth in [DEPTH_MAX - 2, DEPTH_MAX, 100_000] {
            let (start, end) = (r#"{"a":["#.repeat(depth / 2), "]}".repeat(depth / 2));
            let json = format!(r#"{{"more":{start}{end},"list":[{{}}],"number":"x"}}"#);
            let error = serde_json::from_str::<Lenient>(&json).unwrap_err();
            assert_eq!(path(&json, &error), "number", "{depth} levels");
            assert!(opened(&json[..json.len() / 2]).len() <= DEPTH_MAX);
        }
    }

    #[test]
    fn an_object_of_the_wrong_type_has_no_path() {
        let error = serde_json::from_str::<Vec<u8>>(r#"{"a":1}"#).unwrap_err();
        assert_eq!(path(r#"{"a":1}"#, &error), "");
    }

    proptest! {
        #[test]
        fn no_text_and_no_position_is_too_odd(json in r#"[\[\]{}:,"\\ a1é\n]{0,40}"#) {
            // The position is that of the first error, so it may be anywhere.
            if let Err(error) = serde_json::from_str::<Value>(&json) {
                path(&json, &error);
            }
            if let Err(error) = serde_json::from_str::<Fields>(&json) {
                prop_assert!(path(&json, &error).len() <= 200);
            }
        }
    }
}
