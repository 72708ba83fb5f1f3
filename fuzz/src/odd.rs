//! Odd JSON, and messages with damage in one place.

use crate::input::Input;

/// Values that a client could send. All of them are JSON.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "1.0",
    "1e400",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890.10",
    "null",
    "true",
    r#""""#,
    r#""x""#,
    r#""\u0078""#,
    r#""\ud800""#,
    r#""é\n\"""#,
    "[]",
    "{}",
    "[1, -2]",
    r#"{"a":1,"a":2}"#,
    r#"{"b":[{}],"a":null}"#,
    r#"[["n1",1,2]]"#,
    r#"[["r",1,null],["w",1,2]]"#,
    r#"{"k0":[[0,1]]}"#,
];

/// The names of fields and types that some node knows, and of some that no node knows.
const NAMES: &[&str] = &[
    "type",
    "msg_id",
    "in_reply_to",
    "echo",
    "generate",
    "broadcast",
    "message",
    "messages",
    "read",
    "topology",
    "add",
    "delta",
    "gossip",
    "life",
    "sent",
    "echo",
    "have",
    "view",
    "runs",
    "piece",
    "fetch",
    "rest",
    "hub",
    "lost",
    "place",
    "send",
    "key",
    "msg",
    "poll",
    "offsets",
    "commit_offsets",
    "list_committed_offsets",
    "keys",
    "packet",
    "incarnation",
    "number",
    "appends",
    "acks",
    "sends",
    "polls",
    "polled",
    "found",
    "to",
    "within",
    "txn",
    "init",
    "node_id",
    "node_ids",
    "error",
    "code",
    "text",
    "x",
];

/// Any value.
pub fn value(input: &mut Input<'_>) -> String {
    match input.below(8) {
        0 => {
            let items: Vec<String> = (0..input.below(4)).map(|_| value(input)).collect();
            format!("[{}]", items.join(","))
        }
        1 => {
            let depth = input.below(150);
            "[".repeat(depth) + "1" + &"]".repeat(depth)
        }
        _ => input.pick(VALUES).to_owned(),
    }
}

/// The fields of any body.
pub fn fields(input: &mut Input<'_>) -> String {
    let mut fields = format!(r#""type":"{}""#, input.pick(NAMES));
    for _ in 0..input.below(6) {
        fields += &format!(r#","{}":{}"#, input.pick(NAMES), value(input));
    }
    fields
}

/// The ranges of the numbers in a text.
fn numbers(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let (mut places, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_name = at > 0 && bytes[at - 1].is_ascii_alphabetic();
        if len > 0 && !is_name {
            places.push((at, at + len));
        }
        at += len.max(1);
    }
    places
}

/// The text with another value in place of one of its numbers. Unchanged if it has too few numbers.
#[must_use]
pub fn replaced(text: &str, place: usize, value: usize) -> String {
    match numbers(text).get(place) {
        Some((from, to)) => [&text[..*from], VALUES[value % VALUES.len()], &text[*to..]].concat(),
        None => text.to_owned(),
    }
}

/// The message with damage in one place: another value for a number, or some different bytes.
pub fn damaged(line: &str, input: &mut Input<'_>) -> Vec<u8> {
    let places = numbers(line);
    if input.one_in(4) || places.is_empty() {
        let mut bytes = line.as_bytes().to_vec();
        let at = (input.below(256) << 8 | input.below(256)) % bytes.len().max(1);
        for byte in bytes.iter_mut().skip(at).take(1 + input.below(4)) {
            *byte = input.byte();
        }
        return bytes;
    }
    let (from, to) = places[input.below(places.len())];
    let number: u64 = line[from..to].parse().unwrap_or(0);
    let new = match input.below(4) {
        0 => number.wrapping_add(1).to_string(),
        1 => number.saturating_sub(1).to_string(),
        _ => value(input),
    };
    [&line[..from], &new, &line[to..]].concat().into_bytes()
}
