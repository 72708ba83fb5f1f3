//! Dependency graphs for your own workloads: Adya's phenomena as cycles.
//!
//! A workload that infers the dependencies of its transactions itself adds an edge for each
//! dependency, and then looks for a cycle. [`check`](super::check) and
//! [`check_lists`](super::check_lists) use the same search.
//!
//! Source: Adya, *Weak Consistency* (PhD thesis, MIT 1999, §4). The names of cycles with sessions
//! and real time are those of Kingsbury & Alvaro, *Elle* (VLDB 2020).
//!
//! ```
//! use maelstrom_sim::checker::txn::adya::{Class, Graph, Phenomenon};
//!
//! // T1 and T2 read each other's writes.
//! let mut graph = Graph::default();
//! graph.add("T1", "T2", Class::Wr);
//! graph.add("T2", "T1", Class::Wr);
//! graph.add("T2", "T3", Class::Ww);
//!
//! assert_eq!(graph.find(Phenomenon::G0), Ok(None));
//! let cycle = graph.find(Phenomenon::G1c).unwrap().expect("T1 and T2 depend on each other");
//! assert_eq!(cycle.name(), "G1c");
//! assert_eq!(cycle.edges, [("T1", Class::Wr, "T2"), ("T2", Class::Wr, "T1")]);
//! ```

use std::collections::BTreeMap;

use petgraph::graph::{DiGraph, NodeIndex};

use thiserror::Error;

use super::cycles;
use super::graph::class;
use super::model::{Anti, Level};

/// The kind of dependency: why one transaction comes before another. The [module's example](self)
/// shows a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A write dependency: the second transaction overwrote a write of the first.
    Ww,
    /// A read dependency: the second transaction read a write of the first.
    Wr,
    /// An anti-dependency: the second transaction overwrote a version that the first one read.
    Rw,
    /// The second transaction follows in the same process. Add these edges if the model includes
    /// sessions.
    Process,
    /// The first transaction ended before the second one began. Add these edges if the model
    /// includes real time.
    Realtime,
}

impl Class {
    const fn mask(self) -> u16 {
        match self {
            Self::Ww => class::WW,
            Self::Wr => class::WR,
            Self::Rw => class::RW,
            Self::Process => class::SESSION,
            Self::Realtime => class::REALTIME,
        }
    }
}

/// Adya's phenomena. The cycles of each may also contain process and real-time edges. The
/// [module's example](self) shows a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phenomenon {
    /// A cycle of write dependencies.
    G0,
    /// A cycle of write and read dependencies, with at least one read dependency.
    G1c,
    /// A cycle with exactly one anti-dependency.
    GSingle,
    /// A cycle with at least one anti-dependency.
    G2Item,
}

impl Phenomenon {
    /// The classes of edges that a cycle may have, and those of which it must have one.
    const fn level(self) -> (Level, u16) {
        let order = class::SESSION | class::REALTIME;
        let (mask, anti, needed) = match self {
            Self::G0 => (class::WW, Anti::Any, class::WW),
            Self::G1c => (class::WW | class::WR, Anti::Any, class::WR),
            Self::GSingle => (class::WW | class::WR | class::RW, Anti::One, class::RW),
            Self::G2Item => (class::WW | class::WR | class::RW, Anti::Any, class::RW),
        };
        (Level { mask: mask | order, anti }, needed)
    }
}

/// The search for a cycle reached its limit. There may still be one. The [module's example](self)
/// shows a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the search for a cycle with one anti-dependency has reached its limit: there may be one")]
pub struct GaveUp;

/// A cycle in a [`Graph`]. The [module's example](self) shows a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle<V> {
    /// The phenomenon that the cycle shows.
    pub phenomenon: Phenomenon,
    /// Its edges. Each begins where the one before it ends.
    pub edges: Vec<(V, Class, V)>,
}

impl<V> Cycle<V> {
    /// Elle's name for it, such as `G1c`, `G1c-process` or `G1c-realtime`.
    #[must_use]
    pub fn name(&self) -> String {
        let name = match self.phenomenon {
            Phenomenon::G0 => "G0",
            Phenomenon::G1c => "G1c",
            Phenomenon::GSingle => "G-single",
            Phenomenon::G2Item => "G2-item",
        };
        let has = |wanted| self.edges.iter().any(|(_, class, _)| *class == wanted);
        let suffix = match () {
            () if has(Class::Realtime) => "-realtime",
            () if has(Class::Process) => "-process",
            () => "",
        };
        format!("{name}{suffix}")
    }
}

/// A dependency graph. Its vertices are transactions, of any type: indices, for example. The
/// [module's example](self) shows a search.
#[derive(Clone, Debug)]
pub struct Graph<V> {
    graph: DiGraph<(), Class>,
    vertices: Vec<V>,
    nodes: BTreeMap<V, NodeIndex>,
}

