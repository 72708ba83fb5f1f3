//! Lists: for each anomaly one hand-written history that has it, and near misses that do not.

mod random;

use super::*;

/// Parses a history from lines as for registers. A micro-op is `x+1` for an append and `x:1,2` for
/// a read; `x:` reads null, and `x:[]` an empty list.
pub(super) fn lists(text: &str) -> History {
    history_of(text, micro_op)
}

fn micro_op(text: &str) -> Value {
    if let Some((key, element)) = text.split_once('+') {
        return json!(["append", key, element.parse::<u64>().unwrap()]);
    }
    let (key, list) = text.split_once(':').unwrap();
    let elements = || list.split(',').map(|element| element.parse::<u64>().unwrap());
    match list {
        "" => json!(["r", key, null]),
        "[]" => json!(["r", key, []]),
        _ => json!(["r", key, elements().collect::<Vec<u64>>()]),
    }
}

pub(super) fn judge_lists(model: Model, history: &History) -> WorkloadResults {
    judge_as(model, history, Data::Lists)
}

fn names(results: &WorkloadResults) -> Vec<String> {
    serde_json::from_value(results.fields["anomaly-types"].clone()).unwrap()
}

/// The anomalies that a model finds.
pub(super) fn found(model: Model, text: &str) -> Vec<String> {
    let results = judge_lists(model, &lists(text));
    let names = names(&results);
    assert_eq!(results.valid, Verdict::invalid_if(!names.is_empty()), "{text}");
    names
}

/// Checks that no model has a finding.
#[track_caller]
fn fine(text: &str) {
    for model in Model::ALL {
        assert_eq!(found(model, text), [""; 0], "{model:?} {text}");
    }
}

/// Checks that strict serializability has exactly these findings.
#[track_caller]
fn strict(text: &str, expected: &[&str]) {
    assert_eq!(found(Strict, text), expected, "{text}");
}

/// The strict verdict, and Maelstrom's.
fn verdicts(model: Model, history: &History) -> (Verdict, Verdict) {
    let results = check_lists(history, &BTreeSet::from([model]));
    (results.valid, results.maelstrom_valid)
}

const BOTH: (Verdict, Verdict) = (Verdict::Invalid, Verdict::Invalid);

#[test]
fn transactions_one_after_the_other_are_fine() {
    fine(
        "1 ok x: x+1 y+1
         2 ok x:1 y:1 y+2 y:1,2 y+3
         1 ok y:1,2,3 x+2 x:1,2
         3 ok x:1,2 y:1,2,3 z:[]",
    );
}

#[test]
fn an_element_of_a_failed_transaction_is_g1a() {
    let text = "1 begin x:1\n 2 fail x+1\n 1 end";
    for model in USUAL {
        let expected: &[&str] = if model == Ru { &[] } else { &["G1a"] };
        assert_eq!(found(model, text), expected, "{model:?}");
    }
    assert_eq!(verdicts(Rc, &lists(text)), BOTH);
    // It need not be the last element.
    assert!(found(Rc, "1 begin x:1,2\n 2 fail x+1\n 3 ok x+2\n 1 end").contains(&"G1a".into()));
    // The failure was known before the read, so it was not a failure.
    assert_eq!(found(Ru, "2 fail x+1\n 1 ok x:1"), ["false-failure"]);
    fine("2 info x+1\n 1 ok x:1");
    fine("2 fail x+1\n 1 ok x:");
}

#[test]
fn an_append_upon_a_failed_append_is_a_dirty_update() {
    let text = "1 begin x+1\n 2 begin x+2\n 3 begin x:1,2\n 1 fail x+9\n 2 end\n 3 end";
    let dirty = text.replace("1 begin x+1\n", "").replace("1 fail x+9", "1 fail x+1");
    assert_eq!(found(Rc, &dirty), ["G1a", "dirty-update"]);
    assert_eq!(found(Ru, &dirty), [""; 0]);
    // An element with an unknown outcome between them changes nothing.
    let between = "1 begin x:1,2,3\n 2 fail x+1\n 3 info x+2\n 4 ok x+3\n 1 end";
    assert!(found(Rc, between).contains(&"dirty-update".into()));
    // The element after it has an unknown outcome, so its transaction may have failed too.
    let unknown = "1 begin x:1,2\n 2 fail x+1\n 3 info x+2\n 1 end";
    assert_eq!(found(Rc, unknown), ["G1a"]);
    // The failed element comes last.
    let above = "1 begin x:1,2\n 2 ok x+1\n 3 fail x+2\n 1 end";
    assert_eq!(found(Rc, above), ["G1a"]);
}

