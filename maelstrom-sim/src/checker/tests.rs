//! Hand-written histories: for each anomaly one history that has it, and near misses that do not.

mod evidence;
mod properties;
mod scale;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::history::{History, OpType};
use crate::history::{Op, Process};
use crate::network::NetStats;
use crate::options::Availability;
use crate::results::Results;
use crate::workload::{echo, unique_ids};

/// Parses a history from lines of `time process type f [value]`, with times in ms and one event per
/// line. Operations of processes from 90 on are final.
pub(crate) fn history(text: &str) -> History {
    let mut history = History::default();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().unwrap();
        let time = Duration::from_millis(word().parse().unwrap());
        let process: u64 = word().parse().unwrap();
        let kind = match word() {
            "invoke" => OpType::Invoke,
            "ok" => OpType::Ok,
            "fail" => OpType::Fail,
            "info" => OpType::Info,
            other => panic!("{other}"),
        };
        let f = [
            "broadcast",
            "read",
            "echo",
            "generate",
            "add",
            "send",
            "poll",
            "assign",
            "crash",
            "write",
            "cas",
            "txn",
        ];
        let name = word();
        let f = f.into_iter().find(|f| *f == name).unwrap();
        let value = words.next().map(|text| serde_json::from_str(text).unwrap());
        let invocation = if kind == OpType::Invoke { None } else { open.remove(&process) };
        let op = Op {
            time,
            value,
            invocation,
            is_final: process >= 90,
            is_definite: kind == OpType::Fail,
            ..Op::new(Process::Client(process), kind, f)
        };
        let index = history.push(op);
        if kind == OpType::Invoke {
            open.insert(process, index);
        }
    }
    history
}

fn broadcast(text: &str) -> (Verdict, Value) {
    let results = set_full::check(&history(text), "broadcast");
    (results.valid, results.fields.into())
}

#[test]
fn a_value_that_later_reads_show_is_stable_with_the_latency_of_the_last_miss() {
    let (valid, results) = broadcast(
        "0 1 invoke broadcast 7
         10 1 ok broadcast 7
         20 2 invoke read
         21 2 ok read []
         30 2 invoke read
         31 2 ok read []
         40 2 invoke read
         41 2 ok read [7]",
    );
    assert_eq!(valid, Verdict::Valid);
    assert_eq!(results["stable-count"], 1);
    assert_eq!(results["stale"], json!([7]));
    // The latency is the time from the acknowledgement to the beginning of the last read that
    // missed it.
    assert_eq!(results["stable-latencies"]["1"], 20);
    assert_eq!(results["worst-stale"][0], json!({ "element": 7, "stable-latency": 20 }));
}

#[test]
fn a_value_is_known_from_its_first_sighting_if_that_is_earlier() {
    let (valid, results) = broadcast(
        "0 1 invoke broadcast 7
         1 2 invoke read
         2 2 ok read [7]
         3 3 invoke read
         4 3 ok read []
         9 2 invoke read
         9 2 ok read [7]
         10 1 ok broadcast 7",
    );
    assert_eq!((valid, &results["stable-latencies"]["1"]), (Verdict::Valid, &json!(1)));
}

#[test]
fn a_value_that_no_later_read_shows_is_lost() {
    for known in ["1 1 ok broadcast 7", "1 1 info broadcast 7\n2 3 invoke read\n2 3 ok read [7]"] {
        let (valid, results) = broadcast(&format!(
            "0 1 invoke broadcast 7
             {known}
             3 2 invoke read
             4 2 ok read []"
        ));
        assert_eq!(valid, Verdict::Invalid);
        assert_eq!(results["lost"], json!([7]));
    }
}