impl<V> Default for Graph<V> {
    fn default() -> Self {
        Self { graph: DiGraph::new(), vertices: Vec::new(), nodes: BTreeMap::new() }
    }
}

impl<V: Clone + Ord> Graph<V> {
    /// Adds an edge, and its vertices if they are new. Ignores an edge from a transaction to
    /// itself, which is no dependency. Takes O(log n) time for n vertices.
    pub fn add(&mut self, from: V, to: V, class: Class) {
        if from != to {
            let (from, to) = (self.node(from), self.node(to));
            self.graph.add_edge(from, to, class);
        }
    }

    fn node(&mut self, vertex: V) -> NodeIndex {
        if let Some(node) = self.nodes.get(&vertex) {
            return *node;
        }
        let node = self.graph.add_node(());
        self.vertices.push(vertex.clone());
        self.nodes.insert(vertex, node);
        node
    }

    /// Finds a cycle that shows this phenomenon, if there is one.
    ///
    /// The search takes the first strongly connected component with such a cycle. It starts from up
    /// to 32 of the edges that such a cycle needs, or from all of them for [`Phenomenon::GSingle`].
    /// It returns the shortest cycle through one of these edges, and prefers a cycle with a single
    /// anti-dependency. Takes O(n) time for n vertices and edges to find the components, and up to
    /// O(n) for each such edge.
    ///
    /// # Errors
    ///
    /// [`GaveUp`] if the search reached its limit of some millions of steps, so that there may
    /// still be a cycle. That happens only for [`Phenomenon::GSingle`].
    pub fn find(&self, phenomenon: Phenomenon) -> Result<Option<Cycle<V>>, GaveUp> {
        let (level, needed) = phenomenon.level();
        let found = cycles::find(&self.graph, level, needed, |class| class.mask());
        let Some(cycle) = found.cycles.first() else {
            return if found.gave_up { Err(GaveUp) } else { Ok(None) };
        };
        let edges = cycle.iter().map(|edge| {
            let (from, to) = self.graph.edge_endpoints(*edge)?;
            let vertex = |node: NodeIndex| self.vertices.get(node.index()).cloned();
            Some((vertex(from)?, *self.graph.edge_weight(*edge)?, vertex(to)?))
        });
        Ok(edges.collect::<Option<_>>().map(|edges| Cycle { phenomenon, edges }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Process, Realtime, Rw, Wr, Ww};
    use Phenomenon::{G0, G1c, G2Item, GSingle};

    /// The names of the cycles of all phenomena, and the length of each.
    fn found(edges: &[(u32, Class, u32)]) -> Vec<(String, usize)> {
        let mut graph = Graph::default();
        for (from, class, to) in edges {
            graph.add(*from, *to, *class);
        }
        let cycles =
            [G0, G1c, GSingle, G2Item].into_iter().filter_map(|kind| graph.find(kind).unwrap());
        cycles.map(|cycle| (cycle.name(), cycle.edges.len())).collect()
    }

    fn named(names: &[(&str, usize)]) -> Vec<(String, usize)> {
        names.iter().map(|(name, len)| ((*name).to_owned(), *len)).collect()
    }

    #[test]
    fn each_phenomenon_has_cycles_of_its_classes_only() {
        assert_eq!(found(&[(1, Ww, 2), (2, Ww, 1)]), named(&[("G0", 2)]));
        assert_eq!(found(&[(1, Ww, 2), (2, Wr, 1)]), named(&[("G1c", 2)]));
        let single = named(&[("G-single", 3), ("G2-item", 3)]);
        assert_eq!(found(&[(1, Ww, 2), (2, Wr, 3), (3, Rw, 1)]), single);
        assert_eq!(found(&[(1, Rw, 2), (2, Rw, 1)]), named(&[("G2-item", 2)]));
        assert_eq!(found(&[(1, Ww, 2), (2, Wr, 3), (1, Ww, 1)]), []);
        // A cycle of process and real-time edges alone is no phenomenon.
        assert_eq!(found(&[(1, Process, 2), (2, Realtime, 1)]), []);
    }

    #[test]
    fn sessions_and_real_time_are_part_of_the_name() {
        assert_eq!(found(&[(1, Ww, 2), (2, Process, 1)]), named(&[("G0-process", 2)]));
        assert_eq!(found(&[(1, Wr, 2), (2, Realtime, 1)]), named(&[("G1c-realtime", 2)]));
    }

    #[test]
    fn a_shortest_cycle_is_found() {
        let long = [(1, Wr, 2), (2, Ww, 3), (3, Ww, 1)];
        let short = [(1, Wr, 4), (4, Ww, 1)];
        assert_eq!(found(&[&long[..], &short].concat()), named(&[("G1c", 2)]));
    }
}
