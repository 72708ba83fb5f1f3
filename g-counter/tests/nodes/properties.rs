//! Nodes against a number that the test adds to: whatever happens, all nodes end up with it.

use std::time::Duration;

use proptest::prelude::*;

use crate::cluster::Cluster;

const NAMES: [&str; 3] = ["n1", "n2", "n3"];

#[derive(Clone, Debug)]
enum Step {
    Add(usize, u64),
    /// The last add to a node comes again.
    Repeat(usize),
    Run(u64),
    Restart(usize),
    CutOff(usize),
    Heal,
}

fn any_step() -> impl Strategy<Value = Step> {
    let node = || 0..NAMES.len();
    prop_oneof![
        4 => (node(), prop_oneof![0..5_u64, Just(1 << 55)]).prop_map(|(n, d)| Step::Add(n, d)),
        2 => node().prop_map(Step::Repeat),
        4 => (0..3_000_u64).prop_map(Step::Run),
        1 => node().prop_map(Step::Restart),
        1 => node().prop_map(Step::CutOff),
        1 => Just(Step::Heal),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_add_counts_once_through_cuts_restarts_and_retries(
        steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let mut cluster = Cluster::new(&NAMES);
        let (mut sum, mut msg_id, mut last) = (0_u128, 0, [None; NAMES.len()]);
        for step in steps {
            match step {
                Step::Add(n, delta) => {
                    msg_id += 1;
                    cluster.add_as(NAMES[n], "c1", msg_id, delta);
                    sum += u128::from(delta);
                    last[n] = Some((msg_id, delta));
                }
                Step::Repeat(n) => {
                    if let Some((msg_id, delta)) = last[n] {
                        cluster.add_as(NAMES[n], "c1", msg_id, delta);
                    }
                }
                Step::Run(ms) => drop(cluster.run_for(Duration::from_millis(ms))),
                Step::Restart(n) => {
                    cluster.restart(NAMES[n], usize::MAX);
                    // An add that is repeated after a restart counts again.
                    last[n] = None;
                }
                Step::CutOff(n) => cluster.cut_off(NAMES[n]),
                Step::Heal => cluster.heal(),
            }
            let reads = cluster.read_all();
            prop_assert!(reads.iter().all(|read| *read <= sum), "{reads:?} of {sum}");
        }
        cluster.heal();
        cluster.assert_all_read(sum);
    }
}
