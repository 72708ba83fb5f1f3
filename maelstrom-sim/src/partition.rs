//! Partitions: which nodes refuse messages from which others. After Jepsen's `nemesis`.

use std::collections::{BTreeMap, BTreeSet};

use maelstrom_core::NodeId;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::rng::SimRng;

/// For each node, the nodes whose messages it refuses. [`PartitionKind`] draws one.
///
/// ```
/// use maelstrom_sim::partition::Grudge;
///
/// // A cut in one direction: n2 still hears n1.
/// let grudge = Grudge::from([("n1".into(), ["n2".into()].into())]);
/// assert!(grudge["n1"].contains("n2") && !grudge.contains_key("n2"));
/// ```
pub type Grudge = BTreeMap<NodeId, BTreeSet<NodeId>>;

/// The shape of a partition.
///
/// ```
/// use maelstrom_sim::options::node_names;
/// use maelstrom_sim::partition::PartitionKind;
/// use maelstrom_sim::rng::{self, Stream};
///
/// let mut rng = rng::stream(7, Stream::Nemesis);
/// let grudge = PartitionKind::One.grudge(&node_names(5), &mut rng);
/// // One node refuses the other four, and each of these refuses that one.
/// let mut refused: Vec<usize> = grudge.values().map(|nodes| nodes.len()).collect();
/// refused.sort();
/// assert_eq!(refused, [1, 1, 1, 1, 4]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionKind {
    /// One node against the rest.
    One,
    /// A minority of less than a third of the nodes against the rest.
    MinorityThird,
    /// The smaller half of the nodes against the rest. If the number of nodes is even, neither side
    /// is a majority.
    Majority,
    /// Every node sees a majority. Of three to five nodes, no two see the same one.
    MajoritiesRing,
    /// Any two groups. Maelstrom does not have this shape.
    Split,
    /// Each direction of each link is cut or not, independently of the other direction. Maelstrom
    /// does not have this shape.
    OneWay,
}

impl PartitionKind {
    /// Maelstrom's shapes, all equally likely.
    pub const MAELSTROMS: &[Self] =
        &[Self::One, Self::MinorityThird, Self::Majority, Self::MajoritiesRing];

    /// All shapes, all equally likely.
    pub const ALL: &[Self] = &[
        Self::One,
        Self::MinorityThird,
        Self::Majority,
        Self::MajoritiesRing,
        Self::Split,
        Self::OneWay,
    ];

    /// The name of the shape in the history.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::MinorityThird => "minority-third",
            Self::Majority => "majority",
            Self::MajoritiesRing => "majorities-ring",
            Self::Split => "split",
            Self::OneWay => "one-way",
        }
    }

    /// Draws a partition of this shape.
    pub fn grudge(self, nodes: &[NodeId], rng: &mut SimRng) -> Grudge {
        let mut shuffled = nodes.to_vec();
        shuffled.shuffle(rng);
        let count = nodes.len();
        match self {
            Self::One => split(&shuffled, 1),
            Self::MinorityThird => split(&shuffled, count.saturating_sub(1) / 3),
            Self::Majority => split(&shuffled, count / 2),
            Self::MajoritiesRing if count <= 5 => perfect_ring(&shuffled),
            Self::MajoritiesRing => stochastic_ring(nodes, rng),
            Self::Split => split(&shuffled, rng.random_range(0..=count)),
            Self::OneWay => one_way(nodes, rng),
        }
    }
}

/// Draws one probability, with which each node refuses each other node.
fn one_way(nodes: &[NodeId], rng: &mut SimRng) -> Grudge {
    let refuses = rng.random_range(0.0..=1.0);
    let mut grudge = Grudge::new();
    for dest in nodes {
        for src in nodes.iter().filter(|src| *src != dest) {
            if rng.random_bool(refuses) {
                grudge.entry(dest.clone()).or_default().insert(src.clone());
            }
        }
    }
    grudge
}

