//! The options of any test: Maelstrom's own, with its names and defaults. A workload's own options are
//! in the workload.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::NodeId;
use maelstrom_core::auth::ClusterKey;

use crate::arguments::clojure_number;
use crate::fault::Fault;
use crate::nemesis_op::NemesisOp;

/// The options of any test, whatever its workload and however its nodes are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The nodes' names, in the order in which each of them is told.
    pub nodes: Vec<NodeId>,
    /// How many client threads there are. Thread `i` talks to node `i` modulo the number of nodes.
    pub concurrency: usize,
    /// How long operations are started.
    pub time_limit: Duration,
    /// How many operations are started per second, over all clients. 0: none.
    pub rate: f64,
    /// How long a message between nodes takes.
    pub latency: Latency,
    /// The faults that the nemesis may cause.
    pub nemesis: BTreeSet<Fault>,
    /// The mean time between two operations of the nemesis.
    pub nemesis_interval: Duration,
    /// Which part of all operations must succeed for the test to be valid.
    pub availability: Option<Availability>,
    /// Whether a reply to a client that has given up is dropped. Maelstrom mutes the node for it,
    /// which is unfair to one that was paused.
    pub forgive_late_replies: bool,
    /// Whether to judge exactly as Maelstrom does, quirks included, rather than by stricter rules.
    pub as_maelstrom: bool,
    /// Whether loss and duplication leave messages from and to services alone. Without this they hit
    /// them as they hit messages between nodes; Maelstrom's services never lose anything.
    pub spare_services: bool,
    /// Whether nodes may stay silent, in the view of a [sweep](crate::sweep), when all faults are over.
    pub forgive_silence: bool,
    /// How long a simulated disk takes at most to make a record safe. `None`: drawn for each run.
    pub sync_max: Option<Duration>,
    /// About how many bytes a part of a snapshot holds. In virtual time, nodes then replace their
    /// records by snapshots all the time. `None`: never.
    pub snapshot_part_bytes: Option<usize>,
    /// The longest line that nodes in virtual time read, its newline not counted: they skip a longer
    /// one, and the test fails if a node prints one. `None`: lines may have any length. With a
    /// [`cluster_key`](Self::cluster_key), a line may be longer by
    /// [its seal](maelstrom_core::auth::sealed_line_bytes_max).
    pub line_bytes_max: Option<usize>,
    /// Whether nodes may print longer lines than that to clients, which read lines of any length.
    pub long_lines_to_clients: bool,
    /// Which records an older copy of a node's folder may lack, where there is the fault
    /// [`Fault::Restore`]: the newest ones, back to the first that may not be lost. `None`: all.
    pub losable: Option<Losable>,
    /// How many bytes of messages a link between two nodes, or a node and a service, carries in a
    /// second, in each direction: one message after the other. `None`: no limit, as in Maelstrom.
    pub bandwidth: Option<u32>,
    /// The key with which nodes in virtual time [authenticate](maelstrom_core::auth) each other's
    /// messages. `None`: they do not.
    pub cluster_key: Option<ClusterKey>,
    /// The actions of the nemesis, and when, since the clients began. `None`: the seed draws them.
    pub schedule: Option<Vec<(Duration, NemesisOp)>>,
    /// The operations that clients begin before the time limit, by their number from 0 on: the others
    /// are drawn and left out. `None`: all.
    pub operations: Option<BTreeSet<u64>>,
    /// Whether the [trace](crate::trace) is kept.
    pub trace: bool,
    /// What all random choices derive from.
    pub seed: u64,
}

impl Default for Options {
    /// Maelstrom's defaults.
    fn default() -> Self {
        let nodes: Vec<NodeId> = (1..=5).map(|n| format!("n{n}").into()).collect();
        Self {
            concurrency: nodes.len(),
            nodes,
            time_limit: Duration::from_secs(60),
            rate: 5.0,
            latency: Latency::default(),
            nemesis: BTreeSet::new(),
            nemesis_interval: Duration::from_secs(10),
            availability: None,
            forgive_late_replies: false,
            as_maelstrom: false,
            spare_services: false,
            forgive_silence: false,
            sync_max: None,
            snapshot_part_bytes: None,
            line_bytes_max: None,
            long_lines_to_clients: false,
            losable: None,
            bandwidth: None,
            cluster_key: None,
            schedule: None,
            operations: None,
            trace: false,
            seed: 0,
        }
    }
}