#[test]
fn a_read_that_began_before_the_value_was_known_loses_nothing() {
    let (valid, results) = broadcast(
        "0 1 invoke broadcast 7
         1 2 invoke read
         2 1 ok broadcast 7
         3 2 ok read []
         4 1 invoke broadcast 8
         5 1 ok broadcast 8
         6 2 invoke read
         7 2 ok read [7,8]
         8 1 invoke broadcast 9
         9 3 invoke read
         10 1 ok broadcast 9
         11 3 ok read [7,8]",
    );
    assert_eq!(valid, Verdict::Valid);
    assert_eq!(results["stale-count"], 0);
    assert_eq!(results["never-read"], json!([9]));
}

#[test]
fn a_value_whose_adding_is_not_known_may_be_missing_for_ever() {
    let (valid, results) = broadcast(
        "0 1 invoke broadcast 7
         1 1 info broadcast 7
         2 2 invoke broadcast 8
         3 2 ok broadcast 8
         4 2 invoke read
         5 2 ok read [8]",
    );
    assert_eq!((valid, &results["never-read"]), (Verdict::Valid, &json!([7])));
}

#[test]
fn a_failed_read_says_nothing() {
    let (valid, results) = broadcast(
        "0 1 invoke broadcast 7
         1 1 ok broadcast 7
         2 2 invoke read
         3 2 ok read [7]
         4 2 invoke read
         9 2 fail read",
    );
    assert_eq!((valid, &results["stable-count"]), (Verdict::Valid, &json!(1)));
}

#[test]
fn duplicates_phantoms_and_resurrected_values_are_invalid() {
    let added = "0 1 invoke broadcast 7\n1 1 ok broadcast 7\n2 2 invoke read\n";
    let (valid, results) = broadcast(&format!("{added}3 2 ok read [7,7,7]"));
    assert_eq!((valid, &results["duplicated"]), (Verdict::Invalid, &json!({ "7": 3 })));
    let (valid, results) = broadcast(&format!("{added}3 2 ok read [7,\"x\"]"));
    assert_eq!((valid, &results["phantom"]), (Verdict::Invalid, &json!(["x"])));
    let refused = added.replace(" ok ", " fail ");
    let (valid, results) = broadcast(&format!("{refused}3 2 ok read [7]"));
    assert_eq!((valid, &results["resurrected"]), (Verdict::Invalid, &json!([7])));
    let (valid, _) = broadcast(&format!("{refused}3 2 ok read []"));
    assert_eq!(valid, Verdict::Unknown);
}

#[test]
fn a_known_value_that_any_final_read_misses_has_diverged() {
    let check = |first: &str, second: &str| {
        broadcast(&format!(
            "0 1 invoke broadcast 7
             1 1 ok broadcast 7
             2 90 invoke read
             3 91 invoke read
             4 90 ok read {first}
             5 91 ok read {second}"
        ))
    };
    let (valid, results) = check("[]", "[7]");
    assert_eq!((valid, &results["diverged"]), (Verdict::Invalid, &json!([7])));
    assert_eq!(results["lost-count"], 0);
    assert_eq!(check("[7]", "[7]").0, Verdict::Valid);
    // A value that became known during the final reads may be missing in some of them.
    let (valid, results) = broadcast(
        "0 1 invoke broadcast 7
         1 1 info broadcast 7
         2 90 invoke read
         3 91 invoke read
         4 90 ok read []
         5 91 ok read [7]",
    );
    assert_eq!((valid, &results["diverged-count"]), (Verdict::Valid, &json!(0)));
}

