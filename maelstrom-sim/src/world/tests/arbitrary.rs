//! Nodes that reply anything: no client and no checker may panic, whatever the history contains.

use proptest::prelude::*;

use super::*;
use std::sync::Arc;

use crate::nemesis::Fault;
use crate::results::Results;
use crate::workload::{Entry, Workload, built_in};

/// Difficult values: huge, tiny, of the wrong type, null, long, deep, or nearly correct.
fn values() -> Vec<String> {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(400), close.repeat(400));
    let (max, min) = (i64::MAX, i64::MIN);
    let plain = [
        "null",
        "true",
        "0",
        "1",
        "-1",
        "-0",
        "3",
        "0.5",
        "-0.0",
        "1e308",
        "1e999",
        "5e-324",
        "9007199254740993.0",
        "1000000000000000000000000000000",
        "-170141183460469231731687303715884105728",
        r#""""#,
        r#""x""#,
        r#""\ud800""#,
        r#""1""#,
        "[]",
        "{}",
        "[null]",
        "[[]]",
        "[0,0]",
        "[1,\"1\",1.0]",
        r#"{"0":null}"#,
        r#"{"0":[]}"#,
        r#"{"0":[[0,0]]}"#,
        r#"{"0":[[1,7],[0,7]]}"#,
        r#"{"x":[[-5,null]]}"#,
        r#"{"0":[[0]]}"#,
        r#"{"0":3}"#,
        r#"{"0":-3,"1":9}"#,
        r#"[["r",0,null]]"#,
        r#"[["w",0,1]]"#,
        r#"[["r",0,1],["w",0,1],["r",0,[]]]"#,
        r#"[["r",{"a":1},1e999]]"#,
        r#"[["x",0,0]]"#,
    ];
    let mut values: Vec<String> = plain.iter().map(ToString::to_string).collect();
    values.extend([
        deep("[", "]"),
        deep("{\"a\":", "}").replace("::", ":").replace("{\"a\":}", "{\"a\":1}"),
        format!("\"{}\"", "long ".repeat(2_000)),
        max.to_string(),
        min.to_string(),
        format!(r#"{{"0":[[{max},1],[{min},2]],"1":[[{max},3]]}}"#),
        format!(r#"{{"0":{max},"1":{min}}}"#),
        format!("[{}]", (0..500).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
    ]);
    values.retain(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    values
}

/// The reply of a node to a request.
#[derive(Clone, Debug)]
enum Answer {
    Value(usize),
    /// The reply that the workload expects, or nearly.
    Right,
    Error(u64),
    Nothing,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => (0..1_000_usize).prop_map(Answer::Value),
        4 => Just(Answer::Right),
        1 => prop_oneof![Just(0), Just(11), Just(13), Just(14), Just(20), Just(4711)].prop_map(Answer::Error),
        1 => Just(Answer::Nothing),
    ]
}

/// The body of a reply. `None`: there is no reply.
fn reply(
    workload: &str,
    request: &Value,
    answer: &Answer,
    values: &[String],
    nth: u64,
) -> Option<String> {
    let (kind, id) = (request["type"].as_str().unwrap_or_default(), &request["msg_id"]);
    let value = match answer {
        Answer::Nothing => return None,
        Answer::Error(code) => {
            return Some(format!(r#"{{"type":"error","in_reply_to":{id},"code":{code}}}"#));
        }
        Answer::Value(at) => values[at % values.len()].clone(),
        Answer::Right => match kind {
            "echo" => request["echo"].to_string(),
            "txn" => request["txn"].to_string().replace("null", &(nth % 5).to_string()),
            "poll" => format!(r#"{{"0":[[{nth},{nth}]]}}"#),
            "list_committed_offsets" => "{}".into(),
            "read" => {
                if nth.is_multiple_of(2) {
                    nth.to_string()
                } else {
                    format!("[0,1,{nth}]")
                }
            }
            _ => nth.to_string(),
        },
    };
    let field = match kind {
        "init" | "topology" | "broadcast" | "add" | "commit_offsets" | "write" | "cas" => {
            String::new()
        }
        "read" => {
            let name = if workload == "broadcast" { "messages" } else { "value" };
            format!(r#","{name}":{value}"#)
        }
        "echo" => format!(r#","echo":{value}"#),
        "generate" => format!(r#","id":{value}"#),
        "send" => format!(r#","offset":{value}"#),
        "poll" => format!(r#","msgs":{value}"#),
        "list_committed_offsets" => format!(r#","offsets":{value}"#),
        _ => format!(r#","txn":{value}"#),
    };
    Some(format!(r#"{{"type":"{kind}_ok","in_reply_to":{id}{field}}}"#))
}

/// Runs a test whose nodes give these replies in turn, and judges it.
fn run(workload: &Arc<dyn Workload>, answers: &[Answer], values: &[String], seed: u64) -> Results {
    let options = Options { rate: 30.0, seed, ..Options::default().with_node_count(2) };
    let nemesis = [Fault::Partition].into();
    let options = Options { time_limit: Duration::from_secs(1), nemesis, ..options };
    let mut world = World::new(Test { workload: Arc::clone(workload), options }, ms(0));
    let (mut now, mut nth) = (ms(0), 0_u64);
    while !world.is_done() {
        while let Some(action) = world.poll_action() {
            let Action::Deliver { node, line } = action else { continue };
            let asked: Value = serde_json::from_slice(&line).unwrap();
            let body = &asked["body"];
            let is_start = ["init", "topology"].iter().any(|kind| body["type"] == *kind);
            let at = usize::try_from(nth).unwrap() % answers.len();
            let answer = if is_start { &Answer::Right } else { &answers[at] };
            nth += 1;
            if let Some(body) = reply(workload.name(), body, answer, values, nth) {
                let (src, dest) = (node.as_ref(), &asked["src"]);
                let line = format!(r#"{{"src":"{src}","dest":{dest},"body":{body}}}"#);
                world.node_said(now, &node, line.as_bytes());
            }
        }
        now = world.poll_timeout(now).unwrap_or(now);
        world.handle_timeout(now);
    }
    world.results()
}

/// A workload with the defaults of the command line.
fn defaults(entry: &Entry) -> Arc<dyn Workload> {
    let command = entry.augment(clap::Command::new("test"));
    entry.read(&command.get_matches_from(["test"])).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_reply_makes_a_client_or_a_checker_panic(
        answers in proptest::collection::vec(answer(), 1..40), seed in 0..1_000_u64,
    ) {
        let values = values();
        for workload in built_in().iter().map(defaults) {
            let results = run(&workload, &answers, &values, seed);
            let text = serde_json::to_string(&results);
            prop_assert!(text.is_ok(), "{:?}", text);
            let open = results.valid != crate::checker::Verdict::Valid;
            prop_assert_eq!(open, results.cause.is_some(), "{:?}", results.cause);
            // The verdict is never more lenient than Maelstrom's.
            prop_assert!(results.valid >= results.maelstrom_valid, "{:?}", results.cause);
        }
    }
}

#[test]
fn each_hard_value_alone_is_judged() {
    let values = values();
    for workload in built_in().iter().map(defaults) {
        for at in 0..values.len() {
            run(&workload, &[Answer::Value(at)], &values, 1);
            if at % 3 == 0 {
                run(&workload, &[Answer::Value(at), Answer::Right], &values, 1);
            }
        }
    }
}

#[test]
fn no_field_of_a_reply_or_of_a_request_to_a_service_makes_anything_panic() {
    let values = values();
    let mut services = Services::new(rng::stream(1, Stream::Services));
    for workload in built_in() {
        for value in &values {
            for field in ["type", "msg_id", "in_reply_to", "code", "text", "extra", "messages"] {
                for kind in ["\"error\"", "\"read_ok\"", "\"txn_ok\""] {
                    let text = format!(r#"{{"type":{kind},"{field}":{value}}}"#);
                    let body = RawValue::from_string(text).unwrap();
                    let outcome = Outcome::Reply(body);
                    super::super::reply::ending(workload.workload(), "read", "read", &outcome);
                }
            }
        }
    }
    for value in &values {
        for field in ["type", "msg_id", "key", "value", "from", "to", "create_if_not_exists"] {
            for kind in ["read", "write", "cas", "ts"] {
                let text = format!(r#"{{"type":"{kind}","{field}":{value}}}"#);
                let body = RawValue::from_string(text).unwrap();
                for service in Services::NAMES {
                    services.handle(service, &"n1".into(), &body).ok();
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn no_line_makes_the_world_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        cut in 0..60_usize, insert in "[\\\\\"\r\n\t\u{0}{}\\[\\]:,a0]{0,4}",
    ) {
        let mut world = started();
        let good = br#"{"src":"n0","dest":"lin-kv","body":{"type":"read","key":"k\u0041"}}"#;
        let (head, tail) = good.split_at(cut.min(good.len()));
        for line in [bytes.as_slice(), &[head, insert.as_bytes(), tail].concat()] {
            for node in ["n0", "n1"] {
                world.node_said(JOIN_TIME, &node.into(), line);
            }
        }
    }
}
