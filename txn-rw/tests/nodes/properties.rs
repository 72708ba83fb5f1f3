//! Nodes against the replies that clients got: whatever happens, no session goes back, and in the
//! end all nodes have the same values.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::gossip;
use proptest::prelude::*;
use txn_rw::{Config, Version};

use crate::cluster::Cluster;

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

#[derive(Clone, Debug)]
enum Step {
    /// Writes some of four keys, all to the same value.
    Write(usize, u8),
    Run(u64),
    Restart(usize),
    CutOff(usize),
    Heal,
}

fn any_step() -> impl Strategy<Value = Step> {
    let node = || 0..NAMES.len();
    prop_oneof![
        6 => (node(), 1..16_u8).prop_map(|(n, keys)| Step::Write(n, keys)),
        4 => (0..1_000_u64).prop_map(Step::Run),
        1 => node().prop_map(Step::Restart),
        1 => node().prop_map(Step::CutOff),
        1 => Just(Step::Heal),
    ]
}

/// The sizes of batches and logs. Some are so small that nodes send pieces of the map as well.
fn any_sizes() -> impl Strategy<Value = (usize, usize)> {
    (prop::sample::select(vec![100, 256 << 10]), prop::sample::select(vec![0, 4 << 20]))
}

fn cluster_of((batch_bytes_max, log_bytes_max): (usize, usize)) -> Cluster {
    let mut config = Config::default();
    config.gossip = gossip::Config { batch_bytes_max, log_bytes_max, ..config.gossip };
    Cluster::with(&NAMES, config)
}

/// The version of each key at a node.
fn versions(cluster: &Cluster, name: &str) -> BTreeMap<String, Version> {
    let rows = cluster.node(name).gossip().state().iter();
    rows.map(|(key, _, version)| (key.text().to_owned(), version.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_node_goes_back_through_cuts_and_restarts_and_all_end_up_alike(
        sizes in any_sizes(),
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let mut cluster = cluster_of(sizes);
        let keys = ["0", "1", "2", "3"];
        let mut seen: [BTreeMap<String, Version>; NAMES.len()] = Default::default();
        for (value, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write(n, chosen) => {
                    let chosen: Vec<_> = (0..4).filter(|key| chosen & (1 << key) != 0).collect();
                    let write = |key: &u8| format!(r#"["w",{key},{value}]"#);
                    let writes: Vec<_> = chosen.iter().map(write).collect();
                    cluster.txn(NAMES[n], &format!("[{}]", writes.join(",")));
                    let read = cluster.read(NAMES[n], &keys);
                    for key in chosen {
                        prop_assert_eq!(&read[usize::from(key)], &value.to_string(), "own write");
                    }
                }
                Step::Run(ms) => drop(cluster.run_for(Duration::from_millis(ms))),
                Step::Restart(n) => cluster.restart(NAMES[n], usize::MAX),
                Step::CutOff(n) => cluster.cut_off(NAMES[n]),
                Step::Heal => cluster.heal(),
            }
            for (name, seen) in NAMES.iter().zip(&mut seen) {
                let now = versions(&cluster, name);
                prop_assert!(seen.iter().all(|(key, old)| now[key] >= *old), "{} goes back", name);
                *seen = now;
            }
        }
        cluster.heal();
        cluster.all_read(&keys);
        let [first, rest @ ..] = NAMES.map(|name| versions(&cluster, name));
        prop_assert!(rest.iter().all(|other| *other == first));
        let newest = seen.iter().flatten().map(|(_, version)| version).max();
        prop_assert_eq!(first.values().max(), newest);
        prop_assert!(NAMES.iter().all(|name| cluster.node(name).gossip().state().held() == 0));
    }
}

/// Messages of two lives within a microsecond, on a network that takes no time. A question with the
/// same time as an echoed one proves nothing, so it was once repeated for ever.
#[test]
fn a_life_that_begins_in_the_microsecond_of_an_echo_is_recognized() {
    let mut cluster = cluster_of((100, 0));
    let write = |cluster: &mut Cluster, name, value: u64| {
        cluster.txn(name, &format!(r#"[["w",0,{value}]]"#));
    };
    cluster.cut_off("n2");
    write(&mut cluster, "n2", 1);
    write(&mut cluster, "n1", 2);
    cluster.run_for(Duration::from_millis(103));
    cluster.restart("n2", usize::MAX);
    write(&mut cluster, "n1", 3);
    write(&mut cluster, "n2", 4);
    cluster.heal();
    cluster.run_for(Duration::from_millis(100));
    cluster.restart("n2", usize::MAX);
    write(&mut cluster, "n2", 5);
    assert_eq!(cluster.all_read(&["0"]), ["5"]);
}