#[test]
fn a_final_operation_without_an_answer_leaves_the_verdict_open() {
    let added = "0 1 invoke broadcast 7\n1 1 ok broadcast 7\n2 90 invoke read\n3 90 ok read [7]\n";
    let sum = "0 1 invoke add 7\n1 1 ok add 7\n2 90 invoke read\n3 90 ok read 7\n";
    let check_set = |text: &str| set_full::check(&history(text), "broadcast");
    let check_sum = |text: &str| counter::check(&history(text));
    for silent in ["", "\n5 91 info read", "\n5 91 fail read"] {
        for results in [
            check_set(&format!("{added}4 91 invoke read{silent}")),
            check_sum(&format!("{sum}4 91 invoke read{silent}")),
        ] {
            assert_eq!(results.valid, Verdict::Unknown, "{silent}");
            assert_eq!(results.fields["unanswered-final-count"], 1);
            assert_eq!(results.fields["unanswered-finals"][0]["process"], 91);
        }
    }
    // Errors still count.
    let lost = added.replace("[7]", "[]") + "4 91 invoke read";
    assert_eq!(check_set(&lost).valid, Verdict::Invalid);
    // A read before the end may fail.
    assert_eq!(check_set(&format!("{added}4 2 invoke read\n5 2 fail read")).valid, Verdict::Valid);
}

#[test]
fn quantiles_are_jepsens() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for value in 0..100 {
        write!(text, "0 1 invoke broadcast {value}\n0 1 ok broadcast {value}\n").unwrap();
    }
    // The read at `ms` misses the values from `ms` on, so value v has the latency v - 1.
    for ms in 0..=100 {
        let seen: Vec<u32> = (0..ms).collect();
        write!(text, "{ms} 2 invoke read\n{ms} 2 ok read {}\n", json!(seen)).unwrap();
    }
    let (_, results) = broadcast(&text);
    let expected = json!({ "0": 0, "0.5": 50, "0.95": 95, "0.99": 99, "1": 99 });
    assert_eq!(results["stable-latencies"], expected);
}

