//! Tests the parts of a node's own snapshot, between which the node goes on.

use super::monotonic::Whole;
use super::*;
use crate::handler::{Records as Sink, SnapshotPosition};

/// A node without a driver, and its records since it began to take a snapshot.
struct Saved<S: Values> {
    gossip: Gossip<S>,
    others: [Origin; 3],
    value: u32,
    /// The beginning of the next part. `None`: the snapshot is complete.
    next: Option<SnapshotPosition>,
    records: Vec<Vec<u8>>,
    /// The size of each part of the snapshot.
    parts: Vec<usize>,
}

fn origin(node: &str) -> Origin {
    Origin { node: node.into(), incarnation: 5 }
}

impl<S: Values> Saved<S> {
    fn new(log_bytes_max: usize) -> Self {
        let config = Config { log_bytes_max, ..Config::default() };
        let mut gossip = Gossip::new(config, S::default());
        gossip.origin = origin("n1");
        Self {
            gossip,
            others: ["n0", "n2", "n3"].map(origin),
            value: 0,
            next: Some(SnapshotPosition::default()),
            records: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Applies one more entry of the log of this node (0) or of another one, and persists it if the
    /// engine does so.
    fn grow(&mut self, log: usize) {
        let own = self.gossip.origin.clone();
        let origin = log.checked_sub(1).map_or(own.clone(), |log| self.others[log].clone());
        let entry = self.gossip.state.entry(&origin, self.value);
        self.value += 1;
        let start = self.gossip.replica.version().get(&origin);
        let run = Run { origin, start, entries: vec![entry] };
        let is_own = run.origin == own;
        let record = if is_own { RecordRef::Own(&run) } else { RecordRef::Others(&run) };
        if is_own || S::MONOTONIC {
            self.records.push(serde_json::to_vec::<RecordRef<'_, S>>(&record).unwrap());
        }
        self.gossip.apply(run, |_| ()).unwrap();
    }

    fn part(&mut self, bytes_max: usize) {
        let Some(from) = self.next else { return };
        if from == SnapshotPosition::default() {
            self.records.clear();
        }
        let mut add = |record: &[u8]| self.records.push(record.to_vec());
        let mut sink = Sink::new(&mut add);
        self.next = self.gossip.snapshot(from, bytes_max, &mut sink).unwrap();
        self.parts.push(sink.bytes());
    }

    /// The next life of the node.
    fn recovered(&self) -> Gossip<S> {
        let mut gossip = Gossip::new(self.gossip.config.clone(), S::default());
        for record in &self.records {
            gossip.recover(record).unwrap();
        }
        gossip
    }
}

/// The node appends, hears from others and drops old entries between the parts.
fn parts_bring_back_the_state<S: Values>() {
    with_seeds(100, |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut saved = Saved::<S>::new([0, 600, 4 << 20][rng.random_range(0..3)]);
        for _ in 0..rng.random_range(0..120) {
            saved.grow(rng.random_range(0..4));
        }
        while saved.next.is_some() {
            saved.part(rng.random_range(0..200));
            for _ in 0..rng.random_range(0..5) {
                saved.grow(rng.random_range(0..4));
            }
        }
        let (own, mut copy) = (saved.gossip.origin.clone(), saved.recovered());
        let (version, before) =
            (copy.replica.version().clone(), saved.gossip.replica.version().clone());
        assert_eq!(version.get(&own), before.get(&own));
        assert!(before.covers(&version));
        assert!(version != before || copy.state.values() == saved.gossip.state.values());
        assert!(!S::MONOTONIC || version == before);
        assert!(version.get(&own) == 0 || copy.origin == own);
        // It has everything that it names: with the other entries, it has all.
        match saved.gossip.replica.missing(&[&version], usize::MAX) {
            Missing::Runs { runs, .. } => {
                runs.into_iter().for_each(|run| copy.apply(run, |_| ()).unwrap());
                assert_eq!(copy.state.values(), saved.gossip.state.values());
            }
            Missing::Snapshot => assert!(!S::MONOTONIC),
        }
    });
}

#[test]
fn the_parts_of_a_snapshot_and_the_records_between_them_bring_back_the_state() {
    parts_bring_back_the_state::<Set>();
    parts_bring_back_the_state::<Whole>();
}

#[test]
fn the_parts_of_a_snapshot_of_cumulative_entries_bring_back_the_state() {
    parts_bring_back_the_state::<Sums>();
}

#[test]
fn no_part_of_a_snapshot_is_longer_than_asked_for_because_of_entries_that_are_kept() {
    let mut saved = Saved::<Set>::new(4 << 20);
    (0..2_000).for_each(|n| saved.grow(n % 4));
    while saved.next.is_some() {
        saved.part(1_000);
    }
    let longest = saved.parts.iter().max().unwrap();
    assert!(*longest < 2_000, "a part of {longest} bytes");
    // The next life keeps the same entries for other nodes.
    let kept =
        |gossip: &Gossip<Set>| gossip.replica.missing(&[&VersionVector::default()], usize::MAX);
    assert_eq!(kept(&saved.recovered()), kept(&saved.gossip));
}

/// Earlier versions wrote all kept entries in the first part, as one run of each log.
#[test]
fn a_snapshot_of_an_earlier_version_loads() {
    let mut gossip: Gossip<Set> = Gossip::new(Config::default(), Set::default());
    let run = |node, start, entries: &[u32]| {
        let entries = entries.to_vec();
        Run { origin: origin(node), start, entries }
    };
    let bases = VersionVector::from(vec![("n1".into(), 5, 2), ("n2".into(), 5, 1)]);
    let (own, others, later) = (run("n1", 2, &[6]), run("n2", 1, &[3, 5]), run("n1", 3, &[7]));
    let piece = vec![1, 2, 3, 4, 5, 6];
    let records: [RecordRef<'_, Set>; 6] = [
        RecordRef::Start(&bases),
        RecordRef::Own(&own),
        RecordRef::Others(&others),
        RecordRef::Own(&later),
        RecordRef::Piece(&piece),
        RecordRef::End,
    ];
    for record in records {
        gossip.recover(&serde_json::to_vec(&record).unwrap()).unwrap();
    }
    assert_eq!(gossip.state().values(), (1..=7).collect());
    let version = VersionVector::from(vec![("n1".into(), 5, 4), ("n2".into(), 5, 3)]);
    assert_eq!((gossip.replica().version(), gossip.origin()), (&version, &origin("n1")));
    let bases = serde_json::to_vec(&RecordRef::<Set>::Bases(&bases)).unwrap();
    assert!(gossip.recover(&bases).is_err(), "the beginning of the snapshot is missing");
}

/// An earlier life got a snapshot of a peer, which had more of this node's log.
#[test]
fn a_snapshot_names_the_log_of_its_node_even_if_no_entry_of_it_is_kept() {
    let mut saved = Saved::<Set>::new(4 << 20);
    let own = Run { origin: origin("n1"), start: 0, entries: vec![1, 2] };
    let version = VersionVector::from(vec![("n1".into(), 5, 10)]);
    let records: [RecordRef<'_, Set>; 2] = [RecordRef::Own(&own), RecordRef::Whole(&version)];
    for record in records {
        saved.gossip.recover(&serde_json::to_vec(&record).unwrap()).unwrap();
    }
    while saved.next.is_some() {
        saved.part(1_000);
    }
    assert_eq!(saved.recovered().origin(), &origin("n1"));
    assert_eq!(saved.recovered().replica().version(), &version);
}
