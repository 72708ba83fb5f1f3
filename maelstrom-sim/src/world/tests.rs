//! Tests the world in virtual time with very simple nodes.

use std::time::Duration;

use maelstrom_core::service::{Cas, KvClient};
use maelstrom_core::{Error, ErrorCode, MessageHandler, Node, Request, RpcError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

mod arbitrary;
mod misbehaving;
mod services;

use super::*;
use crate::history::{OpType, Process};
use crate::nemesis::Fault;
use crate::options::{JOIN_TIME, Latency, LatencyDist};
use crate::simulate::simulate;
use crate::workload::{Broadcast, Echo, UniqueIds};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A broadcast node that sends each value to all others once, immediately.
#[derive(Default)]
struct Toy {
    values: Vec<u64>,
    /// Its behaviour for each tenth broadcast.
    odd: Odd,
    taken: u64,
    topology: bool,
}

/// The behaviour of a toy for each tenth broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Odd {
    #[default]
    Nothing,
    /// It replies with this error.
    Error(ErrorCode),
    /// It replies after this time.
    Late(Duration),
    /// It replies to each tenth *read* after this time.
    LateRead(Duration),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Topology { topology: BTreeMap<String, Vec<String>> },
    Broadcast { message: u64 },
    Tell { message: u64 },
    Read,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    TopologyOk,
    BroadcastOk,
    Tell { message: u64 },
    ReadOk { messages: Vec<u64> },
}

enum Later {
    Broadcast(Request),
    Read(Request),
}

impl MessageHandler for Toy {
    type Payload = Payload;
    type Event = Later;

    fn message(
        &mut self,
        node: &mut Node<Later>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Topology { topology } => {
                assert_eq!(topology.len(), node.node_ids().len());
                self.topology = true;
                node.reply(request, &Reply::TopologyOk);
            }
            Payload::Broadcast { message } => {
                assert!(self.topology, "the topology comes before everything else");
                self.taken += 1;
                let odd = if self.taken.is_multiple_of(10) { self.odd } else { Odd::Nothing };
                if let Odd::Error(code) = odd {
                    return Err(Error::new(code, "so it is"));
                }
                self.values.push(message);
                for peer in node.peers() {
                    node.send(&peer, &Reply::Tell { message });
                }
                match odd {
                    Odd::Late(delay) => node.set_timer(delay, Later::Broadcast(request.clone())),
                    _ => node.reply(request, &Reply::BroadcastOk),
                }
            }
            Payload::Tell { message } => self.values.push(message),
            Payload::Read => {
                self.taken += 1;
                match self.odd {
                    Odd::LateRead(delay) if self.taken.is_multiple_of(10) => {
                        node.set_timer(delay, Later::Read(request.clone()));
                    }
                    _ => node.reply(request, &Reply::ReadOk { messages: self.values.clone() }),
                }
            }
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Later>, event: Later) {
        match event {
            Later::Broadcast(request) => node.reply(&request, &Reply::BroadcastOk),
            Later::Read(request) => {
                node.reply(&request, &Reply::ReadOk { messages: self.values.clone() });
            }
        }
    }
}

fn broadcast(options: Options) -> Test {
    Test::new(Broadcast::default(), options)
}

fn options() -> Options {
    let options = Options::default().with_node_count(3);
    Options { rate: 20.0, time_limit: Duration::from_secs(20), seed: 7, ..options }
}

fn run(options: &Options, odd: Odd) -> World {
    let world = simulate(broadcast(options.clone()), |_| Toy { odd, ..Toy::default() });
    assert_eq!(world.failure(), None);
    world
}

fn ends(world: &World, kind: OpType) -> Vec<&Op> {
    world.history().client_ops().filter(|op| op.kind == kind).collect()
}

fn trace(world: &World) -> String {
    let mut out = Vec::new();
    world.history().write_jsonl(&mut out).unwrap();
    format!("{}{:?}", String::from_utf8(out).unwrap(), world.network.stats())
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let mut options = options();
    options.nemesis.insert(Fault::Partition);
    options.latency = Latency { mean_ms: 10, dist: LatencyDist::Exponential };
    let first = trace(&run(&options, Odd::Nothing));
    assert_eq!(first, trace(&run(&options, Odd::Nothing)));
    options.seed += 1;
    assert_ne!(first, trace(&run(&options, Odd::Nothing)));
}

