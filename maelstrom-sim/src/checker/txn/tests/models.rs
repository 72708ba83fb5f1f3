//! Tests the less usual models, and that a stronger model has more findings.

use super::*;
use Model::{
    ConsistentView as Pl2Plus, CursorStability as Cursor, MonotonicSnapshotRead as Msr,
    MonotonicView as Pl2l, OneCopySerializable as OneCopy, ParallelSnapshotIsolation as Psi, Pram,
    Prefix, StrongReadCommitted as StrongRc, StrongReadUncommitted as StrongRu,
    StrongSessionReadCommitted as SessionRc, StrongSessionReadUncommitted as SessionRu,
    StrongSessionSerializable as SessionSer, StrongSessionSnapshotIsolation as SessionSi,
    StrongSnapshotIsolation as StrongSi, UpdateAtomic as Ua, ViewSerializable as ViewSer,
};

/// The models, each with those that it implies, after Elle. Causal consistency includes sessions
/// here.
pub(in super::super) const IMPLIED: &[(Model, &[Model])] = &[
    (Pram, &[Model::MonotonicReads, Model::MonotonicWrites, Model::ReadYourWrites]),
    (Model::Causal, &[Model::WritesFollowReads, Pram]),
    (Model::Sequential, &[Model::Causal]),
    (Model::Linearizable, &[Model::Sequential]),
    (SessionRu, &[Ru]),
    (StrongRu, &[SessionRu]),
    (Rc, &[Ru]),
    (SessionRc, &[Rc, SessionRu]),
    (StrongRc, &[SessionRc, StrongRu]),
    (Cursor, &[Rc]),
    (Pl2l, &[Rc]),
    (Msr, &[Rc]),
    (Mav, &[Rc]),
    (Ra, &[Mav]),
    (Ua, &[Ra]),
    (Causal, &[Ra]),
    (Prefix, &[Ra]),
    (Psi, &[Ua]),
    (Pl2Plus, &[Cursor, Pl2l]),
    (Model::ForwardConsistentView, &[Pl2Plus]),
    (Model::UpdateSerializable, &[Model::ForwardConsistentView]),
    (Si, &[Model::ForwardConsistentView, Mav, Msr, Psi, Prefix]),
    (SessionSi, &[Si, SessionRc, Causal]),
    (StrongSi, &[SessionSi, StrongRc]),
    (Rr, &[Cursor, Mav]),
    (Model::SessionSerializable, &[OneCopy]),
    (Ser, &[Rr, Si, ViewSer, Model::UpdateSerializable]),
    (SessionSer, &[Ser, SessionSi]),
    (Strict, &[SessionSer, StrongSi, Model::SessionSerializable, Model::Linearizable]),
];

/// The models with a finding.
fn finders(text: &str) -> BTreeSet<Model> {
    Model::ALL.into_iter().filter(|model| !anomalies(*model, text).is_empty()).collect()
}

/// Checks that a model finds this anomaly, possibly among others.
#[track_caller]
fn assert_found(model: Model, name: &str, text: &str) {
    let found = anomalies(model, text);
    assert!(found.iter().any(|found| found == name), "{found:?}");
}

/// Checks that exactly these models, and all that imply one of them, have a finding.
#[track_caller]
fn expect_from(weakest: &[Model], text: &str) {
    let mut expected: BTreeSet<Model> = weakest.iter().copied().collect();
    loop {
        let implies =
            |(_, weaker): &&(Model, &[Model])| weaker.iter().any(|m| expected.contains(m));
        let more: Vec<Model> = IMPLIED.iter().filter(implies).map(|(strong, _)| *strong).collect();
        let count = expected.len();
        expected.extend(more);
        if expected.len() == count {
            break;
        }
    }
    assert_eq!(finders(text), expected, "{text}");
}

const VIEW_SERIALIZABLE: [Model; 3] = [ViewSer, OneCopy, Model::SessionSerializable];

#[test]
fn an_anomaly_that_a_model_forbids_is_found_by_all_models_that_imply_it() {
    let read = "2 begin x?\n 1 fail x=1\n 3 begin y?\n 3 end\n 2 end";
    expect_from(&[], read);
    let mut weakest = VIEW_SERIALIZABLE.to_vec();
    weakest.push(Rc);
    expect_from(&weakest, "1 begin x?1\n 2 fail x=1\n 1 end");
    expect_from(&weakest, "1 begin x=1 y?1\n 2 begin y=1 x?1\n 1 end\n 2 end");
}