#[test]
fn a_list_that_ends_amid_the_appends_of_a_transaction_is_g1b() {
    let text = "1 begin x+1 x+2\n 2 ok x:1\n 1 end";
    assert_eq!(found(Rc, text), ["G1b"]);
    assert_eq!(found(Ru, text), [""; 0]);
    assert_eq!(verdicts(Rc, &lists(text)), BOTH);
    fine("1 ok x+1 x:1 x+2\n 2 ok x:1,2");
}

#[test]
fn a_list_that_contradicts_its_own_transaction_is_internal() {
    for text in [
        "1 ok x+1 x:",
        "1 ok x+1 x:[]",
        "2 ok x+1\n 1 ok x+2 x:1",
        "2 ok x+1\n 1 ok x+2 x+3 x:1,3",
        "2 ok x+1\n 3 ok x:1 x+2\n 1 ok x:1 x:1,2",
        "2 ok x+1\n 1 ok x:1 x+2 x:2,1",
        "1 ok x:[] x:",
    ] {
        for model in [Ra, Causal, Si, Rr, Ser, Strict] {
            assert!(found(model, text).contains(&"internal".into()), "{model:?} {text}");
        }
        for model in [Ru, Rc, Mav] {
            assert!(!found(model, text).contains(&"internal".into()), "{model:?} {text}");
        }
        assert_eq!(verdicts(Ra, &lists(text)).0, Verdict::Invalid, "{text}");
    }
    for near in [
        "1 ok x+1 x:1 x+2 x:1,2",
        "2 ok x+1\n 1 ok x+2 x:1,2 x:1,2",
        "2 ok x+1\n 1 ok x:1 x+2 x:1,2",
        "1 ok x: x: x:[] x+1 x:1",
    ] {
        fine(near);
    }
}

#[test]
fn elle_expects_nothing_after_a_null() {
    // With a null, only the strict rules call it internal. Elle sees no cycle either.
    let text = "2 begin x+1\n 1 ok x: x:1\n 3 ok x:1\n 2 end";
    assert!(found(Ra, text).contains(&"internal".into()));
    assert_eq!(verdicts(Ra, &lists(text)), (Verdict::Invalid, Verdict::Valid));
    assert_eq!(verdicts(Ra, &lists(&text.replace("x: ", "x:[] "))), BOTH);
}

#[test]
fn an_element_that_its_reader_appends_later_is_a_future_read() {
    assert_eq!(found(Rc, "1 ok x:1 x+1"), ["future-read"]);
    assert_eq!(verdicts(Rc, &lists("1 ok x:1 x+1\n 2 ok x:1")), BOTH);
    assert_eq!(found(Ru, "1 ok x:1 x+1"), [""; 0]);
    fine("1 ok x: x+1\n 2 ok x:1");
}

#[test]
fn an_element_twice_in_a_list_is_found_under_every_model() {
    for model in Model::ALL {
        assert_eq!(found(model, "1 ok x+1\n 2 ok x:1,1"), ["duplicate-elements"], "{model:?}");
    }
    assert_eq!(verdicts(Ru, &lists("1 ok x+1\n 2 ok x:1,1")), BOTH);
    // Equal elements in lists of two keys are different elements.
    fine("1 ok x+1 y+1\n 2 ok x:1 y:1");
}

#[test]
fn lists_of_which_none_is_the_beginning_of_the_other_have_incompatible_orders() {
    for text in [
        "1 begin x+1\n 2 begin x+2\n 3 ok x:1,2\n 4 ok x:2,1\n 1 end\n 2 end",
        "1 begin x+1\n 2 begin x+2\n 3 ok x:1\n 4 ok x:2\n 1 end\n 2 end",
        "1 begin x+1 x+2 x+3\n 3 ok x:1,2,3\n 4 ok x:1,3\n 1 end",
    ] {
        assert_eq!(found(Rc, text), ["incompatible-order"], "{text}");
        assert_eq!(found(Ru, text), [""; 0], "{text}");
        assert_eq!(verdicts(Rc, &lists(text)), BOTH, "{text}");
    }
    fine("1 begin x+1\n 2 begin x+2\n 3 ok x:1\n 4 ok x:1,2\n 1 end\n 2 end");
}

#[test]
fn an_element_that_nobody_appended_is_a_phantom_and_elle_gives_up() {
    for text in ["1 ok x:7", "2 ok x+1\n 1 ok x:7,1", "2 ok x+1\n 1 ok x:1,7"] {
        for model in Model::ALL {
            assert!(found(model, text).contains(&"phantom-read".into()), "{model:?} {text}");
        }
        let expected = (Verdict::Invalid, Verdict::Unknown);
        assert_eq!(verdicts(Strict, &lists(text)), expected, "{text}");
    }
    // It does not hide the elements around it: 2 read the state before the append of 3.
    let around = "1 ok x+1\n 3 ok x+3 z+1\n 2 ok z:1 x:1\n 4 ok x:1,7,3";
    assert!(found(Ser, around).contains(&"non-atomic-view".into()));
}

