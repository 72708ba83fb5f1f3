//! Checks that the first cause of a verdict names the transactions that prove it.

use super::super::meaning;
use super::*;

/// Compares the headline with `expected`, which has keys without quotes.
#[track_caller]
fn headline(model: Model, text: &str, expected: &str) {
    let cause = judge(model, &history(text)).cause.unwrap();
    let (name, _) = expected.split_once(": ").unwrap();
    let meaning = format!("; {name} means that {}", meaning::of(name).unwrap());
    let finding = cause.strip_suffix(&meaning).unwrap();
    assert_eq!(finding.replace('"', ""), format!("the transactions show {expected}"), "{text}");
    assert!(finding.chars().count() <= 160, "{cause}");
    assert!(meaning.chars().count() <= 160, "{cause}");
}

#[test]
fn of_writes_that_a_transaction_must_have_seen() {
    headline(
        Causal,
        "1 ok x=1\n 1 ok x?",
        "lost-own-write: process 1 wrote key x = 1 in op 1, and then read key x = null in op 3",
    );
    headline(
        Causal,
        "2 ok x=1\n 1 ok x?1 x=2\n 1 ok y?\n 1 ok x?1",
        "lost-own-write: process 1 wrote key x = 2 in op 3, and then read key x = 1 in op 7",
    );
    headline(
        Causal,
        "1 ok x? x=1\n 2 ok x?1\n 2 ok x?",
        "non-monotonic-read: op 5 of process 2 read key x = null, though it must have seen a \
         later write: op 1 of process 1 wrote key x = 1",
    );
}

/// The operations that prove the first cause.
fn evidence(model: Model, text: &str) -> Vec<usize> {
    judge(model, &history(text)).evidence
}

#[test]
fn the_evidence_of_a_cycle_has_each_transaction_that_the_cause_names() {
    assert_eq!(evidence(Causal, "1 ok x=1\n 1 ok x?"), [1, 3]);
    assert_eq!(evidence(Causal, "2 ok x=1\n 1 ok x?1 x=2\n 1 ok y?\n 1 ok x?1"), [3, 7, 1]);
    assert_eq!(evidence(Causal, "1 ok x? x=1\n 2 ok x?1\n 2 ok x?"), [1, 5]);
    // Two processes read the writes of one key in different orders.
    let writes = "1 ok x=1\n 2 ok x=2";
    let reads = "3 ok x?1\n 3 ok x?2\n 4 ok x?2\n 4 ok x?1";
    assert_eq!(evidence(Causal, &format!("{writes}\n {reads}")), [1, 7, 3, 11]);
}

#[test]
fn of_other_cycles() {
    headline(
        Ser,
        "1 begin x? y=1\n 2 ok y? x=1\n 1 end",
        "G2-item: these depend on each other: op 3 of process 1, op 2 of process 2",
    );
}

#[test]
fn of_reads() {
    for (text, expected) in [
        (
            "1 ok x?1 x=1",
            "future-read: op 1 of process 1 read key x = 1 before it wrote that itself",
        ),
        (
            "1 ok x=1 x?",
            "internal: op 1 of process 1 read key x = null, against an earlier operation of its \
             own",
        ),
        ("1 ok x?1", "phantom-read: op 1 of process 1 read key x = 1, which nobody wrote"),
        (
            "1 ok x=1 x=2\n 2 ok x?1",
            "G1b: op 3 of process 2 read key x = 1, which op 1 of process 1 overwrote itself",
        ),
        (
            "1 fail x=1\n 2 ok x?1",
            "G1a: op 3 of process 2 read key x = 1, which op 1 of process 1 wrote, and that \
             failed",
        ),
    ] {
        headline(Ser, text, expected);
    }
    headline(
        Si,
        "1 ok x? x=1\n 2 ok x? x=2\n 3 ok x? x=3",
        "lost-update: op 1 of process 1 read key x = null and wrote the key, and so did op 3 of \
         process 2, op 5 of process 3",
    );
}

#[test]
fn of_final_reads() {
    headline(
        Ru,
        "1 ok x=1\n 2 ok x=2\n 1 final x?1\n 2 final x?2",
        "divergence: final reads differ: key x = 1 of op 5 of process 1, key x = 2 of op 7 of \
         process 2",
    );
    headline(
        Ru,
        "1 ok x=1\n 2 ok x?1 x=2\n 1 final x?1",
        "lost-write: op 5 of process 1 read key x = 1 at the end, though op 3 of process 2 wrote \
         key x = 2 later",
    );
}

#[test]
fn of_replies_that_do_not_fit() {
    let mut history = history("1 ok x=1");
    let asked = serde_json::value::to_raw_value(&json!([["w", "x", 2]])).unwrap();
    let begun = history.push(Op { value: Some(asked), ..txn(OpType::Invoke) });
    let got = serde_json::value::to_raw_value(&json!([["w", "x", 3]])).unwrap();
    history.push(Op { value: Some(got), invocation: Some(begun), ..txn(OpType::Ok) });
    assert_eq!(
        judge(Ru, &history).cause.unwrap(),
        "the transactions show altered-transaction: the reply to op 3 of process 1 does not \
         belong to it; altered-transaction means that a reply shows other operations than its \
         request has",
    );
}

fn txn(kind: OpType) -> Op {
    Op::new(Process::Client(1), kind, "txn")
}
