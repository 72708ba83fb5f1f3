//! The generator of `kafka`: keys, messages, and the positions of clients.

use super::*;
use crate::rng::{Stream, stream};

fn options() -> Options {
    Options { rate: 50.0, ..Options::default().with_node_count(3) }
}

fn clients() -> Clients {
    Clients::new(Keys::default(), &options())
}

fn op(f: &'static str, value: Value) -> Invocation {
    Invocation { f, value: raw(&value) }
}

fn end(process: u64, kind: OpType, f: &'static str, value: &Value) -> Op {
    Op { value: raw(value), ..Op::new(Process::Client(process), kind, f) }
}

fn asked(step: Step) -> (&'static str, Value) {
    match step {
        Step::Ask(request) => (request.kind, request.fields.into()),
        other => panic!("{other:?}"),
    }
}

fn done(step: Step) -> Value {
    match step {
        Step::Done(value) => json!(value),
        other => panic!("{other:?}"),
    }
}

const POLL: Invocation = Invocation { f: "poll", value: None };

/// The offsets that process 1 polls.
fn polls(kafka: &mut Clients) -> Value {
    asked(kafka.step(1, &POLL, &[])).1["offsets"].clone()
}

/// A poll reads this, and its commit then ends with this outcome.
fn poll_ended(kafka: &mut Clients, (process, kind): (u64, OpType), read: &Value) {
    kafka.step(process, &POLL, &[raw(read)]);
    kafka.ended(&end(process, kind, "poll", if kind == OpType::Ok { read } else { &Value::Null }));
}

#[test]
fn a_client_has_moved_on_even_if_its_commit_fails_and_is_gone_if_nobody_knows() {
    let mut kafka = clients();
    kafka.ended(&end(1, OpType::Ok, "assign", &json!({ "keys": ["a"], "committed": {} })));
    poll_ended(&mut kafka, (1, OpType::Fail), &json!({ "a": [[0, "x"], [1, "y"]] }));
    assert_eq!(polls(&mut kafka), json!({ "a": 2 }));
    poll_ended(&mut kafka, (1, OpType::Info), &json!({ "a": [[2, "z"]] }));
    assert_eq!(polls(&mut kafka), json!({}));
}