#[test]
fn a_reply_to_another_transaction_is_altered() {
    let mut history = History::default();
    let asked = json!([["r", 1, null], ["append", 2, 5]]);
    for got in [
        json!([["r", 1, null]]),
        json!([["r", 2, null], ["append", 2, 5]]),
        json!([["r", 1, null], ["append", 2, 6]]),
        json!([["append", 2, 5], ["r", 1, null]]),
    ] {
        let begun = push(&mut history, 1, OpType::Invoke, &asked, None, false);
        push(&mut history, 1, OpType::Ok, &got, Some(begun), false);
        assert_eq!(names(&judge_lists(Ru, &history)), ["altered-transaction"], "{got}");
        history = History::default();
    }
    let got = json!([["r", 1, []], ["append", 2, 5]]);
    let begun = push(&mut history, 1, OpType::Invoke, &asked, None, false);
    push(&mut history, 1, OpType::Ok, &got, Some(begun), false);
    assert_eq!(judge_lists(Strict, &history).valid, Verdict::Valid);
}

#[test]
fn an_element_that_is_appended_twice_leaves_the_verdict_open() {
    assert_eq!(judge_lists(Ru, &lists("1 ok x+1\n 2 ok x+1")).valid, Verdict::Unknown);
}

#[test]
fn appends_in_circles_are_g0() {
    let text = "1 begin x+1 y+1\n 2 begin x+2 y+2\n 3 ok x:1,2\n 4 ok y:2,1\n 1 end\n 2 end";
    assert_eq!(found(Ru, text), ["G0"]);
    assert_eq!(verdicts(Ru, &lists(text)), BOTH);
    // An append lies between two appends of another transaction.
    assert_eq!(found(Ru, "1 begin x+1 x+2\n 2 begin x+3\n 4 ok x:1,3,2\n 1 end\n 2 end"), ["G0"]);
    // Elements that are missing in the longest list came later.
    let unread = "1 begin x+1 y+1\n 2 begin x+2 y+2\n 3 ok x:1\n 4 ok y:2\n 1 end\n 2 end";
    assert_eq!(found(Ru, unread), ["G0"]);
    fine("1 begin x+1 y+1\n 2 begin x+2 y+2\n 3 ok x:1,2\n 4 ok y:1,2\n 1 end\n 2 end");
    fine("1 begin x+1 y+1\n 2 begin x+2 y+2\n 3 ok x:1\n 4 ok y:1\n 1 end\n 2 end");
}

#[test]
fn appends_against_sessions_and_real_time_are_g0_as_well() {
    // The second append of a session came before its first one.
    let text = "1 ok x+1\n 1 ok y+1\n 2 begin x+2 y+2\n 3 ok x:2,1\n 4 ok y:1,2\n 2 end";
    assert_eq!(found(Ru, text), [""; 0]);
    assert_eq!(found(Model::StrongSessionReadUncommitted, text), ["G0-process"]);
    let time = text.replace("1 ok y+1", "5 ok y+1");
    assert_eq!(found(Model::StrongSessionReadUncommitted, &time), [""; 0]);
    assert_eq!(found(Model::StrongReadUncommitted, &time), ["G0-realtime"]);
    assert_eq!(verdicts(Model::StrongReadUncommitted, &lists(&time)), BOTH);
    fine(&text.replace("x:2,1", "x:1,2"));
}

#[test]
fn information_that_flows_in_circles_is_g1c() {
    let text = "1 begin x+1 y:1\n 2 begin y+1 x:1\n 1 end\n 2 end";
    assert_eq!(found(Rc, text), ["G1c"]);
    assert_eq!(found(Ru, text), [""; 0]);
    assert_eq!(verdicts(Rc, &lists(text)), BOTH);
    fine("1 begin x+1 y:\n 2 begin y+1 x:1\n 1 end\n 2 end");
}

