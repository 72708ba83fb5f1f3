//! Nodes that flood others, or reply twice.

use super::*;

/// A test of two nodes in which `n0` has begun to flood `n1`.
fn flooding(latency_ms: u64) -> World {
    let options = Options::default().with_node_count(2);
    let latency = Latency { mean_ms: latency_ms, ..Latency::default() };
    let options = Options { latency, ..options };
    let mut world = World::new(Test::new(Echo::default(), options), ms(0));
    world.handle_timeout(JOIN_TIME);
    let body = RawValue::from_string(format!("\"{}\"", "x".repeat(1 << 20))).unwrap();
    for _ in 0..260 {
        let sent = world.network.send(JOIN_TIME, &"n0".into(), &"n1".into(), body.clone());
        sent.unwrap();
        world.handle_timeout(JOIN_TIME);
        if world.is_done() {
            break;
        }
    }
    world
}

#[test]
fn too_much_for_a_node_ends_the_test_wherever_it_waits() {
    // The messages wait in the network, or in the queue for the driver.
    for (latency_ms, sent) in [(1_000, 257), (0, 256)] {
        let mut world = flooding(latency_ms);
        let Some(Failure::Flood(flood)) = world.failure().cloned() else {
            panic!("{latency_ms} ms: {:?}", world.failure());
        };
        assert_eq!((flood.to.as_ref(), flood.most), ("n1", Some(("n0".into(), sent))));
        let fetched = std::iter::from_fn(|| world.poll_action()).count();
        assert!(fetched < 265 && world.undelivered == (0, 0), "{fetched}");
    }
}

#[test]
fn a_node_that_does_not_read_names_the_one_that_sent_it_most() {
    let options = Options::default().with_node_count(2);
    let mut world = World::new(Test::new(Echo::default(), options), ms(0));
    world.handle_timeout(JOIN_TIME);
    for _ in 0..7 {
        let line = br#"{"src":"n0","dest":"n1","body":{}}"#;
        world.node_said(JOIN_TIME, &"n0".into(), line);
    }
    world.node_flooded(&"n1".into(), 256 << 20);
    let failure = world.failure().unwrap();
    assert_eq!(failure.node().as_ref(), "n0");
    assert!(failure.to_string().contains("n0 has sent it the most: 7 messages"), "{failure}");
}

#[test]
fn a_second_reply_to_a_request_is_told_and_makes_no_valid_test() {
    use crate::checker::Verdict;
    let options = Options { rate: 10.0, ..Options::default().with_node_count(1) };
    let options = Options { time_limit: ms(2_000), ..options };
    let mut world = World::new(Test::new(UniqueIds::default(), options), ms(0));
    let (mut now, mut id) = (ms(0), 0);
    while !world.is_done() {
        while let Some(action) = world.poll_action() {
            let Action::Deliver { node, line } = action else { continue };
            let asked: Value = serde_json::from_slice(&line).unwrap();
            let reply = json!({ "in_reply_to": asked["body"]["msg_id"] });
            let mut reply = reply.as_object().unwrap().clone();
            let is_init = asked["body"]["type"] == "init";
            reply.insert("type".into(), json!(if is_init { "init_ok" } else { "generate_ok" }));
            if !is_init {
                id += 1;
                reply.insert("id".into(), json!(id));
            }
            let line = json!({ "src": node.as_ref(), "dest": asked["src"], "body": reply });
            let times = if is_init { 1 } else { 2 };
            for _ in 0..times {
                world.node_said(now, &node, line.to_string().as_bytes());
            }
        }
        now = world.poll_timeout(now).unwrap_or(now);
        world.handle_timeout(now);
    }
    let results = world.results();
    assert_eq!((results.valid, results.maelstrom_valid), (Verdict::Invalid, Verdict::Valid));
    assert!(
        results.cause.unwrap().starts_with("n0 replied twice to a request, after 0.000ns, to c1")
    );
}
