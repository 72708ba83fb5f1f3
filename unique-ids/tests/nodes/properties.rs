//! Each claim of the crate's documentation, tested on whole nodes without I/O.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and so do its helpers"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use maelstrom_core::{Clock, Output, RawNode};
use proptest::prelude::*;
use serde_json::{Value, json};
use unique_ids::UniqueIds;

/// The last millisecond that a stamp can hold.
const MILLIS_MAX: u64 = (1 << 48) - 1;

/// Some day in 2025.
const TODAY: u64 = 1_750_000_000_000;

/// One life of a node.
struct Process {
    node: RawNode<UniqueIds>,
    name: String,
}

impl Process {
    fn start(name: &str, seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut process =
            Self { node: RawNode::new(UniqueIds::default(), bytes, false), name: name.into() };
        process.node.record_metrics();
        let init = json!({"type": "init", "msg_id": 1, "node_id": name, "node_ids": [name]});
        assert_eq!(process.ask(0, init)["type"], "init_ok");
        process
    }

    /// The body of the one message that the node sends in reply to `body`.
    fn ask(&mut self, wall_millis: u64, body: Value) -> Value {
        let message = json!({"src": "c1", "dest": self.name, "body": body});
        let clock = Clock { monotonic: Duration::ZERO, wall: Duration::from_millis(wall_millis) };
        self.node.handle_line(clock, message.to_string().as_bytes());
        let Some(Output::Lines(lines)) = self.node.poll_output() else {
            panic!("no answer");
        };
        let mut reply: Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!((&reply["dest"], self.node.poll_output()), (&json!("c1"), None));
        reply["body"].take()
    }

    /// An id that was requested at a time on the node's wall clock, or the code of the error.
    fn try_generate(&mut self, wall_millis: u64) -> Result<String, u64> {
        let body = self.ask(wall_millis, json!({"type": "generate", "msg_id": 2}));
        match body["type"].as_str() {
            Some("generate_ok") => Ok(body["id"].as_str().unwrap().to_owned()),
            _ => Err(body["code"].as_u64().unwrap()),
        }
    }

    /// The number of a metric without labels.
    fn metric(&self, name: &str) -> f64 {
        self.node.metrics().unwrap().sum(name, &[])
    }

    fn generate(&mut self, wall_millis: u64) -> String {
        self.try_generate(wall_millis).unwrap()
    }
}

/// The parts of an id: its stamp's millisecond and counter, the incarnation, the node.
fn parts(id: &str) -> (u64, u64, u64, &str) {
    let hex = |text: &str| {
        assert!(!text.contains(|c: char| c.is_ascii_uppercase() || c == '+'), "{id}");
        u64::from_str_radix(text, 16).unwrap()
    };
    assert_eq!((&id[16..17], &id[33..34]), ("-", "-"), "{id}");
    let stamp = hex(&id[..16]);
    (stamp >> 16, stamp & 0xffff, hex(&id[17..33]), &id[34..])
}

#[test]
fn an_id_is_a_stamp_an_incarnation_and_the_nodes_name() {
    for name in ["n1", "n-1-2", "näme", "0123456789abcdef", ""] {
        let mut process = Process::start(name, 7);
        let (first, second) = (process.generate(TODAY), process.generate(TODAY));
        let (millis, counter, incarnation, node) = parts(&first);
        assert_eq!((millis, counter, node), (TODAY, 0, name));
        assert_eq!(parts(&second), (TODAY, 1, incarnation, name));
        let later = process.generate(TODAY + 5);
        assert_eq!(parts(&later), (TODAY + 5, 0, incarnation, name));
    }
}

#[test]
fn a_metric_tells_the_time_in_the_last_stamp() {
    let mut process = Process::start("n1", 7);
    assert_eq!(process.metric("unique_ids_last_stamp_seconds"), 0.0);
    process.generate(TODAY + 500);
    assert_eq!(process.metric("unique_ids_last_stamp_seconds"), 1_750_000_000.5);
}

