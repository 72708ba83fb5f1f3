//! Tests the logs with examples, and their algebra with properties.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use proptest::prelude::*;

use super::*;
use crate::message::NodeId;

/// Ten bytes and the overhead of an entry.
const FOOTPRINT: usize = 58;

/// An entry that replaces all earlier ones of its origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Total(u32);

impl Entry for Total {
    const CUMULATIVE: bool = true;

    fn encoded_len(&self) -> usize {
        10
    }
}

fn origin(node: &str) -> Origin {
    Origin { node: node.into(), incarnation: 1 }
}

fn run<T>(node: &str, start: u64, entries: Vec<T>) -> Run<T> {
    Run { origin: origin(node), start, entries }
}

fn apply<T: Entry>(replica: &mut Replica<T>, run: Run<T>) -> Vec<T> {
    replica.news_in(run).map_or_else(Vec::new, |news| {
        replica.extend(&news);
        news.entries
    })
}

fn filled(lengths: &[(&str, u32)], bytes_max: usize) -> Replica<u32> {
    let mut replica = Replica::new(bytes_max);
    for (node, length) in lengths {
        for n in 0..*length {
            assert_eq!(replica.append(&origin(node), n), u64::from(n));
        }
    }
    replica
}

fn version(rows: &[(&str, u64)]) -> VersionVector {
    rows.iter().map(|(node, count)| (NodeId::from(*node), 1, *count)).collect::<Vec<_>>().into()
}

fn runs<T>(missing: Missing<T>) -> (Vec<Run<T>>, bool) {
    match missing {
        Missing::Runs { runs, cut } => (runs, cut),
        Missing::Snapshot => panic!("a snapshot is needed"),
    }
}

#[test]
fn a_run_beyond_the_end_is_ignored_and_an_overlap_counts_once() {
    let mut replica = filled(&[("a", 3)], usize::MAX);
    assert_eq!(apply(&mut replica, run("a", 4, vec![4])), [0_u32; 0]);
    assert_eq!(apply(&mut replica, run("a", 1, vec![1, 2, 3])), [3]);
    assert_eq!(apply(&mut replica, run("a", u64::MAX, vec![9, 9])), [0_u32; 0]);
    assert_eq!(apply(&mut replica, run("b", 0, vec![])), [0_u32; 0]);
    assert_eq!(replica.version(), &version(&[("a", 4)]));
}

#[test]
fn a_run_beyond_the_largest_number_is_ignored() {
    let mut replica = Replica::new(usize::MAX);
    assert_eq!(apply(&mut replica, run("a", u64::MAX, vec![Total(1)])), []);
    assert_eq!(apply(&mut replica, run("a", u64::MAX - 1, vec![Total(1), Total(2)])), []);
    assert_eq!(apply(&mut replica, run("a", u64::MAX - 1, vec![Total(1)])), [Total(1)]);
    assert_eq!(replica.version(), &version(&[("a", u64::MAX)]));
}

#[test]
fn missing_has_exactly_the_entries_that_none_of_the_others_has() {
    let replica = filled(&[("a", 2), ("b", 3), ("d", 1)], usize::MAX);
    let (one, other) = (version(&[("b", 1), ("c", 5), ("a", 1)]), version(&[("d", 9)]));
    let (found, cut) = runs(replica.missing(&[&one, &other], usize::MAX));
    assert_eq!(found, [run("a", 1, vec![1]), run("b", 1, vec![1, 2])]);
    assert!(!cut);
    let none = runs(replica.missing(&[replica.version()], usize::MAX));
    assert_eq!(none, (vec![], false));
    let from_b = runs(replica.missing_from(&origin("b"), &[&one], usize::MAX));
    assert_eq!(from_b, (vec![run("b", 1, vec![1, 2])], false));
    let from_nobody = runs(replica.missing_from(&origin("z"), &[], usize::MAX));
    assert_eq!(from_nobody, (vec![], false));
}

#[test]
fn a_batch_keeps_to_its_limit_but_always_makes_progress_and_says_whether_it_was_cut() {
    let replica = filled(&[("a", 3), ("b", 3)], usize::MAX);
    let count = |bytes_max| {
        let (runs, cut) = runs(replica.missing(&[], bytes_max));
        (runs.iter().map(|run| run.entries.len()).sum::<usize>(), cut)
    };
    assert_eq!(count(0), (1, true));
    assert_eq!(count(25), (2, true));
    assert_eq!(count(30), (3, true));
    assert_eq!(count(45), (4, true));
    assert_eq!(count(59), (5, true));
    assert_eq!(count(60), (6, false));
}