/// Cuts the first `at` nodes off from the others.
fn split(nodes: &[NodeId], at: usize) -> Grudge {
    let (left, right) = nodes.split_at(at.min(nodes.len()));
    let refuse = |these: &[NodeId], those: &[NodeId]| -> Vec<(NodeId, BTreeSet<NodeId>)> {
        let those: BTreeSet<NodeId> = those.iter().cloned().collect();
        these.iter().map(|id| (id.clone(), those.clone())).collect()
    };
    refuse(left, right).into_iter().chain(refuse(right, left)).collect()
}

fn majority(count: usize) -> usize {
    count / 2 + 1
}

/// Puts the nodes on a ring, where each node hears the majority of which it is the middle. Exact
/// for up to 5 nodes.
fn perfect_ring(nodes: &[NodeId]) -> Grudge {
    let count = nodes.len();
    let ring = |i: usize| nodes.iter().cycle().skip(i).take(majority(count)).cloned();
    (0..count)
        .filter_map(|i| {
            let heard: BTreeSet<NodeId> = ring(i).collect();
            let middle = ring(i).nth(majority(count) / 2)?;
            let refused = nodes.iter().filter(|id| !heard.contains(*id)).cloned().collect();
            Some((middle, refused))
        })
        .collect()
}

/// Connects the nodes with the fewest links until each sees a majority.
fn stochastic_ring(nodes: &[NodeId], rng: &mut SimRng) -> Grudge {
    let mut heard: BTreeMap<NodeId, BTreeSet<NodeId>> =
        nodes.iter().map(|id| (id.clone(), BTreeSet::from([id.clone()]))).collect();
    loop {
        let mut by_degree: Vec<NodeId> = nodes.to_vec();
        by_degree.shuffle(rng);
        by_degree.sort_by_key(|id| heard.get(id).map_or(0, BTreeSet::len));
        let degree = |id: &NodeId| heard.get(id).map_or(0, BTreeSet::len);
        let Some(a) = by_degree.first().filter(|a| degree(a) < majority(nodes.len())) else {
            break;
        };
        let Some(b) = by_degree.iter().find(|b| !heard.get(a).is_some_and(|s| s.contains(*b)))
        else {
            break;
        };
        for (x, y) in [(a, b), (b, a)] {
            heard.entry(x.clone()).or_default().insert(y.clone());
        }
    }
    let refused = |heard: &BTreeSet<NodeId>| {
        nodes.iter().filter(|id| !heard.contains(*id)).cloned().collect()
    };
    heard.iter().map(|(id, heard)| (id.clone(), refused(heard))).collect()
}

/// How many nodes of a partition [`sides`] names one by one.
const NAMED_MAX: usize = 10;