#[test]
fn messages_have_one_of_the_lengths_and_differ() {
    let mut rng = stream(1, Stream::Generator);
    let mut kafka = Clients { lengths: vec![5, 40], ..clients() };
    let (mut messages, mut counts) = (BTreeSet::new(), BTreeMap::<usize, u64>::new());
    for _ in 0..1_000 {
        let op = kafka.next(0, &mut rng);
        if op.f == "send" {
            let (_, message): (String, &RawValue) = value_of(op.value.as_deref()).unwrap();
            *counts.entry(message.get().len()).or_default() += 1;
            assert!(messages.insert(message.get().to_owned()));
        }
    }
    // A number of three digits does not fit into five bytes.
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [5, 6, 40]);
    assert!(counts.values().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn a_key_is_written_to_so_often_and_then_another_takes_its_place() {
    let mut rng = stream(1, Stream::Generator);
    let mut kafka = Clients::new(Keys { max_writes_per_key: 4, key_count: 3 }, &options());
    let mut writes: BTreeMap<String, u64> = BTreeMap::new();
    let mut fs: BTreeMap<&str, u64> = BTreeMap::new();
    let mut messages = BTreeSet::new();
    for _ in 0..10_000 {
        let op = kafka.next(0, &mut rng);
        *fs.entry(op.f).or_default() += 1;
        if op.f == "send" {
            let (key, message): (String, u64) = value_of(op.value.as_deref()).unwrap();
            *writes.entry(key).or_default() += 1;
            assert!(messages.insert(message));
        }
    }
    assert!(writes.len() > 900 && writes.values().all(|count| *count <= 4), "{}", writes.len());
    assert!(fs["send"] > 4_000 && fs["poll"] > 4_000, "{fs:?}");
    assert!((100..250).contains(&fs["assign"]), "{fs:?}");
    // Three clients crash every 30 s each, at 50 operations per second.
    assert!((10..40).contains(&fs["crash"]), "{fs:?}");
}

#[test]
fn later_keys_are_likelier() {
    let mut rng = stream(1, Stream::Generator);
    let mut keys = KeysInUse::new(Keys { key_count: 3, max_writes_per_key: u64::MAX });
    let mut drawn: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..7_000 {
        *drawn.entry(keys.draw(&mut rng).1).or_default() += 1;
    }
    for (key, expected) in [("0", 1_000), ("1", 2_000), ("2", 4_000)] {
        assert!(drawn[key].abs_diff(expected) < 200, "{drawn:?}");
    }
}

#[test]
fn of_many_keys_the_last_are_the_likeliest() {
    let mut rng = stream(1, Stream::Generator);
    let mut keys = KeysInUse::new(Keys { key_count: 1_000, max_writes_per_key: u64::MAX });
    let drawn = (0..1_000).filter(|_| keys.draw(&mut rng).1 == "999").count();
    assert!(drawn.abs_diff(500) < 100, "{drawn}");
}

#[test]
fn an_offset_beyond_64_bits_is_told_apart_from_a_value_that_is_no_integer() {
    let why = |schema: Schema, text: &str| {
        (schema.read)(&RawValue::from_string(text.into()).unwrap()).unwrap_err()
    };
    let wide = "100000000000000000000";
    assert_eq!(why(OFFSET, wide), "does not fit in 64 bits");
    assert_eq!(why(OFFSET, "1.5"), "is not an integer");
    let offsets = format!(r#"{{"a":{wide},"b":1}}"#);
    assert_eq!(why(OFFSETS, &offsets), "has an offset that does not fit in 64 bits");
    assert_eq!(why(OFFSETS, r#"{"a":"1"}"#), "is not an object of integers");
    let polled = format!(r#"{{"a":[[{wide},1]],"b":null}}"#);
    assert_eq!(why(POLLED, &polled), "has an offset that does not fit in 64 bits");
    assert!(why(POLLED, r#"{"a":[["1",1]]}"#).starts_with("is not an object of lists"));
}

#[test]
fn a_poll_commits_the_messages_that_it_read_and_then_goes_on_behind_them() {
    let mut kafka = clients();
    assert_eq!(polls(&mut kafka), json!({}));
    let assign = json!({ "keys": ["a", "b"], "committed": { "b": 4 } });
    kafka.ended(&end(1, OpType::Ok, "assign", &assign));
    assert_eq!(polls(&mut kafka), json!({ "a": 0, "b": 5 }));
    let read = json!({ "a": [[0, 10], [3, 11]], "b": [] });
    let results = [raw(&read)];
    let (kind, fields) = asked(kafka.step(1, &POLL, &results));
    assert_eq!((kind, &fields["offsets"]), ("commit_offsets", &json!({ "a": 3 })));
    let [result] = results;
    assert_eq!(done(kafka.step(1, &POLL, &[result, None])), read);
    kafka.ended(&end(1, OpType::Ok, "poll", &read));
    assert_eq!(polls(&mut kafka), json!({ "a": 4, "b": 5 }));
}

#[test]
fn a_poll_that_read_nothing_commits_nothing() {
    let mut kafka = clients();
    for read in [json!({}), json!({ "a": [] })] {
        assert_eq!(done(kafka.step(1, &POLL, &[raw(&read)])), read);
    }
}

#[test]
fn an_assign_keeps_the_positions_of_its_keys_unless_it_seeks_to_the_beginning() {
    let mut kafka = clients();
    kafka.ended(&end(1, OpType::Ok, "assign", &json!({ "keys": ["a"], "committed": { "a": 6 } })));
    let assign = op("assign", json!({ "keys": ["a", "b", "c"] }));
    let (kind, fields) = asked(kafka.step(1, &assign, &[]));
    assert_eq!((kind, &fields["keys"]), ("list_committed_offsets", &json!(["a", "b", "c"])));
    let listed = raw(&json!({ "a": 9, "b": 2 }));
    let value = done(kafka.step(1, &assign, &[listed]));
    kafka.ended(&end(1, OpType::Ok, "assign", &value));
    assert_eq!(polls(&mut kafka), json!({ "a": 7, "b": 3, "c": 0 }));
    let seek = json!({ "keys": ["a"], "seek-to-beginning?": true });
    assert_eq!(done(kafka.step(1, &op("assign", seek.clone()), &[])), Value::Null);
    kafka.ended(&end(1, OpType::Ok, "assign", &seek));
    assert_eq!(polls(&mut kafka), json!({ "a": 0 }));
}

#[test]
fn positions_are_gone_with_their_process() {
    let mut kafka = clients();
    let assign = json!({ "keys": ["a"], "committed": {} });
    kafka.ended(&end(1, OpType::Ok, "assign", &assign));
    assert!(matches!(kafka.step(1, &op("crash", Value::Null), &[]), Step::Crash));
    kafka.ended(&end(1, OpType::Info, "crash", &Value::Null));
    assert_eq!(polls(&mut kafka), json!({}));
}

#[test]
fn a_send_ends_with_its_offset() {
    let mut kafka = clients();
    let send = op("send", json!(["a", 7]));
    let (kind, fields) = asked(kafka.step(1, &send, &[]));
    assert_eq!((kind, fields), ("send", json!({ "key": "a", "msg": 7 })));
    assert_eq!(done(kafka.step(1, &send, &[raw(&json!(3))])), json!(["a", [3, 7]]));
}

#[test]
fn in_the_end_a_fresh_client_of_each_thread_polls_until_it_has_caught_up() {
    let mut kafka = clients();
    kafka.ended(&end(0, OpType::Ok, "send", &json!(["a", [3, 7]])));
    kafka.ended(&end(0, OpType::Ok, "send", &json!(["b", [0, 8]])));
    let next = |kafka: &mut Clients, process| kafka.next_final(process).map(|op| op.f);
    assert_eq!(next(&mut kafka, 1), Some("crash"));
    kafka.ended(&end(1, OpType::Info, "crash", &Value::Null));
    assert_eq!(next(&mut kafka, 4), Some("assign"));
    let seek = json!({ "keys": ["a", "b"], "seek-to-beginning?": true });
    let is_final = |op| Op { is_final: true, ..op };
    kafka.ended(&is_final(end(4, OpType::Ok, "assign", &seek)));
    assert_eq!(next(&mut kafka, 4), Some("poll"));
    kafka.ended(&is_final(end(4, OpType::Ok, "poll", &json!({ "a": [[2, 1]], "b": [[0, 8]] }))));
    assert_eq!(next(&mut kafka, 4), Some("poll"));
    // Another thread has its own targets.
    assert_eq!(next(&mut kafka, 2), Some("crash"));
    // A new client continues after a crash, with the remaining keys from the beginning.
    kafka.ended(&is_final(end(4, OpType::Info, "poll", &Value::Null)));
    let again = kafka.next_final(7).unwrap();
    let assign: Assign = value_of(again.value.as_deref()).unwrap();
    assert_eq!(
        (again.f, assign.keys, assign.seek_to_beginning),
        ("assign", vec!["a".into()], true)
    );
    kafka.ended(&is_final(end(7, OpType::Ok, "poll", &json!({ "a": [[2, 1], [3, 7]] }))));
    assert_eq!(next(&mut kafka, 7), None);
}

#[test]
fn where_no_offset_is_known_there_is_nothing_to_catch_up_with() {
    let mut kafka = clients();
    assert!(kafka.next_final(1).is_none() && kafka.next_final(1).is_none());
}

#[test]
fn results_must_have_maelstroms_form() {
    for (request, value, fits) in [
        ("send", "3", true),
        ("send", "3.5", false),
        ("send", "null", false),
        ("poll", r#"{"a":[[0,"x"],[1,{}]]}"#, true),
        ("poll", r#"{"a":[[0]]}"#, false),
        ("poll", r#"{"a":[["0",1]]}"#, false),
        ("poll", r#"{"a":null}"#, true),
        ("poll", r#"{"a":[null]}"#, false),
        ("poll", r#"{"a":[[0,"x",1]]}"#, false),
        ("poll", "null", false),
        ("poll", "[]", false),
        ("list_committed_offsets", r#"{"a":1}"#, true),
        ("list_committed_offsets", r#"{"a":null}"#, false),
    ] {
        let value: Box<RawValue> = serde_json::from_str(value).unwrap();
        let rpc = RPCS.iter().find(|rpc| rpc.name == request).unwrap();
        assert_eq!((rpc.reply[0].schema.read)(&value).is_ok(), fits, "{request} {value}");
    }
}
