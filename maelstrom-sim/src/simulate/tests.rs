//! Tests the effects of faults, as the nodes see them.

mod hardware;

use std::cell::RefCell;
use std::rc::Rc;

use maelstrom_core::{Error, Node, Request};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::nemesis::Fault;
use crate::options::Options;
use crate::trace::Fate;
use crate::workload::Echo;

/// Sends a note to every other node for each request, and calls `lin-kv`.
struct Chatty;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo { echo: Value },
    EchoOk { echo: Value },
    Note,
    Read { key: u64 },
}

impl MessageHandler for Chatty {
    type Payload = Payload;
    type Event = ();

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        if let Payload::Echo { echo } = payload {
            node.reply(request, &Payload::EchoOk { echo });
            for peer in node.peers() {
                node.send(&peer, &Payload::Note);
            }
            node.rpc(&"lin-kv".into(), &Payload::Read { key: 1 }, Duration::from_secs(1), |_| ());
        }
        Ok(())
    }
}

/// Replies to each request with a kilobyte.
struct Loud;

impl MessageHandler for Loud {
    type Payload = Payload;
    type Event = ();

    fn message(&mut self, node: &mut Node<()>, request: &Request, _: Payload) -> Result<(), Error> {
        node.reply(request, &Payload::EchoOk { echo: "x".repeat(1_000).into() });
        Ok(())
    }
}

/// Does the same, and may also send a kilobyte to the last node.
struct Shouting {
    is_to_node: bool,
}

impl MessageHandler for Shouting {
    type Payload = Payload;
    type Event = ();

    fn message(&mut self, node: &mut Node<()>, request: &Request, _: Payload) -> Result<(), Error> {
        let long = Payload::EchoOk { echo: "x".repeat(1_000).into() };
        node.reply(request, &long);
        if self.is_to_node {
            node.send(&"n2".into(), &long);
        }
        Ok(())
    }
}

fn test(faults: &[Fault]) -> Test {
    let mut options = Options::default().with_node_count(3);
    options.rate = 50.0;
    options.time_limit = Duration::from_secs(20);
    options.nemesis = faults.iter().copied().collect();
    options.nemesis_interval = Duration::from_secs(2);
    options.latency.mean_ms = 10;
    options.forgive_late_replies = true;
    options.seed = 3;
    Test::new(Echo::default(), options)
}

