//! Tests of the map by example, and against sets of transactions.
#![expect(clippy::arithmetic_side_effects, reason = "an overflow makes a test fail, and shall")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::value::RawValue;

use maelstrom_core::LINE_BYTES_MAX;

use super::*;

fn origin(n: usize) -> Origin {
    Origin { node: format!("n{n}").into(), incarnation: 1 }
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

/// A transaction of node 9 with these dependencies, which writes one value to some keys.
fn upon(clock: u64, after: &[(usize, u64)], keys: &[&str], value: &str) -> Transaction {
    let rows = after.iter().map(|(n, clock)| (origin(*n).node, 1, *clock));
    let writes = keys.iter().map(|key| (raw(key).into(), raw(value).into()));
    Transaction::new(clock, rows.collect::<Vec<_>>().into(), writes.collect())
}

fn contents(map: &Registers) -> BTreeMap<String, String> {
    map.iter().map(|(key, value, _)| (key.text().to_owned(), value.text().to_owned())).collect()
}

fn read(map: &Registers, key: &str) -> Option<String> {
    map.get(&raw(key).into()).map(|value| value.text().to_owned())
}

/// A whole map, in pieces of about `bytes_max` bytes.
fn pieces(map: &Registers, bytes_max: usize) -> Vec<Piece> {
    let (mut pieces, mut position) = (Vec::new(), Some(0));
    while let Some(at) = position {
        let (piece, next) = map.piece(at, bytes_max);
        assert!(next.is_none_or(|next| next > at), "it goes on");
        pieces.push(piece);
        position = next;
    }
    pieces
}

#[test]
fn a_transaction_waits_for_its_causes_and_then_shows_whole() {
    let mut map = Registers::default();
    map.apply(&origin(2), vec![upon(2, &[(1, 1)], &["1", "2"], "20")]);
    map.apply(&origin(3), vec![upon(3, &[(2, 2)], &["1"], "30"), upon(4, &[], &["3"], "31")]);
    assert_eq!((map.len(), map.held(), map.clock()), (0, 3, 0));
    map.apply(&origin(1), vec![upon(1, &[], &["2"], "10")]);
    assert_eq!((map.held(), map.clock()), (0, 4));
    let expected = [("1", "30"), ("2", "20"), ("3", "31")];
    assert_eq!(contents(&map), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[test]
fn the_larger_clock_wins_and_then_the_later_name_in_whatever_order_they_come() {
    let all = [
        (1, upon(1, &[], &["1", "2"], "10")),
        (2, upon(1, &[], &["1"], "20")),
        (3, upon(1, &[], &["3"], "30")),
        (4, upon(2, &[(3, 1)], &["2"], "40")),
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let mut map = Registers::default();
        for at in order {
            let (n, transaction) = &all[at];
            map.apply(&origin(*n), vec![transaction.clone()]);
        }
        let got = ["1", "2", "3"].map(|key| read(&map, key).unwrap());
        assert_eq!(got, ["20", "40", "30"], "{order:?}");
    }
}

#[test]
fn events_are_counted_and_a_merge_keeps_the_counts() {
    let mut map = Registers::with_held_bytes_max(1);
    map.apply(&origin(1), vec![upon(1, &[], &["1"], "10")]);
    assert_eq!(map.counts(), Counts::default());
    map.apply(&origin(0), vec![upon(1, &[], &["1"], "0")]);
    let expected = Counts { lost: 1, ties: 1, ..Counts::default() };
    assert_eq!(map.counts(), expected);
    map.apply(&origin(2), vec![upon(5, &[(3, 4)], &["2"], "20")]);
    let expected = Counts { held: 1, folds: 1, ..expected };
    assert_eq!(map.counts(), expected);
    // It shows the held transaction, and holds another one.
    let mut other = Registers::default();
    other.apply(&origin(3), vec![upon(4, &[], &["1"], "30")]);
    other.apply(&origin(2), vec![upon(5, &[(3, 4)], &["2"], "20")]);
    other.apply(&origin(4), vec![upon(9, &[(5, 8)], &["3"], "40")]);
    map.merge(pieces(&other, 1)).unwrap();
    assert_eq!(map.held(), 1);
    let expected = Counts { shown: 1, brought: 1, folds: 2, ..expected };
    assert_eq!(map.counts(), expected);
}

#[test]
fn a_clock_that_follows_from_nothing_is_refused() {
    let mut map = Registers::default();
    map.apply(&origin(1), vec![upon(1, &[], &["1"], "1")]);
    let check = |n, all: &[Transaction]| map.check(&origin(n), all).is_ok();
    assert!(check(1, &[upon(2, &[], &["1"], "1"), upon(3, &[], &["1"], "1")]));
    assert!(check(2, &[upon(8, &[(1, 7)], &["1"], "1")]), "its dependency may still come");
    for clock in [0, 3, 1 << 40, u64::MAX] {
        let is_new = clock > 1;
        assert_eq!(check(1, &[upon(clock, &[], &["1"], "1")]), !is_new, "{clock}");
        let late = [upon(2, &[], &["1"], "1"), upon(clock, &[], &["1"], "1")];
        assert_eq!(check(1, &late), clock <= 3, "{clock}");
    }
    assert!(!check(2, &[upon(u64::MAX, &[(1, u64::MAX)], &["1"], "1")]));
    // A transaction with a dependency that will never come waits for ever, and raises no clock.
    let far = vec![upon(CLOCK_MAX, &[(7, CLOCK_MAX - 1)], &["1"], "1")];
    assert!(check(2, &far) && !check(2, &[upon(CLOCK_MAX + 1, &[(7, CLOCK_MAX)], &["1"], "1")]));
    map.apply(&origin(2), far);
    assert_eq!((map.clock(), map.held()), (1, 1));
    // It does not keep another node from merging a snapshot, either.
    let mut other = Registers::default();
    other.merge(pieces(&map, 1)).unwrap();
    assert_eq!((other.clock(), other.held()), (1, 1));
}

/// Nodes of all versions use these names, whatever the names of the fields are.
#[test]
fn a_piece_has_fixed_names_on_the_wire() {
    let text = concat!(
        r#"{"registers":[[1,5,2,"n1",1]],"held":[["n2",1,{"clock":3,"after":[["n3",1,2]],"#,
        r#""writes":[[1,6,3]],"folded":true}]],"shown":[["n1",1,2]]}"#
    );
    let piece: Piece = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&piece).unwrap(), text);
}

#[test]
fn a_snapshot_that_makes_no_sense_is_refused_and_changes_nothing() {
    let mut map = Registers::default();
    map.apply(&origin(1), vec![upon(1, &[], &["1"], "1")]);
    let before = contents(&map);
    let visible = |clock| VectorClock::from(vec![(origin(2).node, 1, clock)]);
    let row = |clock| (raw("1").into(), raw("66").into(), clock, origin(2).node, 1);
    let good = Piece { registers: vec![row(2)], held: Vec::new(), visible: Some(visible(2)) };
    let held = |clock, after: &[_], keys: &[_], value| {
        HeldTransaction::new(&upon(clock, after, keys, value))
    };
    let far = held(CLOCK_MAX + 1, &[], &["1"], "1");
    let early = held(2, &[(1, 2)], &["1"], "1");
    let (empty, null) = (held(2, &[], &[], "1"), held(2, &[], &["1"], "null"));
    let mut odd = held(2, &[], &["1"], "1");
    odd.writes[0].2 = 3;
    let mut twice = held(2, &[], &["1", "2"], "1");
    twice.writes[1].0 = raw("1").into();
    let mut refused = |pieces: Vec<Piece>| {
        assert!(map.merge(pieces).is_err());
        assert_eq!((contents(&map), map.clock()), (before.clone(), 1));
    };
    refused(vec![]);
    refused(vec![Piece { visible: None, ..good.clone() }]);
    let of_null = (raw("1").into(), raw("null").into(), 2, origin(2).node, 1);
    refused(vec![Piece { registers: vec![of_null], ..good.clone() }]);
    refused(vec![Piece { registers: vec![row(2), row(3)], ..good.clone() }]);
    refused(vec![Piece { registers: vec![row(3)], visible: None, ..good.clone() }, good.clone()]);
    for clock in [CLOCK_LEAP_MAX + 2, CLOCK_MAX + 1, u64::MAX] {
        refused(vec![Piece { visible: Some(visible(clock)), ..good.clone() }]);
    }
    for held in [far, early, empty, null, odd, twice] {
        refused(vec![Piece { held: vec![(origin(3).node, 1, held)], ..good.clone() }]);
    }
    map.merge(vec![good]).unwrap();
    assert_eq!((read(&map, "1").unwrap(), map.clock()), ("66".to_owned(), 2));
}

#[test]
fn held_transactions_take_no_more_than_their_keys_and_last_values() {
    let large = format!("\"{}\"", "x".repeat(HELD_BYTES_MAX / 8));
    let mut map = Registers::default();
    for clock in 2..100 {
        let after: &[_] = if clock == 2 { &[(1, 1)] } else { &[] };
        map.apply(&origin(2), vec![upon(clock, after, &["1"], &large)]);
        assert!(map.held.bytes() <= 2 * HELD_BYTES_MAX);
    }
    map.apply(&origin(2), vec![upon(100, &[], &["1"], "5")]);
    assert!(map.held() < 10, "{}", map.held());
    let mut other = Registers::default();
    other.merge(pieces(&map, 1)).unwrap();
    for mut map in [map, other] {
        assert_eq!(read(&map, "1"), None);
        map.apply(&origin(1), vec![upon(1, &[], &["2"], "7")]);
        assert_eq!((read(&map, "1"), map.held()), (Some("5".to_owned()), 0));
        assert_eq!((map.clock(), map.held.bytes(), map.changes.len()), (100, 0, 2));
    }
}

/// Two held logs that depend on each other.
fn entangled(value: &str, end: u64) -> [Vec<Transaction>; 2] {
    let mut logs = [vec![upon(2, &[(1, 1)], &["1"], value)], vec![]];
    for clock in 3..end {
        let (of, after) = if clock % 2 == 0 { (0, 3) } else { (1, 2) };
        logs[of].push(upon(clock, &[(after, clock - 1)], &["1", "2"], value));
    }
    logs
}

#[test]
fn folded_logs_that_need_each_other_are_shown_in_the_end_and_at_once() {
    let mut map = Registers::with_held_bytes_max(1_000);
    for (n, log) in (2..).zip(entangled("5", 40)) {
        map.check(&origin(n), &log).unwrap();
        map.apply(&origin(n), log);
    }
    assert!(map.folds() > 0);
    // A transaction that still misses a dependency does not delay the others.
    map.apply(&origin(3), vec![upon(50, &[(4, 49)], &["3"], "6")]);
    let mut other = Registers::default();
    other.merge(pieces(&map, 1)).unwrap();
    for mut map in [map, other] {
        assert_eq!((map.clock(), map.len()), (0, 0));
        map.apply(&origin(1), vec![upon(1, &[], &["9"], "7")]);
        assert_eq!((map.held(), map.clock(), map.changes.len()), (1, 39, 4));
        assert_eq!(map.counts().together, 1);
        assert_eq!(read(&map, "3"), None);
    }
}

#[test]
fn folding_takes_time_that_grows_with_the_waiting_entries_and_not_with_their_square() {
    let mut map = Registers::with_held_bytes_max(10_000);
    let mut apply = |clock, after: &[_], key: u64| {
        map.apply(&origin(2), vec![upon(clock, after, &[&key.to_string()], "5")]);
        map.folds()
    };
    apply(2, &[(1, 1)], 0);
    // New keys: each folding handles twice as much as the one before.
    let folds = (3..10_000).map(|clock| apply(clock, &[], clock)).max().unwrap();
    assert!((3..20).contains(&folds), "{folds}");
    // The same keys: the next folding comes when the size has doubled.
    let more = (10_000..20_000).map(|clock| apply(clock, &[], clock - 10_000)).max().unwrap();
    assert!((folds + 1..folds + 4).contains(&more), "{more}");
    // After all of them have become visible, folding begins at the first limit again.
    map.apply(&origin(1), vec![upon(1, &[], &["9"], "7")]);
    assert_eq!(map.held(), 0);
    let after = map.folds();
    map.apply(&origin(2), vec![upon(30_001, &[(1, 30_000)], &["1"], "5")]);
    for clock in 30_002..30_300 {
        map.apply(&origin(2), vec![upon(clock, &[], &["1"], "5")]);
    }
    assert!(map.folds() > after, "{}", map.folds());
}

#[test]
fn a_folded_transaction_can_be_sent() {
    let large = format!("\"{}\"", "x".repeat(LINE_BYTES_MAX / 8));
    let mut map = Registers::with_held_bytes_max(0);
    for clock in 2..10 {
        let after: &[_] = if clock == 2 { &[(1, 1)] } else { &[] };
        map.apply(&origin(2), vec![upon(clock, after, &[&clock.to_string()], &large)]);
    }
    map.apply(&origin(2), vec![upon(10, &[], &["9"], "5")]);
    assert!((3..8).contains(&map.held()), "{}", map.held());
    for piece in pieces(&map, 1) {
        assert!(serde_json::to_string(&piece).unwrap().len() <= LINE_BYTES_MAX / 2 + 100);
    }
    map.apply(&origin(1), vec![upon(1, &[], &["2"], "7")]);
    assert_eq!((map.held(), map.len(), map.clock()), (0, 8, 10));
    assert_eq!(read(&map, "9").unwrap(), "5");
}

#[test]
fn memory_grows_with_keys_and_not_with_transactions() {
    let mut map = Registers::default();
    for clock in 1..10_000 {
        map.apply(&origin(1), vec![upon(clock, &[], &["1", "2"], "5")]);
    }
    assert_eq!(
        (map.len(), map.changes.len(), map.visible.clone()),
        (2, 2, {
            let mut visible = VectorClock::default();
            visible.raise(&origin(1), 9_999);
            visible
        })
    );
}

/// An event at some replicas.
#[derive(Clone, Debug)]
enum Step {
    /// A node runs a transaction that writes some of the keys.
    Commit(usize, u8),
    /// A node gets the next entries of a log, with or without their dependencies.
    Deliver { to: usize, of: usize, count: usize },
    /// A node gets some entries of a log again.
    Repeat { to: usize, of: usize, from: Index },
    /// A node gets the next piece of another one's map, or the first one.
    Piece { to: usize, from: usize, bytes_max: usize },
    /// A node does the next step of a merge.
    Merge(usize),
}

const NODES: usize = 3;

fn any_step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    prop_oneof![
        4 => (node(), 1..8_u8).prop_map(|(n, keys)| Step::Commit(n, keys)),
        5 => (node(), node(), 1..4_usize).prop_map(|(to, of, count)| Step::Deliver { to, of, count }),
        1 => (node(), node(), any::<Index>()).prop_map(|(to, of, from)| Step::Repeat { to, of, from }),
        3 => (node(), node(), 1..100_usize)
            .prop_map(|(to, from, bytes_max)| Step::Piece { to, from, bytes_max }),
        4 => node().prop_map(Step::Merge),
    ]
}

