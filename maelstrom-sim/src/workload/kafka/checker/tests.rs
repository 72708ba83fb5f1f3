//! Hand-written histories: for each anomaly one history that has it, and near misses that do not.
//! The lines are as in the other checkers' tests, but have only the ends of operations.

mod headlines;

use serde_json::json;

use super::*;
use crate::checker::tests::history;

/// Both clients are assigned all of `a` from its beginning.
const ASSIGNED: &str = r#"
    0 1 ok assign {"keys":["a"],"seek-to-beginning?":true}
    0 2 ok assign {"keys":["a"],"seek-to-beginning?":true}
"#;

fn judge(text: &str) -> (Verdict, Value) {
    let results = check(&history(text), &[]);
    (results.valid, results.fields.into())
}

/// The kinds of findings.
fn kinds(text: &str) -> Value {
    judge(text).1["error-types"].clone()
}

#[track_caller]
fn found(expected: &[&str], text: &str) -> Value {
    let (valid, results) = judge(text);
    assert_eq!(results["error-types"], json!(expected), "{text}");
    let allowed = expected.iter().all(|kind| ALLOWED.contains(kind));
    assert_eq!(valid, if allowed { Verdict::Valid } else { Verdict::Invalid });
    results
}

#[test]
fn a_harmless_anomaly_is_told_and_does_not_count() {
    let text = r#"1 3 ok send ["a",[0,1]]
                  2 3 ok send ["a",[1,2]]
                  3 1 ok poll {"a":[[1,2]]}"#;
    for (harmless, valid) in [
        (&["lost-write", "unseen"][..], Verdict::Valid),
        (&["unseen"], Verdict::Invalid),
        (&["lost-write"], Verdict::Invalid),
    ] {
        let results = check(&history(text), harmless);
        assert_eq!(results.valid, valid, "{harmless:?}");
        assert_eq!(results.fields["error-types"], json!(["lost-write", "unseen"]));
    }
}

#[test]
fn logs_that_are_read_in_order_and_to_their_ends_are_valid() {
    let results = found(
        &[],
        r#"0 1 ok assign {"keys":["a","b"],"committed":{}}
           1 2 ok send ["a",[0,1]]
           2 2 ok send ["b",[5,2]]
           3 1 ok poll {"a":[[0,1]]}
           4 2 ok send ["a",[7,3]]
           5 1 ok poll {"a":[[7,3]],"b":[[5,2]]}
           6 1 ok poll {"a":[]}"#,
    );
    assert_eq!(results["bad-error-types"], json!([]));
}

#[test]
fn an_acknowledged_message_before_one_that_was_read_is_lost_if_nobody_read_it() {
    let sends = r#"1 3 ok send ["a",[0,1]]
                   2 3 ok send ["a",[1,2]]"#;
    let results =
        found(&["lost-write", "unseen"], &format!("{sends}\n3 1 ok poll {{\"a\":[[1,2]]}}"));
    let lost = &results["lost-write"]["errs"][0];
    assert_eq!(
        (&lost["value"], &lost["offset"], &lost["max-read-index"]),
        (&json!(1), &json!(0), &json!(1))
    );
    assert_eq!((&lost["writer"]["index"], &lost["max-read"]["index"]), (&json!(0), &json!(2)));
    // Nobody read any further.
    found(&["unseen"], sends);
    // Another client read it.
    let polls = r#"3 1 ok poll {"a":[[1,2]]}
                   4 2 ok poll {"a":[[0,1]]}"#;
    found(&[], &format!("{sends}\n{polls}"));
}

#[test]
fn a_message_whose_send_is_unknown_or_has_failed_need_not_be_read() {
    for end in ["1 3 info send [\"a\",1]", "1 3 fail send [\"a\",1]", "1 3 invoke send [\"a\",1]"] {
        let rest = r#"2 4 ok send ["a",[1,2]]
                      3 1 ok poll {"a":[[1,2]]}"#;
        found(&[], &format!("{end}\n{rest}"));
    }
}