#[test]
fn operations_come_at_the_rate_until_the_time_limit_then_each_thread_reads_once() {
    let world = run(&options(), Odd::Nothing);
    let begun = ends(&world, OpType::Invoke);
    let (last, main): (Vec<&Op>, Vec<&Op>) = begun.into_iter().partition(|op| op.is_final);
    assert!((340..460).contains(&main.len()), "{}", main.len());
    assert_eq!(main[0].time, Duration::ZERO);
    assert!(main.iter().all(|op| op.time < Duration::from_secs(20)));
    assert!(main.windows(2).all(|pair| pair[1].time - pair[0].time < ms(100)));
    let reads = main.iter().filter(|op| op.f == "read").count();
    assert!((main.len() / 3..main.len() * 2 / 3).contains(&reads));
    assert_eq!(last.len(), 3);
    assert!(last.iter().all(|op| op.f == "read" && op.time == Duration::from_secs(30)));
    let results = world.results();
    assert_eq!(results.valid, crate::checker::Verdict::Valid);
    assert_eq!(results.workload.fields["stable-latencies"]["1"], 0);
}

#[test]
fn threads_take_turns_and_the_nemesis_has_one_as_well() {
    let world = run(&options(), Odd::Nothing);
    let begun = ends(&world, OpType::Invoke);
    let threads: Vec<Process> = begun.iter().take(9).map(|op| op.process).collect();
    assert_eq!(threads, [0, 1, 2, 0, 0, 1, 2, 0, 0].map(Process::Client));

    // The nemesis acts at the very start and takes the first turn. Thread 1 has the next one.
    let mut options = options();
    options.nemesis.insert(Fault::Partition);
    let world = run(&options, Odd::Nothing);
    let begun = ends(&world, OpType::Invoke);
    let threads: Vec<Process> = begun.iter().take(7).map(|op| op.process).collect();
    assert_eq!(threads, [1, 2, 0, 0, 1, 2, 0].map(Process::Client));
}

#[test]
fn an_operation_never_begins_before_its_threads_last_one_has_ended() {
    let world = run(&Options { rate: 200.0, ..options() }, Odd::LateRead(ms(300)));
    let mut ended: BTreeMap<Process, Duration> = BTreeMap::new();
    for op in world.history().client_ops() {
        let last = ended.insert(op.process, op.time).unwrap_or_default();
        assert!(op.time >= last, "{op:?}");
    }
    assert!(ends(&world, OpType::Invoke).len() < 3_000, "missed operations are not made up for");
}

/// How many operations begin in 4 s, at 100 per second, if the driver is late each time.
fn begun_if_late(late: Duration) -> usize {
    let options = Options::default().with_node_count(1);
    // No node replies, so every operation needs its own thread.
    let options = Options { rate: 100.0, concurrency: 1_000, ..options };
    let mut world = World::new(Test::new(Echo::default(), options), ms(0));
    world.handle_timeout(JOIN_TIME);
    let Some(Action::Deliver { node, line }) =
        std::iter::from_fn(|| world.poll_action()).find(|a| matches!(a, Action::Deliver { .. }))
    else {
        panic!("a node is told its name first");
    };
    let init: Value = serde_json::from_slice(&line).unwrap();
    let body = json!({"type": "init_ok", "in_reply_to": init["body"]["msg_id"]});
    let reply = json!({"src": node.as_ref(), "dest": init["src"], "body": body});
    world.node_said(JOIN_TIME, &node, reply.to_string().as_bytes());
    let mut now = JOIN_TIME;
    while now < JOIN_TIME + ms(4_000) {
        world.handle_timeout(now);
        now = world.poll_timeout(now).unwrap() + late;
    }
    ends(&world, OpType::Invoke).len()
}

#[test]
fn operations_that_a_late_driver_misses_are_not_made_up_for() {
    let in_time = begun_if_late(ms(0));
    assert!((360..440).contains(&in_time), "{in_time}");
    let late = begun_if_late(ms(10));
    assert!((180..220).contains(&late), "{late}");
}

#[test]
fn a_value_takes_the_latency_to_be_everywhere() {
    let options = Options { latency: Latency { mean_ms: 100, ..Latency::default() }, ..options() };
    let fields = run(&options, Odd::Nothing).results().workload.fields;
    let max = fields["stable-latencies"]["1"].as_u64().unwrap();
    assert!((80..=100).contains(&max), "{max}");
}

#[test]
fn a_definite_error_is_a_failure_and_an_indefinite_one_is_not_known() {
    let world = run(&options(), Odd::Error(ErrorCode::Abort));
    let failed = ends(&world, OpType::Fail);
    assert!(!failed.is_empty() && ends(&world, OpType::Info).is_empty());
    assert_eq!(failed[0].error.as_deref(), Some("abort (14): so it is"));
    let world = run(&options(), Odd::Error(ErrorCode::Other(1234)));
    assert!(!ends(&world, OpType::Info).is_empty() && ends(&world, OpType::Fail).is_empty());
}

