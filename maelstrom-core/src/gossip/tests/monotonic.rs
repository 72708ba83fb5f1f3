//! Tests a monotonic state: complete snapshots, and records of all applied entries.

use std::collections::BTreeSet;

use serde_json::json;

use super::states::NONSENSE;
use super::*;

/// Like a [`Set`], but expects complete snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Whole {
    set: Set,
    pub(super) snapshots: usize,
    /// How many pieces have been joined, and of how many. The state shows none of them yet.
    joined: (usize, usize),
}

impl State for Whole {
    type Entry = u32;
    /// Its position, whether it is the last one, and its values.
    type Piece = (u64, bool, Vec<u32>);

    const MONOTONIC: bool = true;

    fn check(&self, _origin: &Origin, entries: &[u32]) -> Result<(), Error> {
        assert!(!entries.is_empty());
        match entries.contains(&NONSENSE) {
            true => Err(Error::malformed_request("nonsense")),
            false => Ok(()),
        }
    }

    fn apply(&mut self, origin: &Origin, entries: Vec<u32>) {
        self.set.apply(origin, entries);
    }

    fn piece(&self, position: u64, bytes_max: usize) -> (Self::Piece, Option<u64>) {
        let (values, next) = self.set.piece(position, bytes_max);
        ((position, next.is_none(), values), next)
    }

    fn bytes(&self) -> usize {
        self.set.bytes()
    }

    fn merge_step(&mut self, pieces: &[Self::Piece]) -> Result<bool, Error> {
        let (joined, of) = self.joined;
        assert!(joined == 0 || of == pieces.len(), "another snapshot comes in between");
        self.joined = (joined + 1, pieces.len());
        if joined + 1 < pieces.len() {
            return Ok(false);
        }
        self.joined = (0, 0);
        self.merge(pieces.to_vec()).map(|()| true)
    }

    fn merge(&mut self, pieces: Vec<Self::Piece>) -> Result<(), Error> {
        assert_eq!(pieces.first().map(|piece| piece.0), Some(0), "the first is missing");
        assert!(pieces.windows(2).all(|pair| pair[0].0 < pair[1].0 && !pair[0].1));
        assert_eq!(pieces.last().map(|piece| piece.1), Some(true), "the last is missing");
        self.snapshots += 1;
        self.set.merge(pieces.into_iter().map(|piece| piece.2).collect())
    }
}

impl Values for Whole {
    fn entry(&self, _origin: &Origin, value: u32) -> u32 {
        value
    }

    fn values(&self) -> BTreeSet<u32> {
        self.set.values()
    }

    fn applied(&self) -> BTreeSet<u32> {
        self.set.applied()
    }

    fn is_within(&self, all: &BTreeSet<u32>) -> bool {
        self.set.is_within(all)
    }

    fn len(&self) -> usize {
        self.set.len()
    }
}

#[test]
fn snapshots_are_whole_and_no_node_that_comes_back_with_its_records_has_less_than_before() {
    let snapshots = std::cell::Cell::new(0);
    with_seeds(6, |seed| {
        let mut cluster: Cluster<Whole> = any_cluster(seed);
        for _ in 0..8 {
            cut_anything(&mut cluster, 0.3);
            cluster.append_anywhere(4);
            let pause = cluster.rng.random_range(0..1_500);
            cluster.run_for(ms(pause));
            let index = cluster.rng.random_range(0..cluster.size());
            let (values, version) = (cluster.values(index), cluster.version(index).clone());
            snapshots.update(|count| count + cluster.engine(index).state().snapshots);
            cluster.restart(index, Records::All);
            assert_eq!(cluster.values(index), values, "n{index}");
            assert_eq!(cluster.version(index), &version, "n{index}");
        }
        calm_down(&mut cluster);
        cluster.run_for(bound(&cluster));
        cluster.assert_converged();
    });
    assert!(snapshots.get() > 5, "{} snapshots", snapshots.get());
}