/// There are as many short entries as logs, so the names take far more bytes than the entries.
#[test]
fn the_names_of_the_logs_of_a_batch_are_bounded_as_well() {
    let mut replica = Replica::new(usize::MAX);
    for n in 0..1_000 {
        replica.append(&origin(&format!("n{n}")), Total(n));
    }
    for bytes_max in [1, 5_000, 20_000, 1 << 20] {
        let (mut have, mut batches) = (VersionVector::default(), 0);
        loop {
            let (spans, cut) = replica.lacking(&[&have], bytes_max).unwrap();
            let bytes = |span: &Span| replica.encode(span).unwrap().len() + 1;
            let bytes: usize = spans.iter().map(bytes).sum();
            assert!(bytes <= bytes_max + bytes_max.max(NAMES_BYTES_MIN), "{bytes}, {bytes_max}");
            spans.iter().for_each(|span| have.raise(&span.origin, span.end));
            batches += 1;
            if !cut {
                break;
            }
        }
        assert_eq!(&have, replica.version());
        assert_eq!(batches == 1, bytes_max == 1 << 20, "{batches} of {bytes_max}");
    }
}

#[test]
fn old_entries_are_trimmed_and_a_peer_that_lacks_one_of_them_needs_a_snapshot() {
    let mut replica = filled(&[("a", 8), ("b", 1)], 8 * FOOTPRINT);
    // The ninth entry exceeded the limit: the older half of each log was dropped, but no last
    // entry.
    assert_eq!(replica.log_bytes(), 5 * FOOTPRINT);
    assert_eq!(replica.version(), &version(&[("a", 8), ("b", 1)]));
    assert_eq!(replica.missing(&[], usize::MAX), Missing::Snapshot);
    assert_eq!(replica.missing(&[&version(&[("a", 3)])], usize::MAX), Missing::Snapshot);
    let from = |have: &[(&str, u64)]| runs(replica.missing(&[&version(have)], usize::MAX)).0;
    assert_eq!(from(&[("a", 4)]), [run("a", 4, vec![4, 5, 6, 7]), run("b", 0, vec![0])]);
    assert_eq!(from(&[("a", 7), ("b", 1)]), [run("a", 7, vec![7])]);
    assert_eq!(replica.append(&origin("a"), 8), 8);
    assert_eq!(replica.log_bytes(), 6 * FOOTPRINT);
}

#[test]
fn the_only_entry_of_a_log_is_never_trimmed() {
    let replica = filled(&[("a", 1), ("b", 1), ("c", 5)], 0);
    let (kept, _) = runs(replica.missing(&[&version(&[("c", 4)])], usize::MAX));
    assert_eq!(kept, [run("a", 0, vec![0]), run("b", 0, vec![0]), run("c", 4, vec![4])]);
    assert_eq!(replica.log_bytes(), 3 * FOOTPRINT);
}

/// An entry of any size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bulk(usize);

impl Entry for Bulk {
    fn encoded_len(&self) -> usize {
        self.0
    }
}

#[test]
fn an_entry_larger_than_the_limit_leaves_room_for_the_logs_of_others() {
    const LIMIT: usize = 100 * FOOTPRINT;
    let mut replica = Replica::new(LIMIT);
    replica.append(&origin("big"), Bulk(10 * LIMIT));
    for nth in 1..=1_000 {
        replica.append(&origin("small"), Bulk(10));
        // A peer that lacks the last few entries gets these, and no snapshot.
        let behind = version(&[("big", 1), ("small", nth.max(10) - 10)]);
        let missing = replica.missing(&[&behind], usize::MAX);
        let Missing::Runs { runs, .. } = missing else { panic!("a snapshot after {nth} entries") };
        assert_eq!(runs.iter().map(|run| run.entries.len()).sum::<usize>() as u64, nth.min(10));
        let big = 10 * LIMIT + ENTRY_OVERHEAD_BYTES;
        assert!(replica.log_bytes() <= big + LIMIT, "{}", replica.log_bytes());
    }
    // Once its origin has a newer entry, the large entry can be dropped like any other.
    replica.append(&origin("big"), Bulk(10));
    assert!(replica.log_bytes() <= LIMIT, "{}", replica.log_bytes());
}

