//! The network: latencies, faults, partitions and the intruder.

use std::collections::BTreeSet;

use super::*;
use crate::rng::{Stream, stream};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn network(mean_ms: u64, dist: LatencyDist) -> Network {
    let mut network = Network::new(Latency { mean_ms, dist }, stream(1, Stream::Latency), None);
    for address in ["n1", "n2", "c1", "lin-kv"] {
        network.add(address.into());
    }
    network
}

fn send(network: &mut Network, at: u64, src: &str, dest: &str, text: &str) {
    let body = RawValue::from_string(format!("\"{text}\"")).unwrap();
    network.send(ms(at), &src.into(), &dest.into(), body).unwrap();
}

fn arrived(network: &mut Network, at: u64) -> String {
    network.handle_timeout(ms(at));
    let texts = std::iter::from_fn(|| network.poll_delivered());
    texts.map(|m| m.body.get().replace('"', "")).collect::<Vec<_>>().join(" ")
}

#[test]
fn clients_are_at_once_and_nodes_and_services_take_the_latency() {
    let mut network = network(100, LatencyDist::Constant);
    send(&mut network, 0, "c1", "n1", "a");
    send(&mut network, 0, "n2", "c1", "b");
    assert_eq!(arrived(&mut network, 0), "a b");
    send(&mut network, 5, "n1", "n2", "c");
    send(&mut network, 5, "n1", "lin-kv", "d");
    assert_eq!(network.poll_timeout(), Some(ms(105)));
    assert_eq!(arrived(&mut network, 104), "");
    assert_eq!(arrived(&mut network, 105), "d c");
    assert_eq!(network.poll_timeout(), None);
}

#[test]
fn a_link_carries_so_many_bytes_a_second_one_message_after_the_other() {
    let mut network = network(10, LatencyDist::Constant);
    network.set_bandwidth(Some(1_000));
    let hundred_bytes = |text: &str| text.repeat(98);
    send(&mut network, 0, "n1", "n2", &hundred_bytes("a"));
    send(&mut network, 0, "n1", "n2", &hundred_bytes("b"));
    send(&mut network, 0, "n2", "n1", &hundred_bytes("c"));
    send(&mut network, 0, "n1", "lin-kv", &hundred_bytes("d"));
    send(&mut network, 0, "n1", "c1", &hundred_bytes("e"));
    let mut arrived_at = |at| {
        let mut texts: Vec<char> =
            arrived(&mut network, at).chars().filter(|c| *c != ' ').collect();
        texts.dedup();
        texts.into_iter().collect::<String>()
    };
    assert_eq!([0, 109].map(&mut arrived_at), ["e", ""]);
    assert_eq!([110, 209, 210].map(&mut arrived_at), ["dca", "", "b"]);
    send(&mut network, 1_000, "n1", "n2", &hundred_bytes("f"));
    assert_eq!(network.poll_timeout(), Some(ms(1_110)), "it does not save up");
    assert_eq!(network.stats().servers.sent_bytes, 500);
}

#[test]
fn a_message_that_is_not_due_yet_holds_back_a_client() {
    let mut network = network(100, LatencyDist::Constant);
    send(&mut network, 0, "n2", "n1", "held");
    send(&mut network, 50, "c1", "n1", "client");
    assert_eq!(arrived(&mut network, 99), "");
    assert_eq!(arrived(&mut network, 100), "held client");
}

#[test]
fn a_partition_is_checked_when_a_message_is_taken_up() {
    let mut network = network(100, LatencyDist::Constant);
    let grudge = Grudge::from([("n1".into(), BTreeSet::from(["n2".into()]))]);
    send(&mut network, 0, "n2", "n1", "taken up before");
    send(&mut network, 1, "n2", "n1", "taken up later");
    network.start_partition(grudge);
    send(&mut network, 2, "n1", "n2", "other way");
    assert_eq!(arrived(&mut network, 300), "taken up before other way");
    network.heal();
    send(&mut network, 300, "n2", "n1", "healed");
    assert_eq!(arrived(&mut network, 400), "healed");
    let stats = network.stats().servers;
    assert_eq!((stats.sent, stats.received), (4, 3));
}

#[test]
fn an_unknown_address_is_an_error_and_does_not_count() {
    let mut network = network(0, LatencyDist::Constant);
    let body = || RawValue::from_string("1".into()).unwrap();
    let (known, unknown): (NodeId, NodeId) = ("n1".into(), "n9".into());
    assert!(network.send(ms(0), &known, &unknown, body()).is_err());
    assert!(network.send(ms(0), &unknown, &known, body()).is_err());
    send(&mut network, 0, "n1", "c1", "x");
    network.remove(ms(0), &"c1".into());
    assert!(network.send(ms(0), &known, &"c1".into(), body()).is_err());
    assert_eq!(network.stats().all().sent, 1);
}