/// A node that lacks everything gets it in pieces, while more values are appended.
#[test]
fn a_snapshot_counts_for_all_that_its_sender_had_at_its_end() {
    let config = Config { batch_bytes_max: 0, log_bytes_max: 0, ..Config::default() };
    let mut cluster: Cluster<Whole> = Cluster::new(1, 2, config, steady(10));
    for _ in 0..500 {
        cluster.append(0);
    }
    cluster.run_for(secs(20));
    cluster.restart(1, NO_RECORDS);
    cluster.run_until(secs(5), |cluster| cluster.pieces_sent > 60);
    for _ in 0..50 {
        cluster.append(0);
        cluster.run_for(ms(5));
    }
    cluster.run_for(secs(20));
    cluster.assert_converged();
    assert_eq!(cluster.engine(1).state().snapshots, 1);
}

#[test]
fn a_node_begins_a_log_in_each_life_whatever_it_has_heard_of_its_earlier_lives() {
    let mut cluster: Cluster<Whole> = Cluster::new(1, 3, Config::default(), steady(10));
    cluster.append(1);
    cluster.run_for(secs(5));
    // The other nodes return the log of its first life to it, after it has begun the second one.
    cluster.restart(1, NO_RECORDS);
    cluster.append(1);
    let origin = cluster.engine(1).origin.clone();
    cluster.run_for(secs(5));
    cluster.assert_converged();
    cluster.restart(1, Records::All);
    assert_ne!(cluster.engine(1).origin, origin);
    cluster.append(1);
    cluster.run_for(secs(5));
    cluster.assert_converged();
    assert_eq!(cluster.values(0).len(), 3);
}

#[test]
fn a_node_that_has_its_records_is_not_told_their_entries_again() {
    let mut cluster: Cluster<Whole> = Cluster::new(1, 3, Config::default(), steady(10));
    for _ in 0..50 {
        cluster.append_anywhere(1);
        cluster.run_for(ms(100));
    }
    cluster.run_for(secs(5));
    cluster.restart(2, Records::All);
    (cluster.entries_sent, cluster.fetches_sent) = (0, 0);
    cluster.run_for(secs(20));
    cluster.assert_converged();
    // It must ask whether others have its own log.
    assert!(cluster.entries_sent <= 50, "{} entries", cluster.entries_sent);
    assert_eq!(cluster.fetches_sent, 0);
}

#[test]
fn an_entry_that_makes_no_sense_is_refused_and_leaves_no_record() {
    let mut cluster: Cluster<Whole> = Cluster::new(1, 2, Config::default(), steady(10));
    cluster.append(0);
    cluster.append(1);
    cluster.run_for(secs(10));
    let (values, version) = (cluster.values(0), cluster.version(0).clone());
    let run = |node: &str, entries: &[u32]| {
        let origin = json!({"node": node, "incarnation": 1});
        json!({"origin": origin, "start": 0, "entries": entries})
    };
    let runs = [run("n7", &[70]), run("n8", &[80, NONSENSE]), run("n9", &[90])];
    let body = json!({"type": "gossip", "msg_id": 9, "life": cluster.engine(1).life, "sent": 5, "view": 1,
        "have": cluster.engine(1).replica.version(), "runs": runs});
    let answer = cluster.hear(0, &name(1), &body.to_string());
    assert!(answer[0].contains(r#""type":"error","in_reply_to":9,"code":12"#), "{answer:?}");
    // The entries of the other logs are accepted.
    assert_eq!(cluster.values(0), &values | &BTreeSet::from([70, 90]));
    let origin = |node: &str| Origin { node: node.into(), incarnation: 1 };
    assert_eq!(cluster.version(0).get(&origin("n8")), 0);
    assert_eq!(cluster.version(0).get(&origin("n9")), 1);
    assert!(cluster.version(0).covers(&version));
    let values = cluster.values(0);
    cluster.restart(0, Records::All);
    assert_eq!(cluster.values(0), values);
}
