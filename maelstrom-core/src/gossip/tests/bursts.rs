//! Tests the order in which the messages of a burst are processed, whatever the network does to
//! them.

use serde_json::json;

use super::*;

const LIFE: u64 = 7;

fn engine() -> Gossip<Set> {
    let mut engine = Gossip::new(Config::default(), Set::default());
    engine.peers.insert("n1".into(), Peer::new(1));
    engine
}

/// A message of a life. Its time of sending identifies it.
fn message(life: u64, sent: u64, place: Option<[u64; 3]>) -> Message<Set> {
    let message = json!({"life": life, "sent": sent, "have": [], "view": 1, "place": place});
    serde_json::from_value(message).unwrap()
}

/// Delivers messages, each with its place. Checks the times of sending of the messages that are
/// ready after each.
fn assert_taken(engine: &mut Gossip<Set>, life: u64, steps: &[(u64, [u64; 3], &[u64])]) {
    for (sent, place, taken) in steps {
        let ready = engine.in_order(&"n1".into(), message(life, *sent, Some(*place)));
        let ready: Vec<u64> = ready.iter().map(|message| message.sent).collect();
        assert_eq!(ready, *taken, "{sent} at {place:?}");
    }
}

#[test]
fn an_early_message_is_taken_in_its_turn_and_a_second_copy_at_once() {
    let (a, b, c) = ([1, 0, 2], [1, 1, 1], [1, 2, 0]);
    let backwards: [(u64, _, &[u64]); 3] = [(12, c, &[]), (11, b, &[]), (10, a, &[10, 11, 12])];
    assert_taken(&mut engine(), LIFE, &backwards);
    let mut engine = engine();
    assert_taken(&mut engine, LIFE, &[(10, a, &[10]), (12, c, &[]), (10, a, &[10]), (12, c, &[])]);
    assert_taken(&mut engine, LIFE, &[(11, b, &[11, 12]), (11, b, &[11]), (12, c, &[12])]);
}

#[test]
fn a_later_burst_releases_waiting_messages_and_one_of_an_earlier_burst_is_taken_at_once() {
    let mut engine = engine();
    assert_taken(&mut engine, LIFE, &[(12, [1, 2, 0], &[]), (20, [2, 0, 1], &[12, 20])]);
    assert_taken(&mut engine, LIFE, &[(11, [1, 1, 1], &[11]), (21, [2, 1, 0], &[21])]);
}

#[test]
fn another_life_begins_with_its_own_bursts() {
    let mut engine = engine();
    assert_taken(&mut engine, LIFE, &[(12, [5, 2, 0], &[])]);
    assert_taken(&mut engine, 8, &[(3, [1, 1, 0], &[12]), (2, [1, 0, 1], &[2, 3])]);
}

#[test]
fn a_message_that_is_alone_waits_for_nothing() {
    let mut engine = engine();
    assert_taken(&mut engine, LIFE, &[(12, [5, 2, 0], &[])]);
    let ready = engine.in_order(&"n1".into(), message(LIFE, 13, None));
    assert_eq!(ready.iter().map(|message| message.sent).collect::<Vec<_>>(), [13]);
}

/// The fetch does not wait for the next message of the sender.
#[test]
fn a_burst_without_its_beginning_sets_off_a_fetch() {
    let config = Config { batch_bytes_max: 3 * VALUE_BYTES, ..Config::default() };
    let mut cluster = Cluster::<Set>::new(1, 2, config, steady(20));
    cluster.run_for(secs(3));
    for _ in 0..20 {
        cluster.append(0);
    }
    // Several batches are in transit at once.
    cluster.run_until(secs(2), |cluster| cluster.under_way_from(0).0 > 6);
    let burst = cluster.intercept(0, 1);
    for packet in burst.into_iter().skip(1) {
        cluster.deliver(packet);
    }
    cluster.run_for(ms(300));
    let lacking = cluster.values(0).difference(&cluster.values(1)).count();
    assert_eq!(lacking, 0);
}