#[test]
fn one_anti_dependency_makes_a_g_single() {
    // 2 sees the effect of 1 through 3, but not its append.
    let text = "1 begin x: x+1 y+1\n 3 begin y:1 z+1\n 2 begin z:1 x:\n 1 end\n 3 end\n 2 end";
    for model in [Si, Ser] {
        assert_eq!(found(model, text), ["G-single"], "{model:?}");
        assert_eq!(verdicts(model, &lists(text)), BOTH);
    }
    assert_eq!(found(Ra, text), [""; 0]);
    // A list with elements becomes null again. That can only be an old version.
    let null = "4 begin x+9\n 1 begin x:9 x+1 y+1\n 3 begin y:1 z+1\n 2 begin z:1 x:
                5 ok x:9,1\n 4 end\n 1 end\n 3 end\n 2 end";
    assert_eq!(found(Ser, null), ["G-single"]);
    fine(&text.replace("2 begin z:1 x:", "2 begin z:1 x:1"));
    fine("1 begin x: x+1\n 2 begin x:\n 1 end\n 2 end");
}

#[test]
fn anti_dependencies_apart_from_each_other_break_snapshots() {
    let fork = "1 begin x+1\n 2 begin y+1\n 3 begin x:1 y:\n 4 begin y:1 x:
                1 end\n 2 end\n 3 end\n 4 end";
    for model in [Si, Rr, Ser, Strict] {
        assert_eq!(found(model, fork), ["G-nonadjacent"], "{model:?}");
    }
    assert_eq!(found(Causal, fork), [""; 0]);
    assert_eq!(verdicts(Si, &lists(fork)), BOTH);
    fine(&fork.replace("y:1 x:", "y:1 x:1"));
}

#[test]
fn two_that_each_miss_the_others_append_are_write_skew() {
    let skew = "1 begin x: y+1\n 2 begin y: x+1\n 1 end\n 2 end";
    for model in [Rr, Ser, Strict] {
        assert_eq!(found(model, skew), ["G2-item"], "{model:?}");
    }
    assert_eq!(found(Si, skew), [""; 0]);
    assert_eq!(verdicts(Ser, &lists(skew)), BOTH);
    fine("1 begin x: y+1\n 2 begin y:1 x+1\n 1 end\n 2 end");
    // A cycle with session and real-time edges.
    let session = "1 begin x+1\n 2 begin y+1\n 1 end\n 2 end\n 1 begin y:\n 2 begin x:\n 1 end
                   2 end";
    assert_eq!(found(Ser, session), [""; 0]);
    assert_eq!(found(Model::StrongSessionSerializable, session), ["G-nonadjacent-process"]);
}

#[test]
fn two_that_append_to_the_same_version_lose_an_update() {
    for read in ["x:", "x:7"] {
        let text = format!("3 ok x+7\n 1 begin {read} x+1\n 2 begin {read} x+2\n 1 end\n 2 end");
        for model in [Model::CursorStability, Si, Rr, Ser, Strict] {
            assert!(found(model, &text).contains(&"lost-update".into()), "{model:?} {read}");
        }
        assert_eq!(verdicts(Model::CursorStability, &lists(&text)), BOTH);
        assert_eq!(found(Rc, &text), [""; 0]);
    }
    fine("1 ok x: x+1\n 2 ok x:1 x+2");
    fine("1 fail x: x+1\n 2 ok x: x+2");
    // The read follows the append, so it is not part of a read-modify-write.
    fine("1 begin x+1 x:1\n 2 begin x:1 x+2\n 1 end\n 2 end");
}

#[test]
fn a_transaction_that_begins_after_an_append_has_ended_must_see_it() {
    strict("1 ok x+1\n 2 ok x:", &["stale-read-realtime"]);
    // The element is lost, and another one replaces it.
    let lost = "1 begin x+1\n 3 ok x+2\n 1 end\n 2 ok x:2";
    strict(lost, &["stale-read-realtime"]);
    assert_eq!(found(Ser, lost), [""; 0]);
    assert_eq!(verdicts(Strict, &lists(lost)), BOTH);
    // The order of the appends contradicts real time.
    strict("1 ok x+1\n 3 ok x+2\n 2 ok x:2", &["G0-realtime"]);
    // Another transaction has seen it, although the append has not ended.
    strict("1 begin x+1\n 2 ok x:1\n 3 ok x:\n 1 end", &["G-single-realtime"]);
    assert_eq!(verdicts(Strict, &lists("1 begin x+1\n 2 ok x:1\n 3 ok x:\n 1 end")), BOTH);
    fine("1 begin x+1\n 2 ok x:\n 3 ok x:1\n 1 end");
    fine("1 info x+1\n 2 ok x:\n 2 ok x:1");
    // An append with an unknown outcome that nobody sees may happen after the test.
    fine("1 info x+1\n 3 ok x+2\n 2 ok x:2");
}