#[test]
fn ids_are_equal_as_json_and_unknown_if_they_cannot_be_compared() {
    let verdict = |ids: &[&str]| {
        let lines = ids.iter().map(|id| format!("0 1 invoke generate\n0 1 ok generate {id}\n"));
        unique_ids::check(&history(&lines.collect::<String>())).valid
    };
    assert_eq!(verdict(&["1", "2", "1.0", "null"]), Verdict::Valid);
    assert_eq!(verdict(&["1.0", "1.00"]), Verdict::Invalid);
    assert_eq!(verdict(&["9007199254740993.0", "9007199254740992.0"]), Verdict::Invalid);
    assert_eq!(verdict(&["[5,1]", r#"["a"]"#, "[5,2]", "null", "[]"]), Verdict::Valid);
    for mixed in [
        ["1", r#""1""#],
        ["1", "[1]"],
        ["1", "true"],
        [r#"{"a":1}"#, r#"{"a":2}"#],
        ["[5,1]", r#"[5,"2"]"#],
        ["[[1]]", "[[true]]"],
    ] {
        assert_eq!(verdict(&mixed), Verdict::Unknown, "{mixed:?}");
    }
    assert_eq!(verdict(&["1", "1"]), Verdict::Invalid);
    assert_eq!(verdict(&[r#"{"a":1,"b":2}"#, r#"{"b": 2,"a":1}"#]), Verdict::Invalid);
    assert_eq!(verdict(&[r#""\u0061""#, r#""a""#]), Verdict::Invalid);
    let long = ["100000000000000000000000000000001", "100000000000000000000000000000002"];
    assert_eq!(verdict(&long), Verdict::Valid);
    assert_eq!(verdict(&[]), Verdict::Valid);
}

#[test]
fn an_id_whose_request_failed_or_is_open_does_not_count() {
    let results = unique_ids::check(&history(
        "0 1 invoke generate
         1 1 ok generate 5
         2 1 invoke generate
         3 1 fail generate 5
         4 1 invoke generate
         5 1 info generate 5
         6 6 invoke generate",
    ));
    assert_eq!(results.valid, Verdict::Valid);
    assert_eq!(results.fields["attempted-count"], 4);
    assert_eq!(results.fields["acknowledged-count"], 1);
}

#[test]
fn an_echo_must_come_back_as_it_went() {
    let verdict =
        |end: &str| echo::check(&history(&format!("0 1 invoke echo \"a\"\n1 1 {end}"))).valid;
    assert_eq!(verdict("ok echo \"a\""), Verdict::Valid);
    assert_eq!(verdict("ok echo \"\\u0061\""), Verdict::Valid);
    assert_eq!(verdict("info echo \"a\""), Verdict::Valid);
    for bad in ["ok echo \"b\"", "ok echo null", "fail echo \"a\""] {
        assert_eq!(verdict(bad), Verdict::Invalid, "{bad}");
    }
}

#[test]
fn a_wrong_counter_is_told_with_the_sum_of_its_adds() {
    let cause = |read: &str| {
        let ops = "0 1 invoke add 10\n1 1 ok add 10\n2 2 invoke add -3\n3 2 ok add -3\n";
        counter::check(&history(&format!("{ops}4 90 invoke read\n5 90 ok {read}"))).cause
    };
    assert_eq!(
        cause("read 4").unwrap(),
        "a final read shows 4, which no sum of the adds explains: the adds that succeeded sum up to 7"
    );
    let text = "but the # adds begun by then, without the refused ones, sum up to";
    for (value, than, sign, sum) in [(11, "more", "positive", 10), (-4, "less", "negative", -3)] {
        let ops = "0 1 invoke add 10\n1 1 ok add 10\n2 2 invoke add -3\n3 2 ok add -3\n";
        let reads =
            format!("4 3 invoke read\n5 3 ok read {value}\n6 90 invoke read\n7 90 ok read 7");
        let cause = counter::check(&history(&format!("{ops}{reads}"))).cause;
        let text = text.replace('#', sign);
        let expected = format!("a read shows {than} than all adds: {value}, {text} {sum}");
        assert_eq!(cause, Some(expected));
    }
}

#[test]
fn a_counter_ends_with_the_sum_of_all_acknowledged_adds_and_maybe_the_unknown() {
    let verdict = |read: u32| {
        let results = counter::check(&history(&format!(
            "0 1 invoke add 10
             1 1 ok add 10
             2 1 invoke add 5
             3 1 info add 5
             4 2 invoke add 7
             5 2 fail add 7
             6 3 invoke add 1
             7 90 invoke read
             8 90 ok read {read}"
        )));
        assert_eq!(results.fields["acceptable"], json!([[10, 11], [15, 16]]));
        (results.valid, results.maelstrom_valid, results.cause)
    };
    for (read, expected) in [
        (9, "no sum of the adds explains: # allow no less than 10"),
        (12, "no sum of the adds explains: # allow 11 and 15 as the nearest values"),
        (24, "no sum of the adds explains: # allow no more than 16"),
        (17, "counts an add that was refused: # allow no more than 16"),
    ] {
        let text = "the adds that succeeded sum up to 10, and those of unknown outcome";
        let expected = format!("a final read shows {read}, which {expected}").replace('#', text);
        assert_eq!(verdict(read).2, Some(expected));
    }
    let verdict = |read| (verdict(read).0, verdict(read).1);
    for read in [10, 11, 15, 16] {
        assert_eq!(verdict(read), (Verdict::Valid, Verdict::Valid), "{read}");
    }
    for read in [0, 5, 9, 12, 14, 19, 24] {
        assert_eq!(verdict(read), (Verdict::Invalid, Verdict::Invalid), "{read}");
    }
    // These sums require the refused add of 7. In Maelstrom, every error leaves the outcome
    // unknown.
    for read in [17, 18, 22, 23] {
        assert_eq!(verdict(read), (Verdict::Invalid, Verdict::Valid), "{read}");
    }
}

#[test]
fn a_read_on_the_way_may_be_old_but_never_more_than_was_added() {
    let verdict = |read: u32| {
        let text = format!(
            "0 1 invoke add 3
             1 2 invoke read
             2 2 ok read {read}
             3 1 ok add 3
             4 1 invoke add 4
             5 1 ok add 4
             6 90 invoke read
             7 90 ok read 7"
        );
        counter::check(&history(&text)).valid
    };
    for (read, valid) in [(0, true), (2, true), (3, true), (4, false), (7, false)] {
        assert_eq!(verdict(read) == Verdict::Valid, valid, "{read}");
    }
}

#[test]
fn no_read_of_a_counter_may_leave_the_bounds_of_all_adds_begun() {
    for (read, figure) in [(3, None), (4, Some("too-large")), (-2, None), (-3, Some("too-small"))] {
        let results = counter::check(&history(&format!(
            "0 1 invoke add 3
             1 2 invoke add -2
             2 3 invoke read
             3 3 ok read {read}
             4 1 ok add 3
             5 2 ok add -2"
        )));
        assert_eq!(results.valid, Verdict::invalid_if(figure.is_some()), "{read}");
        assert_eq!(results.maelstrom_valid, Verdict::Valid, "{read}");
        for name in ["too-large", "too-small"] {
            let count = results.fields[name].as_array().unwrap().len();
            assert_eq!(count, usize::from(figure == Some(name)), "{read}");
        }
    }
}

fn judged(text: &str, availability: Option<Availability>) -> Results {
    let mut net = NetStats::default();
    net.servers.sent = 6;
    net.clients.sent = 9;
    let history = history(text);
    Results::judge(unique_ids::check(&history), &history, net, availability)
}

const HALF: &str = "0 1 invoke generate
    1 1 ok generate 1
    2 1 invoke generate
    3 1 fail generate";

#[test]
fn availability_is_the_fraction_of_operations_that_succeeded() {
    assert_eq!(judged(HALF, None).valid, Verdict::Valid);
    assert_eq!(judged(HALF, Some(Availability::AtLeast(0.5))).valid, Verdict::Valid);
    assert_eq!(judged(HALF, Some(Availability::AtLeast(0.51))).valid, Verdict::Invalid);
    assert_eq!(judged(HALF, Some(Availability::Total)).valid, Verdict::Invalid);
    assert_eq!(judged("", Some(Availability::Total)).valid, Verdict::Valid);
}

#[test]
fn messages_are_counted_per_operation_begun() {
    let net = judged(HALF, None).net;
    assert_eq!(net["servers"]["msgs-per-op"], 3.0);
    assert_eq!(net["clients"]["msgs-per-op"], 4.5);
    assert_eq!(net["all"]["msgs-per-op"], 7.5);
    assert!(judged("", None).net["all"].get("msgs-per-op").is_none());
}

#[test]
fn too_few_successes_are_explained_by_the_first_operation_that_did_not_succeed() {
    let text = "0 1 invoke generate
                1 1 ok generate 1
                2 1 invoke generate
                3 1 info generate";
    let cause = judged(text, Some(Availability::Total)).cause.unwrap();
    assert_eq!(cause, "only 1 of 2 operations succeeded; first error, of generate: no answer");
}

#[test]
fn a_function_that_never_succeeds_makes_the_test_invalid() {
    let results = judged("0 1 invoke generate\n1 1 info generate", None);
    assert_eq!((results.valid, &results.stats["info-count"]), (Verdict::Invalid, &json!(1)));
    let cause = "no generate succeeded; first error: none was answered";
    assert_eq!(results.cause.as_deref(), Some(cause));
}

#[test]
fn the_worst_verdict_wins_and_looks_like_maelstroms() {
    use Verdict::{Invalid, Unknown, Valid};
    assert_eq!(Verdict::merge([Valid, Unknown, Valid]), Unknown);
    assert_eq!(Verdict::merge([Unknown, Invalid, Valid]), Invalid);
    assert_eq!(Verdict::merge([]), Valid);
    assert_eq!(json!([Valid, Unknown, Invalid]), json!([true, "unknown", false]));
}