#[test]
fn models_of_single_operations_find_each_mistake_under_any_model() {
    let singles = Model::ALL.into_iter().filter(|model| model.is_of_single_operations());
    let singles: Vec<Model> = singles.collect();
    assert_eq!(singles.len(), 8);
    for model in singles {
        for fine in ["1 ok x=1\n 1 ok x?", "1 begin x?1\n 2 fail x=1\n 1 end"] {
            assert_eq!(anomalies(model, fine), [""; 0], "{model:?}");
        }
        let unwritten = judge(model, &history("1 ok x=1\n 1 ok x?7"));
        assert_eq!(unwritten.valid, Verdict::Invalid, "{model:?}");
        assert_eq!(unwritten.maelstrom_valid, Verdict::Valid, "{model:?}");
    }
}

#[test]
fn lost_updates_are_found_from_cursor_stability_on() {
    let text = "1 begin x? x=1\n 2 begin x? x=2\n 1 end\n 2 end";
    expect_from(&[&VIEW_SERIALIZABLE[..], &[Cursor, Ua]].concat(), text);
}

#[test]
fn write_cycles_with_sessions_or_real_time_are_found() {
    // In `session`, no known order contradicts the sessions. In `back`, the first transaction of
    // process 1 depends on its second one.
    let session = "1 ok x=1\n 1 begin x=2\n 2 ok x?2 x=3\n 2 ok x?3 y=1\n 1 end";
    expect_from(&[], session);
    let back = "2 begin x?2 x=1\n 1 begin x?1 y=1\n 3 begin y=2\n 1 end\n 1 ok x=2\n 3 end\n 2 end";
    assert_found(SessionRc, "G1c-process", back);
    expect_from(&[SessionRc, Causal], back);
    let write = "2 begin x?2 x=1 z=1\n 3 begin z?1 z=2\n 3 end\n 1 ok x=2\n 2 end";
    assert_found(StrongRu, "G0-realtime", write);
    assert_found(StrongRc, "G0-realtime", write);
    expect_from(&[StrongRu], write);
}

#[test]
fn read_skew_is_found_from_consistent_view_on() {
    let text = "1 begin x? x=1 y=1
                3 begin y?1 z=1
                2 begin z?1 x?
                1 end
                3 end
                2 end";
    assert_found(Pl2Plus, "G-single", text);
    expect_from(&[&VIEW_SERIALIZABLE[..], &[Pl2Plus, Causal, Rr]].concat(), text);
    // This model allows two anti-dependencies that are not adjacent.
    let fork = "1 begin x=1
                2 begin y=1
                3 begin x?1 y?
                4 begin y?1 x?
                1 end
                2 end
                3 end
                4 end";
    expect_from(&[&VIEW_SERIALIZABLE[..], &[Si, Rr]].concat(), fork);
}

#[test]
fn snapshots_that_are_older_than_the_session_or_the_transaction_are_found() {
    let own = "1 ok x=1\n 1 ok x?";
    assert_found(SessionSi, "lost-own-write", own);
    expect_from(&[Causal, SessionSi], own);
    // The session reads from a snapshot before its own write. No causal order reveals that.
    let fork = "1 begin x? y=1
                2 ok y? x=1
                2 ok y?
                1 end";
    assert_found(SessionSer, "G2-item", fork);
    let others = "1 ok x=1\n 2 ok x?";
    assert_found(StrongSi, "stale-read-realtime", others);
    expect_from(&[StrongSi], others);
    // All of them allow write skew.
    let skew = "1 begin x? y=1\n 2 begin y? x=1\n 1 end\n 2 end";
    expect_from(&[&VIEW_SERIALIZABLE[..], &[Rr]].concat(), skew);
}

#[test]
fn sessions_order_transactions_that_are_serializable_without_them() {
    // In its second transaction, each process misses the first write of the other.
    let text =
        "1 begin x=1\n 2 begin y=1\n 1 end\n 2 end\n 1 begin y?\n 2 begin x?\n 1 end\n 2 end";
    assert_found(SessionSer, "G-nonadjacent-process", text);
    assert_found(SessionSi, "G-nonadjacent-process", text);
    expect_from(&[SessionSi, StrongSi], text);
}

#[test]
fn models_that_are_asked_for_together_find_all_that_each_finds() {
    let text =
        "1 begin x=1\n 2 begin y=1\n 1 end\n 2 end\n 1 begin y?\n 2 begin x?\n 1 end\n 2 end";
    for others in [vec![Causal, Ser], vec![SessionRc, Ser], vec![Causal, Si, Rr]] {
        for model in [SessionSer, SessionSi] {
            let models = others.iter().copied().chain([model]).collect();
            let results = check(&history(text), &models);
            assert_eq!(results.valid, Verdict::Invalid, "{models:?}");
        }
    }
}