#[test]
fn messages_between_nodes_can_be_lost_doubled_and_slow_but_never_those_of_clients() {
    let mut network = network(10, LatencyDist::Constant);
    network.set_loss(1.0);
    send(&mut network, 0, "n1", "n2", "lost");
    send(&mut network, 0, "c1", "n2", "client");
    assert_eq!(arrived(&mut network, 99), "client");
    network.set_loss(0.0);
    network.set_duplication(1.0);
    send(&mut network, 100, "n1", "n2", "twice");
    send(&mut network, 110, "n2", "c1", "client");
    assert_eq!(arrived(&mut network, 110), "client twice twice");
    network.set_duplication(0.0);
    network.set_slow("lin-kv".into(), ms(500));
    send(&mut network, 200, "n1", "lin-kv", "slow");
    assert_eq!(network.poll_timeout(), Some(ms(710)));
    assert_eq!(network.stats().servers.sent, 3);
}

/// The bodies that arrive at `n1` and `n2`.
fn intruded(set: impl FnOnce(&mut Network), seed: u64) -> Vec<String> {
    let mut network = Network::new(Latency::default(), stream(seed, Stream::Latency), None);
    for address in ["n1", "n2", "n3", "c1", "lin-kv"] {
        network.add(address.into());
    }
    set(&mut network);
    let mut arrived = Vec::new();
    for at in 0..100 {
        for (src, dest) in [("n1", "n2"), ("c1", "n1"), ("lin-kv", "n2"), ("n2", "c1")] {
            let body = format!(r#"{{"type":"{src}","number":{at}}}"#);
            let body = RawValue::from_string(body).unwrap();
            network.send(ms(at), &src.into(), &dest.into(), body).unwrap();
        }
        let messages = std::iter::from_fn(|| network.poll_delivered());
        arrived.extend(messages.map(|m| format!("{} {} {}", m.src, m.dest, m.body)));
    }
    assert_eq!(network.stats().all().sent, 400, "the intruder's messages are not counted");
    arrived
}

fn of_clients_and_services(arrived: &[String]) -> Vec<&String> {
    arrived.iter().filter(|line| !line.starts_with("n1 ") && !line.starts_with("n3 ")).collect()
}

#[test]
fn forgery_changes_and_adds_messages_between_nodes_and_leaves_all_others_alone() {
    let plain = intruded(|_| {}, 1);
    let forged = intruded(|network| network.set_forgery(1.0), 1);
    assert_eq!(of_clients_and_services(&plain).len(), 300);
    let others = of_clients_and_services(&forged);
    assert!(of_clients_and_services(&plain).iter().all(|line| others.contains(line)));
    let kept = forged.iter().filter(|line| plain.contains(line)).count();
    let added = forged.len() - plain.len();
    let changed = plain.len() - kept;
    assert!((30..=70).contains(&added), "{added}");
    assert!((30..=70).contains(&changed), "{changed}");
    let other_ends = ["n3 n2 ", "n1 n3 ", "n1 n1 "];
    for ends in other_ends {
        assert!(forged.iter().any(|line| line.starts_with(ends)), "{ends}");
    }
    assert_eq!(intruded(|network| network.set_forgery(1.0), 1), forged, "by the seed");
    assert_ne!(intruded(|network| network.set_forgery(1.0), 2), forged);
    assert_eq!(intruded(|network| network.set_forgery(0.0), 1), plain);
}

#[test]
fn a_replay_is_an_earlier_message_between_nodes_as_it_was() {
    let (plain, replayed) = (intruded(|_| {}, 1), intruded(|network| network.set_replay(1.0), 1));
    assert_eq!(replayed.len(), plain.len() + 100);
    assert!(replayed.iter().all(|line| plain.contains(line)));
    assert!(plain.iter().all(|line| replayed.contains(line)));
    assert_eq!(of_clients_and_services(&replayed), of_clients_and_services(&plain));
}

#[test]
fn partitions_add_up_until_they_are_healed() {
    let mut network = network(0, LatencyDist::Constant);
    for refused in ["n2", "lin-kv"] {
        let refused = BTreeSet::from([refused.into()]);
        network.start_partition(Grudge::from([("n1".into(), refused)]));
    }
    send(&mut network, 0, "n2", "n1", "a");
    send(&mut network, 0, "lin-kv", "n1", "b");
    assert_eq!(arrived(&mut network, 0), "");
    network.heal();
    send(&mut network, 0, "n2", "n1", "c");
    assert_eq!(arrived(&mut network, 0), "c");
}

#[test]
fn a_receiver_sleeps_whole_milliseconds_as_maelstrom_does() {
    let mut network = network(10, LatencyDist::Constant);
    let body = RawValue::from_string("\"x\"".into()).unwrap();
    let sent = Duration::from_micros(500);
    network.send(sent, &"n2".into(), &"n1".into(), body.clone()).unwrap();
    // Due after 10 ms, and taken at once.
    assert_eq!(network.poll_timeout(), Some(sent + ms(10)));
    network.handle_timeout(sent);
    let late = Duration::from_micros(10_100);
    network.send(late, &"n2".into(), &"n1".into(), body).unwrap();
    network.handle_timeout(sent + ms(10));
    // Due at 20.1 ms and taken at 10.5 ms. The receiver sleeps 9 ms, not 9.6.
    assert_eq!(network.poll_timeout(), Some(sent + ms(19)));
}

#[test]
fn latencies_are_whole_milliseconds_in_their_range() {
    let mut network = network(3, LatencyDist::Uniform);
    let (n1, n2): (NodeId, NodeId) = ("n1".into(), "n2".into());
    let draws: BTreeSet<Duration> = (0..1_000).map(|_| network.draw_latency(&n1, &n2)).collect();
    assert_eq!(draws.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5].map(ms));
}