#[test]
fn after_an_unknown_outcome_the_thread_goes_on_as_a_new_process() {
    let world = run(&options(), Odd::Error(ErrorCode::Crash));
    let mut processes: Vec<u64> = Vec::new();
    for op in world.history().client_ops().filter(|op| op.kind == OpType::Invoke) {
        let Process::Client(process) = op.process else {
            continue;
        };
        processes.push(process);
    }
    for op in ends(&world, OpType::Info) {
        let Process::Client(process) = op.process else { panic!("a client") };
        let later = world.history().client_ops().skip(op.index + 1);
        assert!(later.into_iter().all(|op| op.process != Process::Client(process)));
    }
    assert!(processes.iter().any(|process| *process >= 3));
    assert!(processes.iter().all(|process| *process < 300));
}

#[test]
fn an_answer_after_5_s_comes_too_late_and_mutes_the_node_if_its_client_is_gone() {
    let in_time = run(&options(), Odd::Late(ms(4_999)));
    assert!(ends(&in_time, OpType::Info).is_empty() && in_time.muted().is_empty());
    let late = run(&options(), Odd::Late(ms(6_000)));
    let infos = ends(&late, OpType::Info);
    assert_eq!(infos[0].error.as_deref(), Some("net-timeout"));
    let begun = late.history().invocation(infos[0]).unwrap();
    assert!(infos[0].time - begun.time >= Duration::from_secs(5));
    assert!(!late.muted().is_empty());
    let explained =
        |why: &str| why.starts_with("there is no c") && why.contains("gave up after 5 s");
    assert!(late.muted().values().all(|why| explained(why)), "{:?}", late.muted());
}

#[test]
fn a_read_without_an_answer_has_failed_and_its_client_stays() {
    let world = run(&options(), Odd::LateRead(ms(5_500)));
    assert!(!ends(&world, OpType::Fail).is_empty());
    assert!(ends(&world, OpType::Fail).iter().all(|op| op.f == "read"));
    assert!(ends(&world, OpType::Info).is_empty());
    assert!(world.muted().is_empty());
}

#[test]
fn the_nemesis_acts_from_the_start_and_heals_before_the_recovery() {
    let mut options = options();
    options.nemesis.insert(Fault::Partition);
    options.nemesis_interval = Duration::from_secs(2);
    let world = run(&options, Odd::Nothing);
    let ops = world.history().ops().iter().filter(|op| op.process == Process::Nemesis);
    let ops: Vec<(&str, Duration)> = ops.map(|op| (op.f, op.time)).collect();
    assert_eq!(ops[0], ("start-partition", Duration::ZERO));
    assert_eq!(ops.last(), Some(&("stop-partition", Duration::from_secs(20))));
    // This toy sends each value only once, so a partition loses values.
    assert_eq!(world.results().valid, crate::checker::Verdict::Invalid);
}

/// Refuses every request with an error.
struct Stubborn;

impl MessageHandler for Stubborn {
    type Payload = Payload;
    type Event = Later;

    fn message(&mut self, _: &mut Node<Later>, _: &Request, _: Payload) -> Result<(), Error> {
        Err(Error::new(ErrorCode::NotSupported, "no"))
    }
}

#[test]
fn a_test_that_failed_or_has_just_begun_or_has_a_muted_node_is_never_valid() {
    use crate::checker::Verdict;
    let refused = simulate(broadcast(options()), |_| Stubborn).results();
    assert_eq!((refused.valid, refused.maelstrom_valid), (Verdict::Unknown, Verdict::Unknown));
    assert!(refused.cause.unwrap().starts_with("n0 did not accept the workload's set-up"));

    let begun = started().results();
    assert_eq!(
        (begun.valid, begun.cause.as_deref()),
        (Verdict::Unknown, Some("the test is not over"))
    );

    let mut good = run(&options(), Odd::Nothing);
    good.assert_valid();
    good.node_said(Duration::from_secs(60), &"n1".into(), b"hello");
    let muted = good.results();
    // Maelstrom judges the other nodes.
    assert_eq!((muted.valid, muted.maelstrom_valid), (Verdict::Invalid, Verdict::Valid));
    assert!(muted.cause.unwrap().starts_with("n1 was not listened to"));

    let options = Options { rate: 0.0, ..Options::default() };
    let nothing = simulate(Test::new(Echo::default(), options), |_| LateIds(0)).results();
    assert_eq!((nothing.valid, nothing.maelstrom_valid), (Verdict::Unknown, Verdict::Valid));
}

#[test]
#[should_panic(expected = "broadcast, seed 7: n0 did not accept the workload's set-up")]
fn a_failed_assertion_names_the_first_cause() {
    simulate(broadcast(options()), |_| Stubborn).assert_valid();
}