impl Options {
    /// Sets the nodes to `n0 … n(count-1)`, as `--node-count` does, with a client thread each.
    #[must_use]
    pub fn with_node_count(mut self, count: usize) -> Self {
        self.nodes = node_names(count);
        self.concurrency = count;
        self
    }
}

/// `n0 … n(count-1)`.
#[must_use]
pub fn node_names(count: usize) -> Vec<NodeId> {
    (0..count).map(|n| format!("n{n}").into()).collect()
}

/// Tells whether a record may be lost at that moment. Nodes promise to keep what they have made
/// durable, unless their disks lose it. A test in which disks lose records can still be judged if
/// only those are lost that other nodes can bring back.
#[derive(Clone)]
pub struct Losable(Arc<IsLosable>);

type IsLosable = dyn Fn(&[u8]) -> bool + Send + Sync;

impl Losable {
    /// Asks `is_losable`.
    pub fn new(is_losable: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_losable))
    }

    /// Whether this record may be lost now.
    #[must_use]
    pub fn is_losable(&self, record: &[u8]) -> bool {
        (self.0)(record)
    }
}

impl fmt::Debug for Losable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Losable")
    }
}

/// How long messages between nodes take. Drawn for each message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// The mean, in milliseconds.
    pub mean_ms: u64,
    /// The distribution around it.
    pub dist: LatencyDist,
}

/// A distribution of latencies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LatencyDist {
    /// Always the mean.
    #[default]
    Constant,
    /// Anything from 0 to twice the mean, equally likely.
    Uniform,
    /// Exponential with this mean.
    Exponential,
}

/// Which part of all operations must succeed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Availability {
    /// Every one.
    Total,
    /// At least this fraction, from 0 to 1.
    AtLeast(f64),
}

impl FromStr for Availability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if ["total", ":total"].contains(&text) {
            return Ok(Self::Total);
        }
        match clojure_number(text) {
            Some(fraction) if (0.0..=1.0).contains(&fraction) => Ok(Self::AtLeast(fraction)),
            _ => Err("must be 'total' or a number between 0 and 1, such as 1, 0.5 or 1/2".into()),
        }
    }
}

/// A number of client threads: plain, or as a multiple of the number of nodes (`2n`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// So many.
    Threads(usize),
    /// So many for each node.
    PerNode(usize),
}

impl Concurrency {
    /// The number of threads for so many nodes.
    #[must_use]
    pub fn threads(self, nodes: usize) -> usize {
        match self {
            Self::Threads(n) => n,
            Self::PerNode(n) => n.saturating_mul(nodes),
        }
    }
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, kind): (&str, fn(usize) -> Self) = match text.strip_suffix('n') {
            Some(digits) => (digits, Self::PerNode),
            None => (text, Self::Threads),
        };
        match digits.parse() {
            Ok(n) if n > 0 && !digits.starts_with('+') => Ok(kind(n)),
            _ => Err("must be an integer above 0, optionally followed by n".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrency_is_a_number_or_a_multiple_of_the_nodes() {
        assert_eq!("2n".parse::<Concurrency>().map(|c| c.threads(5)), Ok(10));
        assert_eq!("7".parse::<Concurrency>().map(|c| c.threads(5)), Ok(7));
        for bad in ["", "n", "0", "0n", "-1", "+2", "2m", "2.5"] {
            assert!(bad.parse::<Concurrency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn availability_is_total_or_a_fraction() {
        assert_eq!("total".parse(), Ok(Availability::Total));
        assert_eq!(":total".parse(), Ok(Availability::Total));
        for half in ["0.5", "1/2", "5e-1"] {
            assert_eq!(half.parse(), Ok(Availability::AtLeast(0.5)), "{half}");
        }
        assert_eq!("1".parse(), Ok(Availability::AtLeast(1.0)));
        for bad in ["1.1", "3/2", "-0.1", "-1/2", "1/0", "most", "NaN"] {
            assert!(bad.parse::<Availability>().is_err(), "{bad}");
        }
    }
}