#[test]
fn a_node_talks_to_nobody_but_its_clients_and_sets_no_timers() {
    let mut process = Process::start("n1", 7);
    // `ask` has checked that the reply is the only message.
    process.generate(TODAY);
    assert_eq!(process.node.poll_timeout(), None);
    assert_eq!(process.node.open_rpcs(), 0);
}

#[test]
fn the_same_seed_and_clock_give_the_same_ids_so_that_a_run_can_be_repeated() {
    let run = || Process::start("n1", 7).generate(TODAY);
    assert_eq!(run(), run());
}

/// The change of a wall clock between two ids.
#[derive(Clone, Debug)]
enum Tick {
    StandStill,
    Forward(u64),
    Back(u64),
    /// To any time, even beyond the range of ids.
    Jump(u64),
}

fn any_tick() -> impl Strategy<Value = Tick> {
    prop_oneof![
        4 => Just(Tick::StandStill),
        4 => (0_u64..1000).prop_map(Tick::Forward),
        2 => (0_u64..100_000).prop_map(Tick::Back),
        1 => (0..=MILLIS_MAX - 1_000_000).prop_map(Tick::Jump),
    ]
}

fn moved(wall: u64, tick: &Tick) -> u64 {
    match tick {
        Tick::StandStill => wall,
        Tick::Forward(millis) => wall.saturating_add(*millis),
        Tick::Back(millis) => wall.saturating_sub(*millis),
        Tick::Jump(wall) => *wall,
    }
}

proptest! {
    #[test]
    fn ids_of_one_process_sort_by_time_of_creation_whatever_its_clock_does(
        ticks in prop::collection::vec(any_tick(), 1..60),
        seed: u64,
    ) {
        let mut process = Process::start("n1", seed);
        let (mut wall, mut last) = (TODAY, String::new());
        for tick in &ticks {
            wall = moved(wall, tick);
            let id = process.generate(wall);
            prop_assert!(id > last, "{} after {}", id, last);
            prop_assert!(parts(&id).0 >= wall, "the clock pulls it forward");
            last = id;
        }
    }

    /// The nodes restart at random. All of them have the same clock, which may jump.
    #[test]
    fn no_id_repeats_across_nodes_restarts_and_clocks(
        steps in prop::collection::vec((0_usize..3, any_tick(), prop::bool::weighted(0.2)), 1..60),
        seed: u64,
    ) {
        let names = ["n1", "n2", "n11"];
        let mut seed = seed;
        let mut start = |name| {
            seed = seed.wrapping_add(1);
            Process::start(name, seed)
        };
        let mut processes = names.map(&mut start);
        let (mut wall, mut ids) = (TODAY, BTreeSet::new());
        for (index, tick, restart) in &steps {
            wall = moved(wall, tick);
            if *restart {
                processes[*index] = start(names[*index]);
            }
            let id = processes[*index].generate(wall);
            prop_assert!(ids.insert(id.clone()), "{} twice", id);
        }
    }

    #[test]
    fn ids_of_a_node_sort_across_restarts_if_its_clock_is_past_the_last_stamp(
        ticks in prop::collection::vec(any_tick(), 1..20),
        down_millis in 1_u64..1000,
        seeds: [u64; 2],
    ) {
        let mut process = Process::start("n1", seeds[0]);
        let (mut wall, mut last) = (TODAY, String::new());
        for tick in &ticks {
            wall = moved(wall, tick);
            last = process.generate(wall);
        }
        let back = parts(&last).0 + down_millis;
        prop_assert!(Process::start("n1", seeds[1]).generate(back) > last);
    }
}

#[test]
fn nodes_with_the_same_seed_and_clock_differ_by_their_names_alone() {
    let id = |name| Process::start(name, 7).generate(TODAY);
    assert_ne!(id("n1"), id("n2"));
    assert_eq!(id("n1")[..34], id("n2")[..34]);
}

