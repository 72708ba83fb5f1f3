//! Finds cycles in the dependency graph: a short one for each strongly connected component.
//!
//! The components decide exactly and in linear time whether there is a cycle. The search then picks
//! a cycle to show: one with a single anti-dependency if possible, and a short one.
//!
//! If only cycles with a single anti-dependency count, the components are not enough. Then the
//! search has a limit, and reports when it reaches it.

use std::collections::VecDeque;

use petgraph::Direction;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, EdgeIndex, NodeIndex};
use petgraph::visit::{EdgeFiltered, EdgeRef};

use super::graph::class;
use super::model::{Anti, Level};

/// For how many components the search looks for a cycle.
const COMPONENTS_MAX: usize = 64;

/// From how many edges of a component the search starts, if any cycle will do.
const STARTS_MAX: usize = 32;

/// After this many steps, the search stops and returns the cycles found so far. A step follows an
/// edge.
const STEPS_MAX: usize = 5_000_000;

/// The cycles of a level.
#[derive(Debug, Default)]
pub(super) struct Cycles {
    /// How many components have a cycle.
    pub(super) components: usize,
    /// One cycle for each of the first components. Each edge begins where the one before it ends.
    pub(super) cycles: Vec<Vec<EdgeIndex>>,
    /// Whether the search ended before it could rule out a cycle in some component. Only possible
    /// if a cycle must have a single anti-dependency.
    pub(super) gave_up: bool,
}

/// Finds the cycles of a level that have an edge of a class in `fresh`. The function `class`
/// returns the class of an edge.
pub(super) fn find<E>(
    graph: &DiGraph<(), E>,
    level: Level,
    fresh: u16,
    class: impl Fn(&E) -> u16,
) -> Cycles {
    match level.anti {
        Anti::Any => Search::new(graph, level, fresh, class).run(Some),
        // Every such cycle has exactly one anti-dependency, so the search starts from those edges.
        Anti::One => Search::new(graph, level, level.mask & class::ANTI, class).run(Some),
        Anti::Apart => {
            let product = product(graph, level.mask, class);
            Search::new(&product, level, fresh, |(class, _)| *class)
                .run(|edge| product.edge_weight(edge).map(|(_, edge)| *edge))
        }
    }
}

/// Removes the edges that cannot be part of a cycle: those that lead only to dead ends, and those
/// that come only from nodes without predecessors. Keeps all nodes. Takes linear time.
pub(super) fn core<E: Copy>(graph: &DiGraph<(), E>) -> DiGraph<(), E> {
    let mut is_out = vec![false; graph.node_count()];
    for direction in [Direction::Incoming, Direction::Outgoing] {
        let is_in = |is_out: &[bool], node: NodeIndex| is_out.get(node.index()) == Some(&false);
        let mut degrees: Vec<usize> = vec![0; graph.node_count()];
        for edge in graph.edge_references() {
            let from_in = is_in(&is_out, edge.source()) && is_in(&is_out, edge.target());
            let end = if direction == Direction::Incoming { edge.target() } else { edge.source() };
            if let Some(degree) = degrees.get_mut(end.index()) {
                *degree += usize::from(from_in);
            }
        }
        let nodes = graph.node_indices().filter(|node| is_in(&is_out, *node));
        let mut ready: Vec<NodeIndex> =
            nodes.filter(|node| degrees.get(node.index()) == Some(&0)).collect();
        while let Some(node) = ready.pop() {
            is_out.get_mut(node.index()).into_iter().for_each(|is_out| *is_out = true);
            for next in graph.neighbors_directed(node, direction.opposite()) {
                if let Some(degree) = degrees.get_mut(next.index())
                    && is_in(&is_out, next)
                {
                    *degree -= 1;
                    if *degree == 0 {
                        ready.push(next);
                    }
                }
            }
        }
    }
    let is_in = |node: NodeIndex| is_out.get(node.index()) == Some(&false);
    let mut core = DiGraph::with_capacity(graph.node_count(), 0);
    for _ in 0..graph.node_count() {
        core.add_node(());
    }
    for edge in graph.edge_references().filter(|edge| is_in(edge.source()) && is_in(edge.target()))
    {
        core.add_edge(edge.source(), edge.target(), *edge.weight());
    }
    core
}

/// Doubles the graph. The second copy of a node stands for "reached by an anti-dependency". No
/// anti-dependency leaves a second copy, so a cycle never has two in a row.
fn product<E>(
    graph: &DiGraph<(), E>,
    mask: u16,
    class: impl Fn(&E) -> u16,
) -> DiGraph<(), (u16, EdgeIndex)> {
    let mut product = DiGraph::new();
    for _ in 0..2 * graph.node_count() {
        product.add_node(());
    }
    for edge in graph.edge_references() {
        let weight = (class(edge.weight()), edge.id());
        if weight.0 & mask == 0 {
            continue;
        }
        let node = |node: NodeIndex, copy| NodeIndex::new(2 * node.index() + copy);
        let (source, target) = (edge.source(), edge.target());
        if weight.0 & class::ANTI != 0 {
            product.add_edge(node(source, 0), node(target, 1), weight);
        } else {
            product.add_edge(node(source, 0), node(target, 0), weight);
            product.add_edge(node(source, 1), node(target, 0), weight);
        }
    }
    product
}