fn history(world: &World) -> String {
    let mut out = Vec::new();
    world.history().write_jsonl(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn messages(world: &World) -> Vec<Value> {
    let mut out = Vec::new();
    world.trace().unwrap().write_messages(&mut out).unwrap();
    let lines = out.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[test]
fn the_metrics_of_nodes_count_the_answers_of_clients_and_services() {
    let world = simulate(test(&[]), |_| Chatty);
    let sum = |name: &str, labels: &[(&str, &str)]| -> f64 {
        let nodes = world.options().nodes.iter();
        nodes.map(|id| world.metrics(id).unwrap().sum(name, labels)).sum()
    };
    let answered = world.history().tally().ok as f64;
    assert!(answered > 0.0);
    assert_eq!(sum("maelstrom_requests_total", &[("type", "echo"), ("outcome", "ok")]), answered);
    // Each request causes notes to two peers.
    let notes = |direction| [("type", "note"), ("direction", direction)];
    assert_eq!(sum("maelstrom_messages_total", &notes("sent")), 2.0 * answered);
    // The last ones may still be in transit when the test ends.
    let most = |all: f64| all - 10.0..=all;
    let received = sum("maelstrom_messages_total", &notes("received"));
    assert!(most(2.0 * answered).contains(&received), "{received} of {answered}");
    // The requested key does not exist.
    let failed = sum("maelstrom_calls_total", &[("outcome", "error")]);
    assert!(most(answered).contains(&failed), "{failed} of {answered}");
}

#[test]
fn a_node_that_prints_a_line_longer_than_nodes_read_fails_the_test() {
    let run = |line_bytes_max| {
        let mut test = test(&[]);
        test.options.line_bytes_max = Some(line_bytes_max);
        simulate(test, |_| Loud).failure().map(ToString::to_string)
    };
    assert_eq!(run(2_000), None);
    let failure = run(1_000).unwrap();
    assert!(failure.contains(" printed a line of 10"), "{failure}");
}

#[test]
fn lines_to_clients_may_be_longer_where_the_options_say_so() {
    let run = |is_to_node: bool| {
        let mut test = test(&[]);
        test.options.line_bytes_max = Some(1_000);
        test.options.long_lines_to_clients = true;
        simulate(test, |_| Shouting { is_to_node }).failure().cloned()
    };
    assert_eq!(run(false), None);
    assert!(matches!(run(true), Some(Failure::LongLine(..))));
}

#[test]
fn nodes_skip_a_line_that_is_too_long_for_them() {
    let mut test = test(&[]);
    // Shorter than any `init`.
    test.options.line_bytes_max = Some(60);
    let failure = simulate(test, |_| Chatty).failure().cloned();
    assert!(matches!(failure, Some(Failure::InitTimeout(_))), "{failure:?}");
}

#[test]
fn a_trace_tells_the_fate_of_every_message_and_changes_nothing() {
    let mut test = test(&Fault::ALL);
    let plain = simulate(test.clone(), |_| Chatty);
    test.options.trace = true;
    let traced = simulate(test, |_| Chatty);
    assert!(plain.trace().is_none());
    assert_eq!(history(&plain), history(&traced));
    assert_eq!(plain.net_stats(), traced.net_stats());

    let messages = messages(&traced);
    let fates: Vec<&str> = messages
        .iter()
        .flat_map(|message| message["ends"].as_array().unwrap())
        .map(|end| end["fate"].as_str().unwrap())
        .collect();
    let count = |fate: Fate| {
        let name = serde_json::to_value(fate).unwrap();
        fates.iter().filter(|fate| name == **fate).count()
    };
    // Every fate occurs but `Muted`: no node is muted here.
    for fate in [Fate::Delivered, Fate::Lost, Fate::Refused, Fate::Unreachable] {
        assert!(count(fate) > 10, "{fate:?}: {}", count(fate));
    }
    assert_eq!(count(Fate::Muted), 0);
    let stats = traced.net_stats().all();
    let refused = messages.iter().filter(|message| {
        let first = &message["ends"][0];
        first["fate"] == "no-address" && first["time"] == message["time"]
    });
    assert_eq!(messages.len() - refused.count(), usize::try_from(stats.sent).unwrap());
    let arrived = count(Fate::Delivered) + count(Fate::Down) + count(Fate::Unreachable);
    let received = usize::try_from(stats.received).unwrap();
    let copies: u64 = messages.iter().map(|message| message["copies"].as_u64().unwrap()).sum();
    // Some may be in transit, or wait for a paused node, when the run ends.
    let open = usize::try_from(copies).unwrap() - fates.len();
    assert!((arrived..=arrived + open).contains(&received), "{arrived} + {open}, {received}");
    assert!(messages.iter().any(|message| message["copies"] == 2));
    assert!(open < 50, "{open}");
}

#[test]
fn a_service_answers_requests_that_have_reached_it_and_nothing_else() {
    let mut test = test(&[Fault::Services]);
    test.options.trace = true;
    let messages = messages(&simulate(test, |_| Chatty));
    let mut answers: BTreeMap<String, u64> = BTreeMap::new();
    for answer in messages.iter().filter(|message| message["src"] == "lin-kv") {
        let question = format!("{} {}", answer["dest"], answer["body"]["in_reply_to"]);
        *answers.entry(question).or_default() += 1;
    }
    let (mut reached, mut unreachable) = (0, 0);
    for asked in messages.iter().filter(|message| message["dest"] == "lin-kv") {
        let question = format!("{} {}", asked["src"], asked["body"]["msg_id"]);
        let expected = match asked["ends"][0]["fate"].as_str() {
            Some("delivered") => {
                reached += 1;
                1
            }
            Some("unreachable") => {
                unreachable += 1;
                0
            }
            // The message was in transit at the end.
            fate => fate.map_or(0, |fate| panic!("{fate}")),
        };
        assert_eq!(answers.remove(&question).unwrap_or(0), expected, "{asked}");
    }
    assert!(answers.is_empty(), "{answers:?}");
    assert!(reached > 100 && unreachable > 10, "{reached}, {unreachable}");
}

/// Records the node's observations of its start, its disk and its clock.
struct Witness(Rc<RefCell<Vec<String>>>);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    Clock,
}

impl MessageHandler for Witness {
    type Payload = Question;
    type Event = ();

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.0.borrow_mut().push(format!("had {}", String::from_utf8_lossy(record)));
        Ok(())
    }

    fn started(&mut self, node: &mut Node<()>) {
        let luck = node.rng().next_u64();
        self.0.borrow_mut().push(format!("luck {luck}"));
    }

    fn message(&mut self, node: &mut Node<()>, _: &Request, _: Question) -> Result<(), Error> {
        let clock = node.wall_clock().saturating_sub(node.now());
        self.0.borrow_mut().push(format!("{} s", clock.as_secs()));
        Ok(())
    }
}

#[test]
fn disturbances_reach_their_node_and_a_restarted_one_is_another_process_with_the_same_disk() {
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let read = || std::mem::take(&mut *seen.borrow_mut());
    let test = Test::new(Echo::default(), Options::default().with_node_count(2));
    let mut build = |_: &NodeId, seed| program(Witness(Rc::clone(&seen)), seed);
    let mut simulation = Simulation::new(test, &mut build, None);
    while seen.borrow().len() < 2 {
        simulation.step();
    }
    let mut lucks = read();
    let (n0, now) = (NodeId::from("n0"), simulation.now);
    macro_rules! ask {
        ($body:expr) => {
            let line = json!({ "src": "c9", "dest": "n0", "body": $body }).to_string();
            simulation.with(&n0, |machine, _| machine.deliver(now, line.into_bytes()));
        };
    }
    for (off, shown) in [(5_000, 1_767_225_605), (-5_000, 1_767_225_595), (0, 1_767_225_600)] {
        simulation.disturb(Disturbance::Clock(n0.clone(), off));
        ask!(json!({ "type": "clock" }));
        assert_eq!(read(), [format!("{shown} s")]);
    }
    simulation.with(&n0, |machine, _| machine.disk.records.extend([b"1".to_vec(), b"2".to_vec()]));
    simulation.disturb(Disturbance::Pause(n0.clone()));
    ask!(json!({ "type": "clock" }));
    assert_eq!(read(), Vec::<String>::new());
    simulation.disturb(Disturbance::Resume(n0.clone()));
    assert_eq!(read().len(), 1);
    simulation.disturb(Disturbance::Crash(n0.clone()));
    ask!(json!({ "type": "clock" }));
    simulation.disturb(Disturbance::Restart(n0.clone()));
    assert_eq!(read(), ["had 1", "had 2"]);
    ask!(json!({ "type": "init", "msg_id": 1, "node_id": "n0", "node_ids": ["n0", "n1"] }));
    let last_life = read();
    // The request that arrived while the node was down waited for it.
    assert_eq!(last_life.last().unwrap(), "1767225600 s");
    lucks.extend(last_life.into_iter().take(1));
    lucks.sort();
    lucks.dedup();
    assert_eq!(lucks.len(), 3, "no two processes have the same luck: {lucks:?}");
}

#[test]
fn a_node_that_is_down_can_get_an_older_copy_of_its_records_and_one_that_is_up_keeps_them() {
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let mut test = Test::new(Echo::default(), Options::default().with_node_count(2));
    test.options.losable = Some(Losable::new(|record| record != b"2"));
    test.options.schedule = Some(vec![
        (Duration::from_secs(1), NemesisOp::Restore("n0".into(), 100)),
        (Duration::from_secs(2), NemesisOp::Crash("n0".into())),
        (Duration::from_secs(3), NemesisOp::Restart("n0".into())),
        (Duration::from_secs(4), NemesisOp::Crash("n0".into())),
        (Duration::from_secs(5), NemesisOp::Restore("n0".into(), 100)),
        (Duration::from_secs(6), NemesisOp::Restart("n0".into())),
    ]);
    let mut build = |_: &NodeId, seed| program(Witness(Rc::clone(&seen)), seed);
    let mut simulation = Simulation::new(test, &mut build, None);
    let records = ["1", "2", "3", "4"].map(Into::into);
    simulation.with(&"n0".into(), |machine, _| machine.disk.records.extend(records));
    while simulation.now < Duration::from_secs(8) {
        simulation.step();
    }
    let had: Vec<String> =
        seen.borrow().iter().filter(|it| it.starts_with("had")).cloned().collect();
    assert_eq!(had, ["had 1", "had 2", "had 3", "had 4", "had 1", "had 2"]);
}

#[test]
fn every_node_that_is_restarted_is_told_its_name() {
    let seen: Rc<RefCell<Vec<String>>> = Rc::default();
    let world = simulate(test(&[Fault::Crash]), |_| Witness(Rc::clone(&seen)));
    // The history has two events for each action of the nemesis: its beginning and its end.
    let did = |f: &str| world.history().ops().iter().filter(|op| op.f == f).count() / 2;
    assert!(did("restart") > 3);
    assert_eq!(seen.borrow().len(), 3 + did("restart"));
}

#[test]
fn too_much_for_a_node_that_is_paused_or_down_ends_the_test() {
    let n0 = NodeId::from("n0");
    for stop in [Disturbance::Pause, Disturbance::Crash] {
        let seen: Rc<RefCell<Vec<String>>> = Rc::default();
        let test = Test::new(Echo::default(), Options::default().with_node_count(2));
        let mut build = |_: &NodeId, seed| program(Witness(Rc::clone(&seen)), seed);
        let mut simulation = Simulation::new(test, &mut build, None);
        while seen.borrow().len() < 2 {
            simulation.step();
        }
        simulation.disturb(stop(n0.clone()));
        let now = simulation.now;
        let line = vec![b' '; 1 << 20];
        // Each line takes a little more memory than its bytes.
        for _ in 0..255 {
            simulation.with(&n0, |machine, _| machine.deliver(now, line.clone()));
        }
        assert!(!simulation.nodes[&n0].is_flooded());
        let body = format!("\"{}\"", "x".repeat(1 << 20));
        let line = format!(r#"{{"src":"n1","dest":"n0","body":{{"text":{body}}}}}"#);
        simulation.world.node_said(now, &"n1".into(), line.as_bytes());
        while !simulation.world.is_done() && simulation.now < now + Duration::from_secs(1) {
            simulation.step();
        }
        let Some(Failure::Flood(flood)) = simulation.world.failure() else {
            panic!("{:?}", simulation.world.failure());
        };
        assert_eq!((flood.to.as_ref(), flood.most.as_ref()), ("n0", Some(&("n1".into(), 1))));
    }
}

#[test]
fn a_process_that_stood_still_for_long_has_not_worked_meanwhile() {
    let (watch, secs) = (Stopwatch::start(Duration::from_secs(5)), Duration::from_secs);
    let start = watch.looked.get();
    let worked = |at: u64| watch.elapsed_at(start + secs(at));
    assert_eq!([worked(2), worked(4), worked(604), worked(605)], [2, 4, 9, 10].map(secs));
}