#[test]
fn a_session_that_goes_back_breaks_causality() {
    let back = "1 begin x+1\n 2 ok x:1\n 2 ok x:\n 1 end";
    assert_eq!(found(Causal, back), ["non-monotonic-read"]);
    assert_eq!(found(Ser, back), [""; 0]);
    assert_eq!(verdicts(Model::StrongSessionSerializable, &lists(back)), BOTH);
    assert_eq!(found(Causal, "1 ok x+1\n 1 ok x:"), ["lost-own-write"]);
    assert_eq!(found(Ra, "1 begin x+1 y+1\n 2 ok y: x:1\n 1 end"), ["fractured-read"]);
    assert_eq!(found(Mav, "1 begin x+1 y+1\n 2 ok x:1 y:\n 1 end"), ["non-atomic-view"]);
    fine("1 begin x+1\n 2 ok x:\n 2 ok x:1\n 1 end");
}

#[test]
fn an_element_that_is_gone_in_the_end_is_lost_and_replicas_must_agree() {
    assert_eq!(found(Ru, "1 ok x+1\n 3 final x:\n 2 final x:"), ["lost-write"]);
    assert_eq!(found(Ru, "1 ok x+1\n 2 ok x+2\n 3 final x:2"), ["lost-write"]);
    // It was never acknowledged, but a transaction saw it.
    assert_eq!(found(Ru, "1 info x+1\n 2 ok x:1\n 3 final x:"), ["lost-write"]);
    assert_eq!(found(Ru, "1 ok x+1\n 2 final x:1\n 3 final x:"), ["divergence"]);
    fine("1 ok x+1\n 2 ok x+2\n 3 final x:1,2");
    fine("1 info x+1\n 3 final x:");
    fine("1 fail x+1\n 3 final x:");
}

#[test]
fn transactions_that_tell_nothing_about_each_other_are_no_test() {
    let only = "1 begin x+1\n 2 begin y+1\n 3 begin z:\n 1 end\n 2 end\n 3 end";
    assert_eq!(verdicts(Ser, &lists(only)), BOTH);
    let some = only.replace("z:", "x:");
    assert_eq!(verdicts(Ser, &lists(&some)), (Verdict::Valid, Verdict::Valid));
    // An append with an unknown outcome counts, too.
    let unknown = "1 info x+1\n 3 ok x:";
    assert_eq!(verdicts(Ser, &lists(unknown)), (Verdict::Valid, Verdict::Valid));
}

#[test]
fn maelstrom_does_not_judge_keys_of_several_types() {
    let mut history = History::default();
    for key in [json!(1), json!("1")] {
        let txn = json!([["append", key, 1]]);
        let begun = push(&mut history, 1, OpType::Invoke, &txn, None, false);
        push(&mut history, 1, OpType::Ok, &txn, Some(begun), false);
    }
    let results = check_lists(&history, &BTreeSet::from([Strict]));
    assert_eq!((results.valid, results.maelstrom_valid), (Verdict::Valid, Verdict::Unknown));
}

#[test]
fn findings_about_lists_are_told_in_words() {
    let cause = |model, text: &str| {
        let cause = judge_lists(model, &lists(text)).cause.unwrap();
        cause.replace('"', "").replace("the transactions show ", "")
    };
    for (text, expected) in [
        (
            "1 ok x+1\n 2 ok x:1,1",
            "duplicate-elements: op 3 of process 2 read key x = [.., 1] twice",
        ),
        (
            "1 begin x+1\n 2 begin x+2\n 3 ok x:1\n 4 ok x:2\n 1 end\n 2 end",
            "incompatible-order: op 5 of process 4 and op 3 of process 3 read x in different \
             orders",
        ),
        (
            "1 begin x+1 x+2\n 2 ok x:1\n 1 end",
            "G1b: op 2 of process 2 read key x = [.., 1], amid the appends of op 3 of process 1",
        ),
    ] {
        assert!(cause(Rc, text).starts_with(expected), "{}", cause(Rc, text));
    }
    let text = "1 begin x+1 y+1\n 2 begin x+2 y+2\n 3 ok x:1,2\n 4 ok y:2\n 1 end\n 2 end";
    let results = judge_lists(Ru, &lists(text));
    let example = &results.fields["anomalies"]["G0"][0]["cycle"];
    let words: Vec<String> = serde_json::from_value(example.clone()).unwrap();
    let mut words: Vec<String> = words.iter().map(|words| words.replace('"', "")).collect();
    words.sort_unstable();
    assert_eq!(
        words,
        [
            "op 6 wrote x = [.., 1], which came before x = [.., 2] of op 7, since op 3 read both \
             in this order",
            "op 7 wrote y = [.., 2], which came before y = [.., 1] of op 6, since op 5 read the \
             longest list, and it was not there yet",
        ]
    );
}
