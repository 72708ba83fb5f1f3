//! The partition of each key, and the nodes that keep each partition. All nodes compute the same
//! answer, without a message.
//!
//! Keys hash onto a fixed number of partitions. Partitions hash onto nodes by rendezvous hashing
//! (Thaler and Ravishankar, *Using name-based mappings to increase hit rates*, 1998): each node has
//! a score for each partition. The nodes with the highest scores keep the partition, and the first
//! of them is its preferred leader. So a node that joins only takes over its own share. A node that
//! leaves only gives up its own share.

use std::sync::Arc;

use maelstrom_core::NodeId;

use crate::wire::PartitionId;

/// The placement of all partitions on the nodes of a cluster.
#[derive(Clone, Debug)]
pub struct Placement {
    /// For each partition the nodes that keep it, the preferred leader first.
    replicas: Vec<Arc<[NodeId]>>,
}

/// FNV-1a, 64 bits.
fn fnv(seed: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, step)
}

/// The finalizer of `SplitMix64`: each bit of the input changes half of the bits of the output.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Placement {
    /// Places `partitions` partitions on these nodes, each on `factor` of them (or all, if there
    /// are fewer). There is always at least one partition.
    #[must_use]
    pub fn new(nodes: &[NodeId], partitions: PartitionId, factor: usize) -> Self {
        let replicas = (0..partitions.max(1)).map(|partition| {
            let score = |node: &NodeId| mix(fnv(mix(u64::from(partition)), node.as_bytes()));
            let mut ranked: Vec<(u64, NodeId)> =
                nodes.iter().map(|node| (score(node), node.clone())).collect();
            ranked.sort_by(|a, b| b.cmp(a));
            ranked.into_iter().map(|(_, node)| node).take(factor.max(1)).collect()
        });
        Self { replicas: replicas.collect() }
    }

    /// The partition that holds `key`.
    #[must_use]
    pub fn partition(&self, key: &str) -> PartitionId {
        let count = u64::try_from(self.replicas.len()).unwrap_or(1).max(1);
        let slot = mix(fnv(0, key.as_bytes())).checked_rem(count).unwrap_or(0);
        PartitionId::try_from(slot).unwrap_or(0)
    }

    /// The nodes that keep a partition, the preferred leader first. Empty if there is no such
    /// partition.
    #[must_use]
    pub fn replicas(&self, partition: PartitionId) -> &[NodeId] {
        let place = usize::try_from(partition).unwrap_or(usize::MAX);
        self.replicas.get(place).map(AsRef::as_ref).unwrap_or_default()
    }

    /// True if `node` keeps a partition.
    #[must_use]
    pub fn keeps(&self, node: &NodeId, partition: PartitionId) -> bool {
        self.replicas(partition).contains(node)
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> PartitionId {
        PartitionId::try_from(self.replicas.len()).unwrap_or(PartitionId::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const PARTITIONS: PartitionId = 4_096;

    fn nodes(count: usize) -> Vec<NodeId> {
        (0..count).map(|n| format!("n{n}").into()).collect()
    }

    fn place(count: usize, factor: usize) -> Placement {
        Placement::new(&nodes(count), PARTITIONS, factor)
    }

    #[test]
    fn every_node_leads_and_keeps_about_as_many_partitions_as_any_other() {
        for count in [2, 3, 5, 9, 25] {
            let placement = place(count, 3);
            let (mut leads, mut keeps) = (BTreeMap::new(), BTreeMap::new());
            for partition in 0..PARTITIONS {
                let replicas = placement.replicas(partition);
                assert_eq!(replicas.len(), count.min(3));
                *leads.entry(replicas[0].clone()).or_insert(0_usize) += 1;
                for node in replicas {
                    *keeps.entry(node.clone()).or_insert(0_usize) += 1;
                }
            }
            for (shares, all) in [(leads, 4_096), (keeps, 4_096 * count.min(3))] {
                assert_eq!(shares.len(), count);
                let fair = all / count;
                for (node, share) in shares {
                    let off = share.abs_diff(fair) * 100 / fair;
                    assert!(off <= 25, "{node} of {count} has {share} rather than {fair}");
                }
            }
        }
    }

    #[test]
    fn keys_spread_evenly_over_partitions() {
        let placement = Placement::new(&nodes(3), 64, 3);
        let mut counts = vec![0_usize; 64];
        for key in 0..64_000 {
            counts[placement.partition(&key.to_string()) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_node_that_joins_takes_its_share_and_nothing_else_moves() {
        for count in [2, 3, 5, 9] {
            let (before, after) = (place(count, 1), place(count + 1, 1));
            let joined: NodeId = format!("n{count}").into();
            let mut moved = 0;
            for partition in 0..PARTITIONS {
                let (old, new) = (before.replicas(partition), after.replicas(partition));
                if old != new {
                    assert_eq!(new, std::slice::from_ref(&joined));
                    moved += 1;
                }
            }
            let fair = 4_096 / (count + 1);
            assert!(moved * 4 <= fair * 5, "{moved} moved to the new one of {count} + 1");
        }
    }

    #[test]
    fn a_node_that_leaves_hands_over_its_keys_and_the_rest_keeps_its_order() {
        let (before, after) = (place(6, 3), place(5, 3));
        let gone: NodeId = "n5".into();
        for partition in 0..PARTITIONS {
            let kept: Vec<_> =
                before.replicas(partition).iter().filter(|node| **node != gone).collect();
            let now: Vec<_> = after.replicas(partition).iter().take(kept.len()).collect();
            assert_eq!(kept, now);
        }
    }

    #[test]
    fn the_order_in_which_nodes_are_named_does_not_matter() {
        let mut reversed = nodes(5);
        reversed.reverse();
        let (one, other) = (place(5, 3), Placement::new(&reversed, PARTITIONS, 3));
        assert!((0..PARTITIONS).all(|p| one.replicas(p) == other.replicas(p)));
    }

    #[test]
    fn there_is_always_a_partition_and_a_replica() {
        let placement = Placement::new(&nodes(1), 0, 0);
        assert_eq!(placement.partitions(), 1);
        assert_eq!(placement.replicas(placement.partition("k")), nodes(1));
        assert_eq!(placement.replicas(7), []);
    }
}