#[test]
fn latencies_have_their_mean_and_can_overtake() {
    for (dist, max) in [(LatencyDist::Uniform, 200), (LatencyDist::Exponential, 5_000)] {
        let mut network = network(100, dist);
        let (n1, n2): (NodeId, NodeId) = ("n1".into(), "n2".into());
        let draws: Vec<u128> =
            (0..10_000).map(|_| network.draw_latency(&n1, &n2).as_millis()).collect();
        let mean = draws.iter().sum::<u128>() / 10_000;
        assert!((95..105).contains(&mean), "{dist:?}: {mean}");
        assert!(draws.iter().all(|d| *d < max));
    }
}

#[test]
fn a_slow_node_is_slow_to_send_and_to_get_and_two_of_them_add_up() {
    let mut network = network(10, LatencyDist::Constant);
    network.set_slow("n1".into(), ms(500));
    send(&mut network, 0, "n1", "n2", "from");
    send(&mut network, 1, "n2", "n1", "to");
    assert_eq!(arrived(&mut network, 509), "");
    assert_eq!(
        (arrived(&mut network, 510), arrived(&mut network, 511)),
        ("from".into(), "to".into())
    );
    network.set_slow("n2".into(), ms(100));
    send(&mut network, 1_000, "n1", "n2", "both");
    assert_eq!(network.poll_timeout(), Some(ms(1_610)));
    network.set_slow("n2".into(), ms(0));
    send(&mut network, 2_000, "n2", "lin-kv", "well again");
    assert_eq!(arrived(&mut network, 2_010), "both well again");
}

#[test]
fn a_slow_link_is_slow_in_one_direction_and_delays_no_other_link() {
    let mut network = network(10, LatencyDist::Constant);
    network.set_slow_link("n1".into(), "n2".into(), ms(500));
    send(&mut network, 0, "n2", "n1", "back");
    send(&mut network, 0, "lin-kv", "n2", "other");
    assert_eq!(arrived(&mut network, 10), "back other");
    send(&mut network, 20, "n1", "n2", "slow");
    assert_eq!(network.poll_timeout(), Some(ms(530)));
    assert_eq!(arrived(&mut network, 530), "slow");
    network.set_slow("n1".into(), ms(100));
    send(&mut network, 1_000, "n1", "n2", "both");
    assert_eq!(network.poll_timeout(), Some(ms(1_610)));
    assert_eq!(arrived(&mut network, 1_610), "both");
    network.set_slow("n1".into(), ms(0));
    network.set_slow_link("n1".into(), "n2".into(), ms(0));
    send(&mut network, 2_000, "n1", "n2", "well again");
    assert_eq!(arrived(&mut network, 2_010), "well again");
}