#[test]
fn messages_that_are_not_read_up_to_the_end_are_unseen_and_counted_for_each_key() {
    let results = found(
        &["unseen"],
        r#"1 3 ok send ["a",[0,1]]
           2 3 ok send ["a",[1,2]]
           3 3 ok send ["b",[0,3]]
           4 1 ok poll {"a":[[0,1]]}"#,
    );
    assert_eq!(results["unseen"]["unseen"], json!({ "a": 1, "b": 1 }));
    assert_eq!(results["unseen"]["messages"], json!({ "a": [2], "b": [3] }));
}

#[test]
fn an_offset_has_one_message() {
    let send = r#"1 3 ok send ["a",[0,1]]
                  2 4 info send ["a",2]"#;
    let results = found(
        &["inconsistent-offsets"],
        &format!("{send}\n3 1 ok poll {{\"a\":[[0,1]]}}\n4 2 ok poll {{\"a\":[[0,2]]}}"),
    );
    let error = &results["inconsistent-offsets"]["errs"][0];
    assert_eq!((&error["offset"], &error["values"]), (&json!(0), &json!([1, 2])));
    assert_eq!((&error["ops"][0]["index"], &error["ops"][1]["index"]), (&json!(0), &json!(3)));
    // An acknowledgement counts as much as a poll.
    found(
        &["inconsistent-offsets", "lost-write", "unseen"],
        &format!("{send}\n4 2 ok poll {{\"a\":[[0,2]]}}"),
    );
    // Other keys have their own offsets.
    found(
        &[],
        r#"1 3 ok send ["a",[0,1]]
           2 3 ok send ["b",[0,2]]
           3 1 ok poll {"a":[[0,1]],"b":[[0,2]]}"#,
    );
}

#[test]
fn a_message_has_one_offset() {
    let results = found(
        &["duplicate"],
        r#"1 3 ok send ["a",[1,1]]
           2 1 ok poll {"a":[[0,1],[1,1]]}"#,
    );
    let error = &results["duplicate"]["errs"][0];
    assert_eq!(error["offsets"], json!([0, 1]));
    assert_eq!((&error["ops"][0]["index"], &error["ops"][1]["index"]), (&json!(1), &json!(0)));
    // Two clients may read the same message.
    found(
        &[],
        r#"1 3 ok send ["a",[1,1]]
           2 1 ok poll {"a":[[1,1]]}
           3 2 ok poll {"a":[[1,1]]}"#,
    );
}

#[test]
fn a_message_whose_send_has_failed_must_not_be_read() {
    let poll = r#"2 1 ok poll {"a":[[0,1]]}"#;
    let results = found(&["G1a"], &format!("1 3 fail send [\"a\",1]\n{poll}"));
    let error = &results["G1a"]["errs"][0];
    assert_eq!((&error["writer"]["type"], &error["reader"]["index"]), (&json!("fail"), &json!(1)));
    found(&[], &format!("1 3 info send [\"a\",1]\n{poll}"));
    found(&[], &format!("1 3 invoke send [\"a\",1]\n{poll}"));
}

#[test]
fn a_message_that_nobody_sent_to_the_key_is_a_phantom() {
    let poll = r#"2 1 ok poll {"a":[[0,1]]}"#;
    found(&["phantom", "unseen"], &format!("1 3 ok send [\"b\",[0,1]]\n{poll}"));
    found(&["phantom"], poll);
    // Jepsen's checker fails on it.
    assert_eq!(check(&history(poll), &[]).maelstrom_valid, Verdict::Unknown);
}

/// Client 1 reads the first entry, and then the third.
fn skipping(between: &str) -> String {
    format!(
        r#"{ASSIGNED}
           1 3 info send ["a",1]
           2 4 info send ["a",2]
           3 5 info send ["a",3]
           4 1 ok poll {{"a":[[0,1]]}}
           {between}
           6 1 ok poll {{"a":[[20,3]]}}"#
    )
}

#[test]
fn a_clients_next_poll_must_not_pass_over_a_known_entry() {
    let other = r#"5 2 ok poll {"a":[[0,1],[10,2],[20,3]]}"#;
    let results = found(&["poll-skip"], &skipping(other));
    let error = &results["poll-skip"]["errs"][0];
    assert_eq!((&error["skipped"], &error["delta"]), (&json!([10]), &json!(2)));
    assert_eq!((&error["ops"][0]["index"], &error["ops"][1]["index"]), (&json!(5), &json!(7)));
    assert_eq!(error["ops"][1]["value"], json!({ "a": [[20, 3]] }));
    // Offsets may have gaps.
    found(&[], &skipping(""));
    // The client continued after a commit of others.
    let assign = r#"5 1 ok assign {"keys":[],"committed":{}}
                    5 1 ok assign {"keys":["a"],"committed":{"a":10}}"#;
    found(&[], &skipping(&format!("{other}\n{assign}")));
    // An assign that keeps the key keeps the position.
    let kept = r#"5 1 ok assign {"keys":["a"],"committed":{"a":10}}"#;
    found(&["poll-skip"], &skipping(&format!("{other}\n{kept}")));
}

