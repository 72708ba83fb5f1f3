//! Tests that for one request or message, a node looks only at peers for which something is due.

use super::*;

/// How many requests are counted, all at the same time.
const REQUESTS: usize = 50;

/// How often node `index` looks at a peer while it handles `act`.
fn looks(cluster: &mut Cluster<Set>, index: usize, act: impl FnOnce(&mut Cluster<Set>)) -> usize {
    let before = cluster.engine(index).peers.looks.get();
    act(cluster);
    cluster.engine(index).peers.looks.get() - before
}

/// How often a node looks at a peer for one append, right after it has sent all its news.
fn looks_per_append(cluster: &mut Cluster<Set>, index: usize) -> usize {
    cluster.append(index);
    let append = |cluster: &mut Cluster<Set>| {
        for _ in 0..REQUESTS {
            cluster.append(index);
        }
    };
    looks(cluster, index, append).div_ceil(REQUESTS)
}

/// A cluster in which all nodes run, or only the first one.
fn cluster(size: usize, is_alone: bool) -> Cluster<Set> {
    let mut cluster = Cluster::new(7, size, Config::default(), steady(20));
    cluster.append(0);
    cluster.run_for(secs(10));
    if is_alone {
        (1..size).for_each(|index| cluster.kill(index));
        cluster.append(0);
        cluster.run_for(secs(60));
        let peers = &cluster.engine(0).peers;
        assert!((1..size).all(|index| !peers.get(&name(index)).unwrap().is_up()));
    }
    cluster
}

#[test]
fn an_append_looks_at_as_few_of_99_peers_as_of_one() {
    for (is_alone, index) in [(false, 0), (false, 1), (true, 0)] {
        let few = looks_per_append(&mut cluster(2, is_alone), index);
        let many = looks_per_append(&mut cluster(100, is_alone), index);
        assert!(many <= 2 * few.max(5), "{many} instead of {few}: n{index}, alone: {is_alone}");
    }
}

#[test]
fn a_message_makes_a_hub_look_at_as_few_of_99_peers_as_of_one() {
    let [few, many] = [2, 100].map(|size| {
        let mut cluster = cluster(size, false);
        // The node has just sent its news to all peers, and already has more for all of them.
        cluster.append(0);
        cluster.append(0);
        let life = cluster.engine(0).peers.get(&name(1)).unwrap().life();
        let have = cluster.engine(1).replica().version().clone();
        let said = serde_json::json!({"type": "gossip", "life": life, "sent": 1, "have": have,
            "view": 1, "hub": name(0)});
        let hear = |cluster: &mut Cluster<Set>| drop(cluster.hear(0, "n001", &said.to_string()));
        looks(&mut cluster, 0, hear)
    });
    assert!(many <= 2 * few.max(10), "{many} instead of {few}");
}
