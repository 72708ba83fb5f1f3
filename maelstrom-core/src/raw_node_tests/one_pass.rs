//! Decoding in one pass is a shortcut: the node's outputs are the same as step by step.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::*;

/// A handler that reports its inputs.
#[derive(Debug)]
struct Teller;

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "shown by `Debug`")]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Told {
    Unit,
    Raw {
        a: Box<RawValue>,
        b: Option<Box<RawValue>>,
    },
    Typed {
        a: u64,
        #[serde(default)]
        b: Vec<i8>,
    },
    Deep {
        a: Value,
    },
    Whole(Inner),
    Any(BTreeMap<String, Value>),
    Flat {
        a: f64,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    },
    #[serde(rename = "init")]
    NeverSeen {},
    Error {
        code: Option<u64>,
    },
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "shown by `Debug`")]
struct Inner {
    a: String,
    b: Option<u8>,
    d: Option<i128>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Told { payload: String },
}

impl MessageHandler for Teller {
    type Payload = Told;
    type Event = RpcResult;

    fn message(
        &mut self,
        node: &mut Node<RpcResult>,
        request: &Request,
        payload: Told,
    ) -> Result<(), Error> {
        let payload = format!("{request:?} {payload:?}");
        node.send(&"log".into(), &Answer::Told { payload: payload.clone() });
        node.reply(request, &Answer::Told { payload });
        Ok(())
    }

    /// Reports the outcome of a call.
    fn event(&mut self, node: &mut Node<RpcResult>, event: RpcResult) {
        let payload = format!("{:?}", event.map(|reply| reply.kind().to_owned()));
        node.send(&"log".into(), &Answer::Told { payload });
    }

    fn started(&mut self, node: &mut Node<RpcResult>) {
        for name in ["c1", "n2"] {
            node.rpc(&name.into(), &Said::Ping, Duration::MAX, |result| result);
        }
    }
}

/// The outputs of a node for these lines, and its number of unanswered requests.
fn said(lines: &[Vec<u8>], step_by_step: bool) -> (Vec<Output>, usize) {
    let mut node = RawNode::numbered_from_1(Teller, false);
    node.step_by_step = step_by_step;
    for line in lines {
        node.handle_line(Clock::default(), line);
    }
    (std::iter::from_fn(|| node.poll_output()).collect(), node.unanswered())
}

const INIT: &str = r#"{"src":"c0","dest":"n1",
    "body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}}"#;

/// Values as text. Some of them are not JSON.
const VALUES: &[&str] = &[
    "1",
    "2",
    "-1",
    "1.0",
    "1e400",
    "18446744073709551615",
    "18446744073709551616",
    "null",
    "true",
    "[1,-2]",
    "[ 1 , 300 ]",
    r#""x""#,
    r#""\u0078""#,
    r#""\ud800""#,
    r#"{"b":1}"#,
    "[",
    "nul",
    "",
    "{}",
    r#"{"a":1,"a":2}"#,
    "0123",
    "{\"a\": \t7 }",
    r#""n1""#,
    r#""c1""#,
];

/// The text of a value. Most of them fit some field.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        40 => select(VALUES).prop_map(str::to_owned),
        1 => (115_usize..135).prop_map(|depth| "[".repeat(depth) + &"]".repeat(depth)),
        1 => Just(format!("[{}]", vec!["[]"; 110].join(","))),
        2 => crate::any_json::any_json().prop_map(|json| json.to_string()),
    ]
}

fn key() -> impl Strategy<Value = &'static str> {
    select(&["a", "b", "type", "msg_id", "in_reply_to", "src", "dest", "body", "id", "\\u0061"][..])
}

/// A change that makes a plain object odd.
#[derive(Clone, Debug)]
enum Oddity {
    Insert(Index, &'static str, String),
    Repeat(Index, Index),
    Remove(Index),
    Replace(Index, String),
    Escape(Index),
    Space(Index),
}

fn oddity() -> impl Strategy<Value = Oddity> {
    let at = any::<Index>;
    prop_oneof![
        (at(), key(), value()).prop_map(|(at, key, value)| Oddity::Insert(at, key, value)),
        (at(), at()).prop_map(|(from, to)| Oddity::Repeat(from, to)),
        at().prop_map(Oddity::Remove),
        (at(), value()).prop_map(|(at, value)| Oddity::Replace(at, value)),
        at().prop_map(Oddity::Escape),
        at().prop_map(Oddity::Space),
    ]
}

type Entries = Vec<(String, String)>;

fn make_odd(entries: &mut Entries, oddity: &Oddity) {
    if entries.is_empty() {
        return;
    }
    let len = entries.len();
    match oddity {
        Oddity::Insert(at, key, value) => {
            entries.insert(at.index(len + 1), ((*key).to_owned(), value.clone()));
        }
        Oddity::Repeat(from, to) => {
            let entry = entries[from.index(len)].clone();
            entries.insert(to.index(len + 1), entry);
        }
        Oddity::Remove(at) => drop(entries.remove(at.index(len))),
        Oddity::Replace(at, value) => entries[at.index(len)].1.clone_from(value),
        Oddity::Escape(at) => {
            let key = &mut entries[at.index(len)].0;
            if let Some(first) = key.chars().next().filter(char::is_ascii_alphabetic) {
                *key = format!("\\u00{:02x}{}", u32::from(first), &key[1..]);
            }
        }
        Oddity::Space(at) => {
            let value = &mut entries[at.index(len)].1;
            *value = format!(" {value}\t");
        }
    }
}

/// An object with these entries in any order, and with few oddities.
fn object(entries: Entries) -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(oddity(), 1..3),
    ];
    (Just(entries).prop_shuffle(), odd).prop_map(|(mut entries, odd)| {
        odd.iter().for_each(|oddity| make_odd(&mut entries, oddity));
        let entries = entries.iter().map(|(key, value)| format!("\"{key}\":{value}"));
        format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
    })
}