#[test]
fn a_node_that_refuses_the_set_up_fails_the_test() {
    let world = simulate(broadcast(options()), |_| Stubborn);
    let why = "not-supported (10): no".to_owned();
    assert_eq!(world.failure(), Some(&Failure::SetupRefused("n0".into(), why)));
}

/// A test in which all nodes have joined.
fn started() -> World {
    let mut world = World::new(broadcast(options()), Duration::ZERO);
    world.handle_timeout(JOIN_TIME);
    world
}

#[test]
fn a_node_that_does_not_answer_init_or_answers_it_badly_fails_the_test() {
    let mut world = started();
    world.handle_timeout(JOIN_TIME + ms(9_999));
    assert_eq!(world.failure(), None);
    world.handle_timeout(JOIN_TIME + ms(10_000));
    assert!(matches!(world.failure(), Some(Failure::InitTimeout(_))));

    let mut world = started();
    let n1: NodeId = "n1".into();
    let init = std::iter::from_fn(|| world.poll_action()).find_map(|action| match action {
        Action::Deliver { node, line } if node == n1 => serde_json::from_slice::<Value>(&line).ok(),
        _ => None,
    });
    let init = init.unwrap();
    assert_eq!(init["body"]["node_ids"], json!(["n0", "n1", "n2"]));
    let client = init["src"].as_str().unwrap();
    let line = json!({ "src": "n1", "dest": client, "body": { "type": "no", "in_reply_to": 1 } });
    world.node_said(JOIN_TIME, &n1, line.to_string().as_bytes());
    assert!(world.muted().is_empty());
    // The client that sent `init` leaves as soon as it has its reply.
    world.node_said(JOIN_TIME, &n1, line.to_string().as_bytes());
    let why = format!("there is no {client} in the network");
    assert!(world.muted().get(&n1).is_some_and(|said| said.starts_with(&why)));
    assert!(matches!(world.failure(), Some(Failure::InitRefused(node, _)) if *node == n1));
}

#[test]
fn a_line_that_is_no_message_mutes_a_node_and_the_finding_says_why() {
    for (line, why) in [
        (&b"hello\n"[..], "not a message"),
        (b"\n", "not a message"),
        (br#"{"src":"n0","body":{}}"#, "not a message (missing field `dest`"),
        (
            br#"{"src":"n0","dest":"n1","body":{},"extra":1}"#,
            "not a message (unknown field `extra`",
        ),
        (br#"{"src":"n0","dest":"n1","body":[1]}"#, "not a message (the body is not an object)"),
        (br#"{"src":"n0","dest":"n9","body":{}}"#, "there is no n9 in the network"),
    ] {
        let (mut world, now) = (started(), JOIN_TIME);
        let n0: NodeId = "n0".into();
        world.node_said(now, &n0, line);
        let said = world.muted().get(&n0).cloned().unwrap_or_default();
        assert!(said.starts_with(why), "{said}");
        let sent = world.network.stats();
        world.node_said(now, &n0, br#"{"src":"n0","dest":"n1","body":{}}"#);
        assert_eq!(world.network.stats(), sent);
    }
}

/// Replies too late to each tenth request for an id.
struct LateIds(u64);

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum IdPayload {
    Generate,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum IdReply {
    GenerateOk { id: u64 },
}

impl MessageHandler for LateIds {
    type Payload = IdPayload;
    type Event = (Request, u64);

    fn message(
        &mut self,
        node: &mut Node<Self::Event>,
        request: &Request,
        _: IdPayload,
    ) -> Result<(), Error> {
        self.0 += 1;
        let delay = if self.0.is_multiple_of(10) { 6_000 } else { 0 };
        node.set_timer(ms(delay), (request.clone(), self.0));
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Self::Event>, (request, id): Self::Event) {
        node.reply(&request, &IdReply::GenerateOk { id });
    }
}

#[test]
fn a_client_of_unique_ids_keeps_its_address_so_that_a_late_id_does_no_harm() {
    let options = Options { rate: 20.0, ..Options::default() };
    let world =
        simulate(Test::new(UniqueIds::default(), options.with_node_count(1)), |_| LateIds(0));
    assert!(!ends(&world, OpType::Info).is_empty());
    assert!(world.muted().is_empty());
}

#[test]
fn a_node_that_is_not_listened_to_does_not_stop_time() {
    let options = Options::default().with_node_count(1);
    let mut world = World::new(Test::new(Echo::default(), options), ms(0));
    world.handle_timeout(JOIN_TIME);
    // A driver that always has another line to pass on.
    for at in 100..11_000 {
        world.node_said(ms(at), &"n0".into(), b"rubbish");
    }
    assert!(matches!(world.failure(), Some(Failure::InitTimeout(_))));
}
