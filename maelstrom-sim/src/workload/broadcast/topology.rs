//! The neighbours that Maelstrom suggests to the nodes of a broadcast.

use std::collections::BTreeMap;

use maelstrom_core::NodeId;

/// A topology. Nodes may ignore it.
///
/// ```
/// use maelstrom_sim::options::node_names;
/// use maelstrom_sim::workload::broadcast::Topology;
///
/// let neighbours = Topology::Line.neighbours(&node_names(3));
/// assert_eq!(neighbours["n1"], ["n0".into(), "n2".into()]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Topology {
    /// A roughly square grid.
    #[default]
    Grid,
    /// A line.
    Line,
    /// Every node is a neighbour of every other node.
    Total,
    /// A binary tree.
    #[value(alias = "tree")]
    Tree2,
    /// A tree with 3 branches.
    Tree3,
    /// A tree with 4 branches.
    Tree4,
}

impl Topology {
    /// The neighbours of each node.
    #[must_use]
    pub fn neighbours(self, nodes: &[NodeId]) -> BTreeMap<NodeId, Vec<NodeId>> {
        let count = nodes.len();
        let side = (1..).find(|side| side * side >= count).unwrap_or(1);
        let linked = |a: usize, b: usize| {
            let (low, high) = (a.min(b), a.max(b));
            match self {
                Self::Total => true,
                Self::Line => high - low == 1,
                Self::Grid => high - low == side || (high - low == 1 && high % side != 0),
                Self::Tree2 => (high - 1) / 2 == low,
                Self::Tree3 => (high - 1) / 3 == low,
                Self::Tree4 => (high - 1) / 4 == low,
            }
        };
        let mut map = BTreeMap::new();
        for (a, id) in nodes.iter().enumerate() {
            let others = nodes.iter().enumerate().filter(|(b, _)| *b != a && linked(a, *b));
            map.insert(id.clone(), others.map(|(_, id)| id.clone()).collect());
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::node_names;

    fn text(topology: Topology, count: usize) -> String {
        let map = topology.neighbours(&node_names(count));
        let rows = map.iter().map(|(id, others)| format!("{id}:{}", others.join(",")));
        rows.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn shapes_are_maelstroms() {
        assert_eq!(text(Topology::Grid, 5), "n0:n1,n3 n1:n0,n2,n4 n2:n1 n3:n0,n4 n4:n1,n3",);
        assert_eq!(text(Topology::Line, 3), "n0:n1 n1:n0,n2 n2:n1");
        assert_eq!(text(Topology::Total, 3), "n0:n1,n2 n1:n0,n2 n2:n0,n1");
        assert_eq!(text(Topology::Tree2, 6), "n0:n1,n2 n1:n0,n3,n4 n2:n0,n5 n3:n1 n4:n1 n5:n2");
        assert_eq!(text(Topology::Tree4, 6), "n0:n1,n2,n3,n4 n1:n0,n5 n2:n0 n3:n0 n4:n0 n5:n1");
        assert_eq!(text(Topology::Grid, 1), "n0:");
    }
}