fn entry(key: &str, value: impl Into<String>) -> (String, String) {
    (key.to_owned(), value.into())
}

fn body() -> impl Strategy<Value = String> {
    let kinds = select(&[
        ("unit", "", ""),
        ("raw", "{\"n\" : 1e400}", "[1, 2]"),
        ("typed", "7", "[1,2]"),
        ("deep", "[[1],{\"x\":2}]", ""),
        ("whole", "\"x\"", "8"),
        ("any", "1", "null"),
        ("flat", "1.5", "[]"),
        ("init", "", ""),
        ("error", "1", ""),
        ("nope", "1", "2"),
        ("r\\u0061w", "1", "2"),
    ]);
    let ids = (prop::option::weighted(0.8, 1_u64..4), prop::option::weighted(0.1, 1_u64..4));
    (kinds, ids).prop_flat_map(|((kind, a, b), (msg_id, in_reply_to))| {
        let mut entries = vec![entry("type", format!("\"{kind}\""))];
        for (key, value) in [("a", a), ("b", b)] {
            if !value.is_empty() {
                entries.push(entry(key, value));
            }
        }
        for (key, id) in [("msg_id", msg_id), ("in_reply_to", in_reply_to)] {
            entries.extend(id.map(|id| entry(key, id.to_string())));
        }
        object(entries)
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let names = (select(&["c1", "n2", "c\\u0031", ""][..]), select(&["n1", "n1", "n1", "n2"][..]));
    let message = (names, body()).prop_flat_map(|((src, dest), body)| {
        let (src, dest) = (format!("\"{src}\""), format!("\"{dest}\""));
        object(vec![entry("src", src), entry("dest", dest), entry("body", body), entry("id", "3")])
    });
    let damage = prop::option::weighted(0.1, (any::<Index>(), any::<u8>()));
    let tail =
        prop_oneof![8 => Just(""), 1 => select(&[" \n", "\r", "x", "{}", ",", "\u{a0}"][..])];
    (message, damage, tail).prop_map(|(message, damage, tail)| {
        let mut line = (message + tail).into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(line.len());
            line[at] = byte;
        }
        line
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn in_one_pass_or_step_by_step_a_node_says_the_same(
        mut lines in prop::collection::vec(line(), 1..6),
        started in prop::bool::weighted(0.9),
    ) {
        if started {
            lines.insert(0, INIT.as_bytes().to_vec());
        }
        let (quick, slow) = (said(&lines, false), said(&lines, true));
        let text = |line: &Vec<u8>| String::from_utf8_lossy(line).into_owned();
        prop_assert_eq!(quick, slow, "{:#?}", lines.iter().map(text).collect::<Vec<_>>());
    }
}

/// True if the line is decoded in one pass.
fn is_plain(line: &str) -> bool {
    body::line::decode::<Told>(line).is_some()
}

#[test]
fn plain_requests_take_the_shortcut_whatever_the_order_of_their_fields() {
    for line in [
        r#"{"id":1,"src":"c1","dest":"n1","body":{"type":"typed","msg_id":1,"a":7,"b":[1]}}"#,
        r#"{"body":{"b":[1],"a":7,"msg_id":1,"type":"typed"},"dest":"n1","src":"c1"}"#,
        r#"{"src":"c1","dest":"n1","body":{"a":{"x":[]},"type":"raw","msg_id":null}} "#,
        r#"{"src":"c1","dest":"n1","body":{"type":"unit"}}"#,
        r#"{"src":"c1","dest":"n1","body":{"a":"x","type":"whole","msg_id":1,"c":1}}"#,
        r#"{"src":"c1","dest":"n1","body":{"\u0061":1,"type":"any"}}"#,
        r#"{"src":"c1","dest":"n1","body":{"type":"any","\u0061":1}}"#,
    ] {
        assert_eq!(is_plain(line), !line.contains("{\"\\u"), "{line}");
    }
}

/// Of a number of 128 bits, serde_json leaves the fraction to the caller.
#[test]
fn a_fraction_is_no_integer_whatever_its_size_and_place() {
    for number in ["1.0", "1.5", "1e3", "-0.1"] {
        let d = format!(r#""d":{number}"#);
        for body in [format!(r#"{d},"type":"whole""#), format!(r#""type":"whole",{d}"#)] {
            let body = format!(r#"{{"a":"x","msg_id":1,{body}}}"#);
            let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
            assert!(!is_plain(&line), "{line}");
            let lines = [INIT.as_bytes().to_vec(), line.into_bytes()];
            let said = said(&lines, false);
            assert!(format!("{said:?}").contains("12"), "{said:?}");
        }
    }
}

#[test]
fn a_field_before_the_type_that_could_hide_its_depth_is_read_step_by_step() {
    for (brackets, plain) in [(100, true), (101, false)] {
        let value = format!("[{}]", vec!["[]"; brackets - 1].join(","));
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{{"a":{value},"type":"deep"}}}}"#);
        assert_eq!(is_plain(&line), plain);
    }
}
