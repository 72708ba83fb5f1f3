//! What faults do to nodes, as the nodes see it.

use maelstrom_core::{Error, Node, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::nemesis::Fault;
use crate::trace::Fate;
use crate::workload::WorkloadKind;

/// Sends a note to everyone for each request, and asks `lin-kv`.
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
            for peer in node.peers().cloned().collect::<Vec<_>>() {
                node.send(&peer, &Payload::Note);
            }
            node.rpc(&"lin-kv".into(), &Payload::Read { key: 1 }, Duration::from_secs(1), |_| ());
        }
        Ok(())
    }
}

fn options(faults: &[Fault]) -> Options {
    let mut options = Options::new(WorkloadKind::Echo).with_node_count(3);
    options.rate = 50.0;
    options.time_limit = Duration::from_secs(20);
    options.nemesis = faults.iter().copied().collect();
    options.nemesis_interval = Duration::from_secs(2);
    options.latency.mean_ms = 10;
    options.forgive_late_replies = true;
    options.seed = 3;
    options
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
fn a_trace_tells_what_became_of_every_message_and_changes_nothing() {
    let options = options(&Fault::ALL);
    let plain = simulate(options.clone(), |_| Chatty);
    let traced = simulate(Options { trace: true, ..options }, |_| Chatty);
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
    // Whatever can happen does, but nobody is muted here.
    for fate in [Fate::Delivered, Fate::Lost, Fate::Refused, Fate::Down, Fate::Unreachable] {
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
    // Some may be on their way, or wait for a node that is paused, when the run ends.
    let open = usize::try_from(copies).unwrap() - fates.len();
    assert!((arrived..=arrived + open).contains(&received), "{arrived} + {open}, {received}");
    assert!(messages.iter().any(|message| message["copies"] == 2));
    assert!(open < 50, "{open}");
}

#[test]
fn a_service_answers_what_has_reached_it_and_nothing_else() {
    let options = Options { trace: true, ..options(&[Fault::Services]) };
    let messages = messages(&simulate(options, |_| Chatty));
    let (mut reached, mut unreachable) = (0, 0);
    for asked in messages.iter().filter(|message| message["dest"] == "lin-kv") {
        let answers = messages.iter().filter(|message| {
            message["src"] == "lin-kv"
                && message["dest"] == asked["src"]
                && message["body"]["in_reply_to"] == asked["body"]["msg_id"]
        });
        let expected = match asked["ends"][0]["fate"].as_str() {
            Some("delivered") => {
                reached += 1;
                1
            }
            Some("unreachable") => {
                unreachable += 1;
                0
            }
            // It was under way at the end.
            fate => fate.map_or(0, |fate| panic!("{fate}")),
        };
        assert_eq!(answers.count(), expected, "{asked}");
    }
    assert!(reached > 100 && unreachable > 10, "{reached}, {unreachable}");
}