#[test]
fn a_restart_on_a_clock_that_stands_still_repeats_nothing() {
    let mut ids = BTreeSet::new();
    for seed in 0..500 {
        let mut process = Process::start("n1", seed);
        for _ in 0..3 {
            assert!(ids.insert(process.generate(TODAY)));
        }
    }
}

#[test]
fn after_the_last_stamp_a_node_begins_again_with_a_new_incarnation() {
    const ENDS: [u64; 3] = [MILLIS_MAX, MILLIS_MAX + 1, u64::MAX];
    // The first reading beyond the end is each of these times in turn, and so are the later ones.
    for (first, counts) in [(0, 0..=0xffff_u64), (1, 0..=9), (2, 0..=9)] {
        let mut process = Process::start("n1", 7);
        let mut last = process.generate(MILLIS_MAX - 1);
        for (turn, count) in counts.enumerate() {
            let id = process.generate(ENDS[(first + turn) % ENDS.len()]);
            assert_eq!(parts(&id).1, count);
            assert!(id > last);
            last = id;
        }
        if first == 0 {
            assert!(last.starts_with("ffffffffffffffff-"));
            let (_, _, incarnation, _) = parts(&last);
            assert_eq!(process.metric("unique_ids_incarnations_total"), 1.0);
            let id = process.generate(TODAY);
            assert_eq!((parts(&id).0, parts(&id).1), (TODAY, 0));
            assert_ne!(parts(&id).2, incarnation);
            assert_eq!(process.metric("unique_ids_incarnations_total"), 2.0);
        }
    }
}

/// Ids stay unique after one wrong reading of the clock, and with a clock that stays wrong.
#[test]
fn ids_stay_unique_whether_or_not_the_clock_comes_back_from_the_far_future() {
    for later in [TODAY, u64::MAX] {
        let mut process = Process::start("n1", 7);
        let mut ids = BTreeSet::from([process.generate(u64::MAX)]);
        for _ in 0..66_000 {
            assert!(ids.insert(process.generate(later)));
        }
    }
}

/// Ten million of them in an optimized build. (A unit test checks that as many stamps rise, in any
/// build. A test above checks that ids sort as text like their stamps.)
#[test]
fn millions_of_ids_of_one_process_rise_as_text_and_so_are_unique() {
    const COUNT: usize = if cfg!(debug_assertions) { 100_000 } else { 10_000_000 };
    const BATCH: usize = 10_000;
    let mut node = RawNode::new(UniqueIds::default(), [0; 32], false);
    let mut feed = |millis: usize, body: &str, times: usize| {
        let wall = Duration::from_millis(TODAY + millis as u64);
        let clock = Clock { monotonic: Duration::ZERO, wall };
        let line = format!(r#"{{"src":"c1","dest":"n1","body":{body}}}"#);
        for _ in 0..times {
            node.handle_line(clock, line.as_bytes());
        }
        match node.poll_output() {
            Some(Output::Lines(lines)) => lines,
            other => panic!("not lines: {other:?}"),
        }
    };
    feed(0, r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}"#, 1);
    let generate = r#"{"type":"generate","msg_id":2}"#;
    let reply = br#"{"src":"n1","dest":"c1","body":{"type":"generate_ok","in_reply_to":2,"id":""#;
    let (mut last, mut count) = (Vec::new(), 0);
    // More ids a millisecond than the counter can count, so that it overflows.
    for batch in 0..COUNT / BATCH {
        let lines = feed(batch / 10, generate, BATCH);
        let (mut previous, mut all_rise) = (last.as_slice(), true);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let id = &line[reply.len()..line.len() - br#""}}"#.len()];
            all_rise &= previous < id;
            previous = id;
            count += 1;
        }
        assert!(all_rise, "in batch {batch}");
        last = previous.to_vec();
    }
    assert_eq!((count, last.len()), (COUNT, 16 + 1 + 16 + 1 + 2));
}