/// A transaction of the model: its name, all its dependencies, and the entry.
type Known = BTreeSet<(usize, usize)>;

/// Replicas, and the transactions of each one as plain sets.
struct Model {
    /// True if held transactions are folded, so that some wait for longer than they must.
    is_folding: bool,
    maps: [Registers; NODES],
    logs: [Vec<(Known, Transaction)>; NODES],
    /// The number of entries of each log that each node has.
    have: [[usize; NODES]; NODES],
    logged_dependencies: [VectorClock; NODES],
    loading: BTreeMap<(usize, usize), (u64, Vec<Piece>)>,
    /// The maps that nodes are merging, and the entries that their senders had.
    merging: BTreeMap<usize, (Vec<Piece>, [usize; NODES])>,
    values: u32,
}

impl Model {
    fn new(held_bytes_max: usize) -> Self {
        Self {
            is_folding: held_bytes_max < HELD_BYTES_MAX,
            maps: std::array::from_fn(|_| Registers::with_held_bytes_max(held_bytes_max)),
            logs: Default::default(),
            have: Default::default(),
            logged_dependencies: Default::default(),
            loading: BTreeMap::new(),
            merging: BTreeMap::new(),
            values: 0,
        }
    }

    /// The transactions that are visible at the node, according to its clocks.
    fn visible(&self, node: usize) -> Known {
        let visible = self.maps[node].visible();
        let log = |of: usize| (0..self.logs[of].len()).map(move |nth| (of, nth));
        let is_visible = |(of, nth): &(usize, usize)| {
            self.logs[*of][*nth].1.clock() <= visible.get(&origin(*of))
        };
        (0..NODES).flat_map(log).filter(is_visible).collect()
    }