/// Which nodes a partition separates, in short: `n0, n3 | n1, n2, n4` for two sides, or for each
/// node those that it does not hear.
pub(crate) fn sides(grudge: &Grudge) -> String {
    let mut groups: BTreeMap<&BTreeSet<NodeId>, BTreeSet<NodeId>> = BTreeMap::new();
    for (node, refused) in grudge {
        groups.entry(refused).or_default().insert(node.clone());
    }
    let names = |nodes: &BTreeSet<NodeId>| {
        let mut names: Vec<&str> = nodes.iter().take(NAMED_MAX).map(|node| &**node).collect();
        if nodes.len() > NAMED_MAX {
            names.push("…");
        }
        names.join(", ")
    };
    let are_two_sides = groups.len() == 2
        && groups.iter().all(|(refused, _)| groups.values().any(|s| s == *refused));
    if are_two_sides {
        let mut sides: Vec<_> = groups.into_values().collect();
        sides.sort_by_key(BTreeSet::len);
        return sides.iter().map(names).collect::<Vec<_>>().join(" | ");
    }
    let deaf = grudge.iter().filter(|(_, refused)| !refused.is_empty());
    let mut texts: Vec<String> =
        deaf.map(|(node, refused)| format!("{node} does not hear {}", names(refused))).collect();
    if texts.len() > NAMED_MAX {
        texts.truncate(NAMED_MAX);
        texts.push("…".to_owned());
    }
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;
    use crate::options::node_names;

    fn hears(grudge: &Grudge, nodes: &[NodeId], a: &NodeId) -> BTreeSet<NodeId> {
        let refused = grudge.get(a).cloned().unwrap_or_default();
        nodes.iter().filter(|b| !refused.contains(*b)).cloned().collect()
    }

    #[test]
    fn a_partition_names_its_sides_or_for_each_node_those_that_it_does_not_hear() {
        let nodes = node_names(4);
        assert_eq!(sides(&split(&nodes, 1)), "n0 | n1, n2, n3");
        assert_eq!(sides(&split(&nodes, 3)), "n3 | n0, n1, n2");
        let one_way = Grudge::from([("n2".into(), BTreeSet::from(["n0".into(), "n1".into()]))]);
        assert_eq!(sides(&one_way), "n2 does not hear n0, n1");
        let ring = perfect_ring(&node_names(3));
        assert_eq!(sides(&ring), "n0 does not hear n1; n1 does not hear n2; n2 does not hear n0");
        assert_eq!(sides(&split(&nodes, 0)), "");
        let many = sides(&split(&node_names(25), 12));
        assert_eq!(many.matches('n').count(), 20, "{many}");
        assert_eq!(many.matches('…').count(), 2, "{many}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn partitions_have_their_shape(seed: u64, count in 1usize..30) {
            let nodes = node_names(count);
            let mut rng = SimRng::seed_from_u64(seed);
            for kind in PartitionKind::MAELSTROMS.iter().copied() {
                let grudge = kind.grudge(&nodes, &mut rng);
                let views: Vec<_> = nodes.iter().map(|id| hears(&grudge, &nodes, id)).collect();
                // No node refuses itself, and every cut goes in both directions. The exception is a
                // ring of three, in which each node hears only the next one, as in Jepsen.
                let one_way = kind == PartitionKind::MajoritiesRing && count == 3;
                for (a, view) in nodes.iter().zip(&views) {
                    prop_assert!(view.contains(a));
                    for (b, other) in nodes.iter().zip(&views).filter(|_| !one_way) {
                        prop_assert_eq!(view.contains(b), other.contains(a));
                    }
                }
                let smallest = views.iter().map(BTreeSet::len).min().unwrap();
                match kind {
                    PartitionKind::One => prop_assert_eq!(smallest, 1),
                    PartitionKind::Majority if count > 1 => prop_assert_eq!(smallest, count / 2),
                    PartitionKind::MinorityThird if count > 3 => {
                        prop_assert_eq!(smallest, (count - 1) / 3);
                    }
                    PartitionKind::MajoritiesRing => prop_assert!(smallest >= majority(count)),
                    _ => prop_assert_eq!(smallest, count),
                }
            }
        }
    }

    #[test]
    fn one_way_cuts_go_one_way_and_splits_make_two_groups() {
        let nodes = node_names(5);
        let mut rng = SimRng::seed_from_u64(1);
        let (mut cut, mut both) = (0, 0);
        for _ in 0..200 {
            let grudge = PartitionKind::OneWay.grudge(&nodes, &mut rng);
            let refuses = |a: &NodeId, b| grudge.get(a).is_some_and(|refused| refused.contains(b));
            for a in &nodes {
                assert!(!refuses(a, a));
                cut += nodes.iter().filter(|b| refuses(a, b)).count();
                both += nodes.iter().filter(|b| refuses(a, b) && refuses(b, a)).count();
            }
            let grudge = PartitionKind::Split.grudge(&nodes, &mut rng);
            let groups: BTreeSet<_> = nodes.iter().map(|id| hears(&grudge, &nodes, id)).collect();
            assert_eq!(groups.iter().map(BTreeSet::len).sum::<usize>(), 5, "{groups:?}");
            assert!(groups.len() <= 2);
        }
        // On average half of the links are cut, and a third in both directions: the integrals of p
        // and p².
        assert!((1_700..2_300).contains(&cut) && (1_050..1_600).contains(&both), "{cut}, {both}");
    }

    #[test]
    fn in_a_ring_of_five_no_two_nodes_see_the_same_majority() {
        let nodes = node_names(5);
        let grudge = PartitionKind::MajoritiesRing.grudge(&nodes, &mut SimRng::seed_from_u64(1));
        let views: BTreeSet<_> = nodes.iter().map(|id| hears(&grudge, &nodes, id)).collect();
        assert_eq!(views.len(), 5);
        assert!(views.iter().all(|view| view.len() == 3));
    }
}