struct Search<'a, E, C> {
    graph: &'a DiGraph<(), E>,
    level: Level,
    fresh: u16,
    class: C,
    steps: usize,
    /// The component of each node that is part of a cycle.
    component: Vec<Option<usize>>,
    /// The edge by which each node was reached, and the round in which that happened.
    reached: Vec<(usize, Option<EdgeIndex>)>,
    round: usize,
}

impl<'a, E, C: Fn(&E) -> u16> Search<'a, E, C> {
    fn new(graph: &'a DiGraph<(), E>, level: Level, fresh: u16, class: C) -> Self {
        let nodes = graph.node_count();
        let (component, reached) = (vec![None; nodes], vec![(0, None); nodes]);
        Self { graph, level, fresh, class, steps: 0, component, reached, round: 0 }
    }

    /// Runs the search. `base` maps the edges of a cycle to those of the original graph.
    fn run(mut self, base: impl Fn(EdgeIndex) -> Option<EdgeIndex>) -> Cycles {
        let mut found = Cycles::default();
        let components = self.components();
        for (id, nodes) in components.iter().enumerate() {
            for node in nodes {
                if let Some(component) = self.component.get_mut(node.index()) {
                    *component = Some(id);
                }
            }
        }
        for (id, nodes) in components.iter().enumerate() {
            let starts = self.starts(id, nodes);
            if starts.is_empty() {
                continue;
            }
            let wanted = found.cycles.len() < COMPONENTS_MAX
                && (self.steps < STEPS_MAX || found.cycles.is_empty());
            let cycle = if wanted { self.cycle(id, &starts) } else { Vec::new() };
            let is_sure = !cycle.is_empty() || (wanted && self.steps <= STEPS_MAX);
            found.gave_up |= self.level.anti == Anti::One && !is_sure;
            // Every such component has a cycle, but not always one with a single anti-dependency.
            if !cycle.is_empty() || self.level.anti != Anti::One {
                found.components += 1;
            }
            if !cycle.is_empty() {
                found.cycles.push(cycle.into_iter().filter_map(&base).collect());
            }
        }
        found
    }

    /// The components with cycles, in the order of the transactions. Kosaraju's algorithm, because
    /// the library runs Tarjan's recursively, and a long history would overflow the stack.
    fn components(&self) -> Vec<Vec<NodeIndex>> {
        let allowed = |class: u16| class & self.level.mask != 0;
        let filtered =
            EdgeFiltered::from_fn(self.graph, |edge| allowed((self.class)(edge.weight())));
        let mut components = kosaraju_scc(&filtered);
        components.retain(|nodes| nodes.len() > 1);
        components.iter_mut().for_each(|nodes| nodes.sort_unstable());
        components.sort_unstable();
        components
    }

    /// Some edges inside a component whose class is in `fresh`.
    fn starts(&self, id: usize, nodes: &[NodeIndex]) -> Vec<EdgeIndex> {
        let edges = nodes.iter().flat_map(|node| self.graph.edges(*node));
        let edges = edges.filter(|edge| {
            (self.class)(edge.weight()) & self.fresh != 0 && self.is_in(id, edge.target())
        });
        let starts_max = if self.level.anti == Anti::One { usize::MAX } else { STARTS_MAX };
        edges.map(|edge| edge.id()).take(starts_max).collect()
    }

    fn is_in(&self, id: usize, node: NodeIndex) -> bool {
        self.component.get(node.index()).copied().flatten() == Some(id)
    }

    fn cycle(&mut self, id: usize, starts: &[EdgeIndex]) -> Vec<EdgeIndex> {
        let Level { mask, anti } = self.level;
        let masks = [Some(mask & !class::ANTI), (anti != Anti::One).then_some(mask)];
        for mask in masks.into_iter().flatten() {
            let mut best: Option<Vec<EdgeIndex>> = None;
            for start in starts {
                let tired = self.steps > STEPS_MAX;
                if tired && (best.is_some() || anti == Anti::One) {
                    break;
                }
                let cycle = self.cycle_through(id, *start, mask);
                if let Some(cycle) = cycle
                    && best.as_ref().is_none_or(|best| cycle.len() < best.len())
                {
                    best = Some(cycle);
                }
            }
            if let Some(best) = best {
                return best;
            }
        }
        Vec::new()
    }

    /// A shortest cycle through this edge, with other edges of the classes in `mask`.
    fn cycle_through(&mut self, id: usize, edge: EdgeIndex, mask: u16) -> Option<Vec<EdgeIndex>> {
        let (goal, start) = self.graph.edge_endpoints(edge)?;
        self.round += 1;
        *self.reached.get_mut(start.index())? = (self.round, None);
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if node == goal {
                return self.path(edge, goal);
            }
            for next in self.graph.edges(node) {
                self.steps += 1;
                let allowed = (self.class)(next.weight()) & mask != 0;
                if !allowed || !self.is_in(id, next.target()) {
                    continue;
                }
                let reached = self.reached.get_mut(next.target().index())?;
                if reached.0 != self.round {
                    *reached = (self.round, Some(next.id()));
                    queue.push_back(next.target());
                }
            }
        }
        None
    }

    /// The path to `goal` that the search found, beginning with the edge `first`.
    fn path(&self, first: EdgeIndex, goal: NodeIndex) -> Option<Vec<EdgeIndex>> {
        let (mut path, mut node) = (Vec::new(), goal);
        while let Some(edge) = self.reached.get(node.index())?.1 {
            path.push(edge);
            node = self.graph.edge_endpoints(edge)?.0;
        }
        path.push(first);
        path.reverse();
        Some(path)
    }
}