#[test]
fn the_largest_log_is_trimmed_first() {
    let mut replica = filled(&[("a", 90), ("b", 4)], 95 * FOOTPRINT);
    replica.append(&origin("b"), 4);
    replica.append(&origin("b"), 5);
    let bases: Vec<u64> = ["a", "b"].map(|node| replica.bases().get(&origin(node))).to_vec();
    assert_eq!(bases, [45, 0]);
}

#[test]
fn with_a_snapshot_come_the_entries_that_it_covers_and_no_more() {
    let mut replica = filled(&[("a", 3), ("b", 5)], usize::MAX);
    let snapshot = version(&[("a", 9), ("b", 4), ("c", 7)]);
    replica.advance(&snapshot);
    assert_eq!(replica.version(), &version(&[("a", 9), ("b", 5), ("c", 7)]));
    // A log that was skipped has no entries to send. The others are as before.
    assert_eq!(replica.log_bytes(), 5 * FOOTPRINT);
    assert_eq!(replica.missing(&[&version(&[("a", 3), ("c", 7)])], 0), Missing::Snapshot);
    let (rest, _) = runs(replica.missing(&[&snapshot], usize::MAX));
    assert_eq!(rest, [run("b", 4, vec![4])]);
    // And the log continues from there.
    assert_eq!(apply(&mut replica, run("a", 8, vec![8, 9])), [9]);
    let (rest, _) = runs(replica.missing(&[&snapshot], usize::MAX));
    assert_eq!(rest, [run("a", 9, vec![9]), run("b", 4, vec![4])]);
}

#[test]
fn of_cumulative_entries_the_newest_is_kept_and_enough_for_everyone() {
    let mut replica = Replica::new(0);
    for n in 0..5 {
        replica.append(&origin("a"), Total(n));
    }
    assert_eq!(replica.log_bytes(), FOOTPRINT);
    let newest = run("a", 4, vec![Total(4)]);
    for have in [vec![], vec![("a", 2)], vec![("a", 4)]] {
        let (found, _) = runs(replica.missing(&[&version(&have)], usize::MAX));
        assert_eq!(found, std::slice::from_ref(&newest));
    }
    let mut other = Replica::new(0);
    assert_eq!(apply(&mut other, newest.clone()), [Total(4)]);
    assert_eq!(other.version(), replica.version());
    assert_eq!(apply(&mut other, newest), []);
    assert_eq!(apply(&mut other, run("a", 1, vec![Total(1)])), []);
    assert_eq!(apply(&mut other, run("a", 3, vec![Total(3), Total(4), Total(5)])), [Total(5)]);
    assert_eq!(other.log_bytes(), FOOTPRINT);
}