    /// The transactions of the node whose dependencies are all there.
    fn releasable(&self, node: usize) -> Known {
        let has = |(of, nth): &(usize, usize)| *nth < self.have[node][*of];
        let all = (0..NODES).flat_map(|of| (0..self.have[node][of]).map(move |nth| (of, nth)));
        all.filter(|(of, nth)| self.logs[*of][*nth].0.iter().all(has)).collect()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit(node, keys) => self.commit(node, keys),
            Step::Deliver { to, of, count } => {
                let have = self.have[to][of];
                let end = (have + count).min(self.logs[of].len());
                self.deliver(to, of, have..end);
                self.have[to][of] = end;
            }
            Step::Repeat { to, of, from } if self.have[to][of] > 0 => {
                let start = from.index(self.have[to][of]);
                self.deliver(to, of, start..self.have[to][of]);
            }
            Step::Repeat { .. } => {}
            Step::Piece { to, from, bytes_max } => self.load(to, from, bytes_max),
            Step::Merge(node) => drop(self.merge(node)),
        }
    }

    fn commit(&mut self, node: usize, keys: u8) {
        let (past, map) = (self.visible(node), &mut self.maps[node]);
        let clock = past.iter().map(|(of, nth)| self.logs[*of][*nth].1.clock()).max().unwrap_or(0);
        assert_eq!(map.clock(), clock);
        self.values += 1;
        let after = map.visible().since(&self.logged_dependencies[node], &origin(node));
        self.logged_dependencies[node].join(&after);
        let value = || raw(&self.values.to_string()).into();
        let keys = (0..3).filter(|key| keys & (1 << key) != 0);
        let writes = keys.map(|key| (raw(&key.to_string()).into(), value())).collect();
        let transaction = Transaction::new(clock + 1, after, writes);
        map.check(&origin(node), std::slice::from_ref(&transaction)).unwrap();
        map.apply(&origin(node), vec![transaction.clone()]);
        self.logs[node].push((past, transaction));
        self.have[node][node] += 1;
    }

    fn deliver(&mut self, to: usize, of: usize, range: std::ops::Range<usize>) {
        let entries: Vec<_> = self.logs[of][range].iter().map(|(_, entry)| entry.clone()).collect();
        self.maps[to].check(&origin(of), &entries).unwrap();
        self.maps[to].apply(&origin(of), entries);
    }

    fn load(&mut self, to: usize, from: usize, bytes_max: usize) {
        let (at, mut pieces) = self.loading.remove(&(to, from)).unwrap_or_default();
        let (piece, next) = self.maps[from].piece(at, bytes_max);
        let text = serde_json::to_string(&piece).unwrap();
        pieces.push(serde_json::from_str(&text).unwrap());
        if let Some(next) = next {
            self.loading.insert((to, from), (next, pieces));
            return;
        }
        let have = self.have[from];
        self.merging.entry(to).or_insert((pieces, have));
    }

    /// Returns true if there was something to merge.
    fn merge(&mut self, node: usize) -> bool {
        let Some((pieces, theirs)) = self.merging.get(&node) else { return false };
        let before = contents(&self.maps[node]);
        if self.maps[node].merge_step(pieces).unwrap() {
            for (mine, theirs) in self.have[node].iter_mut().zip(theirs) {
                *mine = (*theirs).max(*mine);
            }
            self.merging.remove(&node);
        } else {
            assert_eq!(contents(&self.maps[node]), before, "a part of it is visible");
        }
        true
    }

    /// The map that results from a set of transactions.
    fn naive(&self, visible: &Known) -> BTreeMap<String, String> {
        let mut newest: BTreeMap<String, (u64, usize, String)> = BTreeMap::new();
        for (of, nth) in visible {
            let entry = &self.logs[*of][*nth].1;
            for (key, value) in entry.writes() {
                let new = (entry.clock(), *of, value.text().to_owned());
                let old = newest.entry(key.text().to_owned()).or_default();
                *old = new.max(old.clone());
            }
        }
        newest.into_iter().map(|(key, (.., value))| (key, value)).collect()
    }

    fn assert_right(&self) {
        for (node, map) in self.maps.iter().enumerate() {
            let visible = self.visible(node);
            assert_eq!(contents(map), self.naive(&visible), "n{node}");
            if self.is_folding {
                let is_closed = |(of, nth): &(usize, usize)| {
                    *nth < self.have[node][*of] && self.logs[*of][*nth].0.is_subset(&visible)
                };
                assert!(visible.iter().all(is_closed), "n{node}");
                assert_eq!(map.changes.len(), map.held() + map.len(), "n{node}");
                continue;
            }
            assert_eq!(visible, self.releasable(node), "n{node}");
            let held = self.have[node].iter().sum::<usize>() - visible.len();
            assert_eq!((map.held(), map.changes.len()), (held, held + map.len()), "n{node}");
        }
    }
}