#[test]
fn the_first_poll_after_an_assign_begins_where_it_says() {
    let poll = r#"1 3 ok send ["a",[0,1]]
                  2 3 ok send ["a",[1,2]]
                  3 2 ok poll {"a":[[0,1],[1,2]]}"#;
    for (assign, expected) in [
        (r#"{"keys":["a"],"seek-to-beginning?":true}"#, &["poll-skip"][..]),
        (r#"{"keys":["a"],"committed":{}}"#, &["poll-skip"]),
        (r#"{"keys":["a"],"committed":{"a":0}}"#, &[]),
        (r#"{"keys":["a"],"committed":{"a":1}}"#, &["nonmonotonic-poll"]),
    ] {
        found(expected, &format!("{poll}\n4 1 ok assign {assign}\n5 1 ok poll {{\"a\":[[1,2]]}}"));
    }
}

#[test]
fn other_processes_have_positions_of_their_own() {
    found(
        &[],
        &format!(
            r#"{ASSIGNED}
               1 3 ok send ["a",[0,1]]
               2 3 ok send ["a",[1,2]]
               3 1 ok poll {{"a":[[0,1],[1,2]]}}
               4 2 ok poll {{"a":[[0,1]]}}
               5 2 fail poll
               6 2 ok poll {{"a":[[1,2]]}}"#
        ),
    );
}

#[test]
fn a_clients_next_poll_must_not_go_back_unless_it_was_told_to() {
    let text = |between: &str| {
        format!(
            r#"{ASSIGNED}
               1 3 ok send ["a",[0,1]]
               2 3 ok send ["a",[1,2]]
               3 1 ok poll {{"a":[[0,1],[1,2]]}}
               {between}
               5 1 ok poll {{"a":[[1,2]]}}"#
        )
    };
    let results = found(&["nonmonotonic-poll"], &text(""));
    let error = &results["nonmonotonic-poll"]["errs"][0];
    assert_eq!((&error["expected"], &error["offset"]), (&json!(2), &json!(1)));
    let seek = r#"4 1 ok assign {"keys":["a"],"seek-to-beginning?":true}
                  4 1 ok poll {"a":[[0,1]]}"#;
    found(&[], &text(seek));
}

#[test]
fn a_poll_shows_known_entries_in_order_and_without_gaps() {
    let sends = r#"1 3 ok send ["a",[0,1]]
                   2 3 ok send ["a",[4,2]]
                   3 3 ok send ["a",[8,3]]
                   4 2 ok poll {"a":[[0,1],[4,2],[8,3]]}"#;
    let poll = |pairs: &str| kinds(&format!("{sends}\n5 1 ok poll {{\"a\":{pairs}}}"));
    assert_eq!(poll("[[0,1],[4,2],[8,3]]"), json!([]));
    assert_eq!(poll("[[4,2],[8,3]]"), json!([]));
    assert_eq!(poll("[[0,1],[8,3]]"), json!(["int-poll-skip"]));
    assert_eq!(poll("[[4,2],[0,1]]"), json!(["int-nonmonotonic-poll"]));
    assert_eq!(poll("[[4,2],[4,2]]"), json!(["int-nonmonotonic-poll"]));
}

#[test]
fn the_sends_of_a_process_to_a_key_come_one_after_the_other() {
    let read = r#"9 1 ok poll {"a":[[0,2],[1,1]]}"#;
    let text = |second: &str| format!("1 3 ok send [\"a\",[1,1]]\n{second}\n{read}");
    let results = found(&["nonmonotonic-send"], &text("2 3 ok send [\"a\",[0,2]]"));
    assert_eq!(results["nonmonotonic-send"]["errs"][0]["offsets"], json!([1, 0]));
    // A poll shows the offset of a send with an unknown outcome.
    found(&["nonmonotonic-send"], &text("2 3 info send [\"a\",2]"));
    // Another process may have sent it before.
    found(&[], &text("2 4 ok send [\"a\",[0,2]]"));
    // An assign concerns only reading.
    let assign = r#"2 3 ok assign {"keys":["b"],"committed":{}}"#;
    found(&["nonmonotonic-send"], &text(&format!("{assign}\n3 3 ok send [\"a\",[0,2]]")));
}

#[test]
fn a_committed_offset_that_goes_back_is_shown_and_allowed() {
    let text = |process: u64, committed: &str| {
        format!(
            r#"{ASSIGNED}
               1 3 ok send ["a",[4,1]]
               2 1 ok poll {{"a":[[4,1]]}}
               3 {process} ok assign {{"keys":["a"],"committed":{committed}}}"#
        )
    };
    let results = found(&["nonmonotonic-commit"], &text(1, r#"{"a":3}"#));
    assert_eq!(results["bad-error-types"], json!([]));
    assert_eq!(results["nonmonotonic-commit"]["errs"][0]["known"], 4);
    found(&["nonmonotonic-commit"], &text(1, "{}"));
    found(&[], &text(1, r#"{"a":4}"#));
    found(&[], &text(1, r#"{"a":9}"#));
    // Another process may not know of the commit.
    found(&[], &text(2, r#"{"a":3}"#));
}

#[test]
fn the_lag_of_a_client_begins_when_its_next_message_was_known_and_ends_at_its_poll() {
    let text = |read: &str| {
        format!(
            r#"{ASSIGNED}
               1000 3 ok send ["a",[0,1]]
               3000 3 ok send ["a",[5,2]]
               7000 1 invoke poll
               9000 1 ok poll {{"a":{read}}}
               9000 2 ok poll {{"a":[[0,1],[5,2]]}}"#
        )
    };
    for (read, lag) in [("[]", 6.0), ("[[0,1]]", 4.0)] {
        let expected = json!({ "time": 7.0, "process": 1, "key": "a", "lag": lag });
        assert_eq!(judge(&text(read)).1["worst-realtime-lag"], expected);
    }
    let none = json!({ "time": 0, "lag": 0 });
    assert_eq!(judge(&text("[[0,1],[5,2]]")).1["worst-realtime-lag"], none);
}

#[test]
fn of_many_findings_all_are_counted_and_a_few_are_shown() {
    let sends: Vec<String> = (0..500).map(|n| format!("1 1 ok send [\"a\",[0,{n}]]")).collect();
    let results =
        found(&["inconsistent-offsets", "nonmonotonic-send", "unseen"], &sends.join("\n"));
    assert_eq!(results["nonmonotonic-send"]["count"], 499);
    assert_eq!(results["nonmonotonic-send"]["errs"].as_array().unwrap().len(), SHOWN_MAX);
    assert_eq!(results["unseen"]["count"], 500);
    assert_eq!(results["unseen"]["messages"]["a"].as_array().unwrap().len(), LIST_MAX);
    let values = &results["inconsistent-offsets"]["errs"][0]["values"];
    assert_eq!(values.as_array().unwrap().len(), LIST_MAX);
}

#[test]
fn offsets_at_the_ends_of_their_range_are_offsets() {
    let (low, high) = (i64::MIN, i64::MAX);
    let text = format!(
        r#"{ASSIGNED}
           1 3 info send ["a",1]
           2 4 info send ["a",2]
           3 1 ok poll {{"a":[[{low},1],[{high},2]]}}
           4 1 ok poll {{"a":[[{low},1],[{high},2]]}}"#
    );
    found(&["nonmonotonic-poll"], &text);
}

#[test]
fn a_long_history_is_judged_in_no_time() {
    // 40,000 operations: a quadratic checker would take minutes.
    let mut lines = vec![r#"0 0 ok assign {"keys":["a"],"seek-to-beginning?":true}"#.to_owned()];
    for n in 0..20_000 {
        lines.push(format!("1 1 ok send [\"a\",[{n},{n}]]"));
        lines.push(format!("1 0 ok poll {{\"a\":[[{n},{n}]]}}"));
    }
    found(&[], &lines.join("\n"));
}