#[test]
fn a_version_vector_has_a_compact_form_and_survives_a_repeated_row() {
    let replica = filled(&[("a", 2)], usize::MAX);
    let text = serde_json::to_string(replica.version()).unwrap();
    assert_eq!(text, r#"[["a",1,2]]"#);
    let twice: VersionVector =
        serde_json::from_str(r#"[["a",1,1],["a",1,2],["a",1,0],["b",1,0]]"#).unwrap();
    assert_eq!(&twice, replica.version());
}

/// A replica that holds a prefix of each of three logs. The entries of a log are their numbers.
fn replicas() -> impl Strategy<Value = Replica<u32>> {
    proptest::array::uniform3(0u32..5)
        .prop_map(|n| filled(&[("a", n[0]), ("b", n[1]), ("c", n[2])], usize::MAX))
}

fn merged(mut into: Replica<u32>, from: &Replica<u32>) -> Replica<u32> {
    for run in runs(from.missing(&[into.version()], usize::MAX)).0 {
        apply(&mut into, run);
    }
    into
}

fn state(replica: &Replica<u32>) -> (VersionVector, Vec<Run<u32>>, usize) {
    let all = runs(replica.missing(&[], usize::MAX)).0;
    (replica.version().clone(), all, replica.log_bytes())
}

fn vectors() -> impl Strategy<Value = VersionVector> {
    let row = (prop::sample::select(vec!["a", "b", "c"]), 0..2_u64, 0..4_u64);
    proptest::collection::vec(row, 0..6).prop_map(|rows| {
        let rows = rows.into_iter().map(|(node, life, count)| (node.into(), life, count));
        rows.collect::<Vec<_>>().into()
    })
}

fn joined(a: &VersionVector, b: &VersionVector) -> VersionVector {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        a in replicas(), b in replicas(), c in replicas(),
    ) {
        let ab = merged(a.clone(), &b);
        prop_assert_eq!(state(&ab), state(&merged(b.clone(), &a)));
        let left = merged(ab.clone(), &c);
        let right = merged(a.clone(), &merged(b.clone(), &c));
        prop_assert_eq!(state(&left), state(&right));
        prop_assert_eq!(state(&merged(ab.clone(), &ab)), state(&ab));
        prop_assert_eq!(ab.version(), &joined(a.version(), b.version()));
    }

    #[test]
    fn joining_version_vectors_gives_the_least_that_covers_both(
        a in vectors(), b in vectors(), c in vectors(),
    ) {
        let ab = joined(&a, &b);
        prop_assert_eq!(&ab, &joined(&b, &a));
        prop_assert_eq!(joined(&ab, &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(&joined(&ab, &ab), &ab);
        prop_assert!(ab.covers(&a) && ab.covers(&b));
        prop_assert_eq!(c.covers(&ab), c.covers(&a) && c.covers(&b));
        prop_assert_eq!(a.covers(&b), ab == a);
    }

    /// The runs are cut anywhere and arrive in any order, some never and some several times. Then
    /// the missing entries arrive in batches.
    #[test]
    fn whatever_comes_in_whatever_order_the_rest_makes_the_same_replica(
        lengths in proptest::array::uniform3(0u32..9),
        cuts in proptest::collection::vec((0..3_usize, 0..9_u32, 0..5_u32), 0..30),
        bytes_max in 0..100_usize,
    ) {
        let names = ["a", "b", "c"];
        let rows: Vec<_> = names.into_iter().zip(lengths).collect();
        let from = filled(&rows, usize::MAX);
        let mut into = Replica::new(usize::MAX);
        for (which, start, length) in cuts {
            let end = (start.saturating_add(length)).min(lengths[which]);
            let before = into.version().get(&origin(names[which]));
            let new = apply(&mut into, run(names[which], u64::from(start), (start..end).collect()));
            prop_assert!(new.iter().map(|n| u64::from(*n)).eq((before..).take(new.len())));
            prop_assert!(from.version().covers(into.version()));
        }
        loop {
            let (runs, cut) = runs(from.missing(&[into.version()], bytes_max));
            prop_assert_eq!(runs.is_empty(), into.version() == from.version());
            let nothing_left = runs.is_empty();
            for run in runs {
                let count = run.entries.len();
                prop_assert_eq!(apply(&mut into, run).len(), count);
            }
            prop_assert_eq!(cut, into.version() != from.version());
            if nothing_left {
                break;
            }
        }
        prop_assert_eq!(state(&into), state(&from));
    }

    /// Compared with the full logs: the returned entries are correct, and a snapshot is requested
    /// only if it is necessary.
    #[test]
    fn a_trimmed_replica_gives_the_same_as_the_full_one_or_asks_for_a_snapshot(
        appends in proptest::collection::vec(0..3_usize, 0..60),
        have in proptest::array::uniform3(0..30_u64),
        entries_max in 0..20_usize,
    ) {
        let (mut full, mut trimmed) = (Replica::new(usize::MAX), Replica::new(entries_max * FOOTPRINT));
        for (n, which) in (0_u32..).zip(appends) {
            let origin = origin(["a", "b", "c"][which]);
            prop_assert_eq!(full.append(&origin, n), trimmed.append(&origin, n));
            prop_assert!(trimmed.log_bytes() <= entries_max.max(3) * FOOTPRINT);
        }
        prop_assert_eq!(full.version(), trimmed.version());
        let have = version(&[("a", have[0]), ("b", have[1]), ("c", have[2])]);
        match trimmed.missing(&[&have], usize::MAX) {
            Missing::Snapshot => {
                prop_assert!(full.log_bytes() > entries_max * FOOTPRINT);
                prop_assert!(!have.covers(full.version()));
            }
            missing => prop_assert_eq!(missing, full.missing(&[&have], usize::MAX)),
        }
    }
}