#[test]
fn a_step_of_a_merge_moves_few_registers_however_many_there_are() {
    let map = |n: usize, keys: std::ops::Range<u64>| {
        let mut map = Registers::default();
        for (clock, key) in (1..).zip(keys) {
            map.apply(&origin(n), vec![upon(clock, &[], &[&key.to_string()], "1")]);
        }
        map
    };
    let (mut map, other) = (map(1, 0..100), map(2, 50..150));
    let pieces = pieces(&other, 500);
    let (mut steps, registers) = (0, |map: &Registers| {
        let staged = map.staging.as_ref().map_or(0, |staging| staging.map.len());
        (staged, map.old.registers.len())
    });
    let mut before = registers(&map);
    assert!(pieces.iter().all(|piece| piece.registers.len() > 2), "a piece takes several steps");
    loop {
        let is_merged = map.merge_step(&pieces).unwrap();
        if is_merged {
            break;
        }
        let after = registers(&map);
        assert!(after.0 - before.0 <= 2 && map.len() == 100, "{after:?}");
        (steps, before) = (steps + 1, after);
    }
    assert_eq!((map.len(), registers(&map)), (150, (0, 100)));
    assert!(steps > pieces.len(), "{steps}");
    // A reader in the middle of the old map gets all of the new one.
    assert_eq!(map.piece(before.0 as u64, usize::MAX).0.registers.len(), 150);
    assert!(!map.discard_step() && registers(&map).1 >= 100 - 2);
    while !map.discard_step() {}
    assert_eq!(registers(&map), (0, 0));
}

proptest! {
    #[test]
    fn visible_transactions_are_whole_and_causal_in_any_order_of_arrival(
        held_bytes_max in prop::sample::select(vec![0, 300, HELD_BYTES_MAX]),
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let mut model = Model::new(held_bytes_max);
        for step in steps {
            model.step(step);
            model.assert_right();
        }
        while (0..NODES).any(|node| model.merge(node)) {
            model.assert_right();
        }
        for (to, of) in (0..NODES).flat_map(|to| (0..NODES).map(move |of| (to, of))) {
            model.step(Step::Deliver { to, of, count: usize::MAX / 2 });
        }
        model.assert_right();
        prop_assert!(model.maps.iter().all(|map| map.held() == 0));
        prop_assert!(model.maps.iter().all(|map| contents(map) == contents(&model.maps[0])));
    }
}
