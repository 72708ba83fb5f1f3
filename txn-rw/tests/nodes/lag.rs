//! The lag of nodes behind each other, and its cost in messages. The network takes no time here, so
//! the lag is the time for which nodes collect.

use std::collections::VecDeque;
use std::time::Duration;

use txn_rw::{Map, PERIOD_MIN};

use crate::cluster::Cluster;

const MS: Duration = Duration::from_millis(1);

/// Runs a transaction every millisecond, at each node in turn. Returns the largest lag of the
/// slowest node, and the number of messages.
fn under_load(names: &[&'static str], seconds: usize) -> (Duration, usize) {
    let mut cluster = Cluster::new(names);
    // The nodes choose their period only after they have heard from each other.
    for name in names {
        cluster.txn(name, r#"[["w",0,0]]"#);
        cluster.run_for(Duration::from_secs(5));
    }
    // The transactions that some node lacks: the node, the time and the clock of each.
    let mut on_their_way: VecDeque<(&str, u32, u64)> = VecDeque::new();
    let (mut lag, mut messages) = (0, 0);
    for (now, at) in (0..).zip((0..names.len()).cycle().take(1_000 * seconds)) {
        cluster.txn(names[at], &format!(r#"[["w",{},{now}]]"#, now % 7));
        let clock = cluster.node(names[at]).gossip().state().clock();
        on_their_way.push_back((names[at], now, clock));
        messages += cluster.run_for(MS).len();
        on_their_way.retain(|(name, _, clock)| {
            let origin = cluster.node(name).gossip().origin();
            let shown = |other: &&str| cluster.node(other).gossip().state().visible().get(origin);
            !names.iter().all(|other| shown(other) >= *clock)
        });
        lag = lag.max(on_their_way.front().map_or(0, |(_, since, _)| now + 1 - since));
    }
    (lag * MS, messages)
}

#[test]
fn nodes_are_hardly_more_than_a_period_behind_each_other_whatever_the_load() {
    for (names, per_txn_max) in [(&["n1", "n2"][..], 0.05), (&["n1", "n2", "n3", "n4", "n5"], 0.2)]
    {
        let (lag, messages) = under_load(names, 5);
        let per_txn = messages as f64 / 5_000.0;
        println!("{} nodes: {lag:?} behind, {per_txn:.3} messages a transaction", names.len());
        assert!(lag <= PERIOD_MIN + 15 * MS, "{lag:?}");
        assert!(per_txn <= per_txn_max, "{per_txn}");
    }
}