#[test]
fn each_copy_of_a_message_takes_its_own_time() {
    let mut network = network(1_000, LatencyDist::Uniform);
    network.set_duplication(1.0);
    let mut together = 0;
    for at in (0..50).map(|round| round * 10_000) {
        send(&mut network, at, "n1", "n2", "x");
        let first = network.poll_timeout().unwrap();
        network.handle_timeout(first);
        together += u32::from(network.poll_timeout().is_none());
        assert_eq!(arrived(&mut network, at + 9_999), "x x");
    }
    assert!(together < 5, "{together}");
}

fn send_mebibytes(network: &mut Network, at: u64, count: usize) {
    let body = RawValue::from_string(format!("\"{}\"", "x".repeat((1 << 20) - 2))).unwrap();
    for _ in 0..count {
        network.send(ms(at), &"n1".into(), &"n2".into(), body.clone()).unwrap();
    }
}

#[test]
fn more_bytes_than_may_wait_for_a_receiver_name_it_and_its_sender() {
    let mut network = network(100, LatencyDist::Constant);
    send(&mut network, 0, "lin-kv", "n2", "first");
    // The receiver holds the first message, so the message is not in the queue any more.
    send_mebibytes(&mut network, 0, 256);
    assert_eq!(network.flooded(), None);
    send_mebibytes(&mut network, 50, 1);
    let flood = network.flooded().unwrap();
    assert_eq!((flood.to.as_ref(), flood.most.clone()), ("n2", Some(("n1".into(), 257))));
    let told = flood.to_string();
    assert!(told.starts_with("257 messages of 257 MiB wait for n2 in the network"), "{told}");
    assert!(told.contains("n1 has sent it the most: 257 messages"), "{told}");
}

#[test]
fn a_node_that_asks_a_service_more_than_it_reads_is_to_blame_itself() {
    let mut network = network(0, LatencyDist::Constant);
    let flood = |network: &Network| {
        let flood = network.flood(&"n2".into(), Waiting::Unread(256 << 20));
        (flood.most.clone(), flood.to_string())
    };
    for _ in 0..3 {
        send(&mut network, 0, "lin-kv", "n2", "reply");
    }
    send(&mut network, 0, "n1", "n2", "once");
    let (most, told) = flood(&network);
    assert_eq!(most, None);
    assert!(!told.contains("forward"), "{told}");
    assert!(told.contains("lin-kv has sent it 3 replies: n2 asks more than it reads"), "{told}");
    assert_eq!(network.busiest(), Some(("n1".into(), 1)));
    for _ in 0..3 {
        send(&mut network, 0, "n1", "n2", "more");
    }
    assert_eq!(flood(&network).0, Some(("n1".into(), 4)));
}

#[test]
fn more_messages_than_may_wait_name_them_too() {
    let mut network = network(100, LatencyDist::Constant);
    let (n1, n2, body) = ("n1".into(), "n2".into(), RawValue::from_string("1".into()).unwrap());
    for _ in 0..=WAITING_MAX {
        network.send(ms(0), &n1, &n2, body.clone()).unwrap();
    }
    assert_eq!(network.flooded(), None, "one is taken up");
    network.send(ms(0), &n1, &n2, body).unwrap();
    let waiting = network.flooded().unwrap().waiting;
    assert_eq!(waiting, Waiting::InNetwork(WAITING_MAX + 1, WAITING_MAX + 1));
}

#[test]
fn a_message_that_has_arrived_does_not_wait_any_more() {
    let mut network = network(100, LatencyDist::Constant);
    for round in 0..3 {
        send_mebibytes(&mut network, round * 200, 200);
        network.handle_timeout(ms(round * 200 + 100));
        while network.poll_delivered().is_some() {}
    }
    assert_eq!(network.flooded(), None);
}

#[test]
fn services_are_spared_of_loss_and_duplication_if_asked_for() {
    for (spared, expected) in [(false, [0, 0, 0]), (true, [0, 20, 20])] {
        let mut network = Network::new(Latency::default(), stream(1, Stream::Latency), None);
        for id in ["n1", "n2", "lin-kv"] {
            network.add(id.into());
        }
        if spared {
            network.spare_services();
        }
        network.set_loss(1.0);
        let arrived = [("n1", "n2"), ("n1", "lin-kv"), ("lin-kv", "n1")].map(|(src, dest)| {
            for _ in 0..20 {
                let body = RawValue::from_string("{}".into()).unwrap();
                network.send(Duration::ZERO, &src.into(), &dest.into(), body).unwrap();
            }
            network.handle_timeout(Duration::ZERO);
            std::iter::from_fn(|| network.poll_delivered()).count()
        });
        assert_eq!(arrived, expected);
    }
}
