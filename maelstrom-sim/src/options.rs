//! The options of any test: Maelstrom's own, with its names and defaults. A workload has its own
//! options in its own type.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use maelstrom_core::auth::ClusterKey;
use maelstrom_core::{Limits, NodeId};

use crate::arguments::clojure_number;
use crate::delivery::Delivery;
use crate::fault::Fault;
use crate::nemesis_op::NemesisOp;

/// The options of any test. They do not depend on the workload or on how the nodes run.
///
/// ```
/// use maelstrom_sim::nemesis::Fault;
/// use maelstrom_sim::options::{Availability, Concurrency, Latency, LatencyDist, Options};
///
/// let mut options = Options {
///     latency: Latency { mean_ms: 100, dist: LatencyDist::Exponential },
///     nemesis: [Fault::Partition, Fault::Crash].into(),
///     availability: Some(Availability::AtLeast(0.9)),
///     ..Options::default().with_node_count(3)
/// };
/// options.concurrency = "2n".parse::<Concurrency>()?.threads(options.nodes.len());
/// assert_eq!((options.nodes.len(), options.concurrency), (3, 6));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// The names of the nodes, in the order in which `init` lists them.
    pub nodes: Vec<NodeId>,
    /// How many client threads there are. Thread `i` talks to node `i` modulo the number of nodes.
    pub concurrency: usize,
    /// For how long clients begin operations.
    pub time_limit: Duration,
    /// How many operations begin per second, over all clients. 0: none.
    pub rate: f64,
    /// The latency of messages between nodes.
    pub latency: Latency,
    /// The faults that the nemesis may inject.
    pub nemesis: BTreeSet<Fault>,
    /// The mean time between two operations of the nemesis, for each kind of fault.
    pub nemesis_interval: Duration,
    /// The fraction of operations that must succeed for the test to be valid.
    pub availability: Option<Availability>,
    /// Whether the network drops a reply to a client that has given up. Maelstrom stops listening
    /// to a node that sends one, which is unfair to a node that was paused.
    pub forgive_late_replies: bool,
    /// Whether to judge exactly as Maelstrom does, quirks included, and not by stricter rules.
    pub as_maelstrom: bool,
    /// Whether messages from and to services are exempt from loss and duplication. Maelstrom's
    /// services never lose a message.
    pub spare_services: bool,
    /// Whether a [sweep](crate::sweep) accepts that nodes stay silent after all faults have ended.
    pub forgive_silence: bool,
    /// The longest time that a simulated disk takes to make a record durable. `None`: drawn for
    /// each run.
    pub sync_max: Option<Duration>,
    /// The approximate size of a part of a snapshot in bytes. With a size, nodes in virtual time
    /// replace their records by snapshots all the time. `None`: never.
    pub snapshot_part_bytes: Option<usize>,
    /// The longest line that nodes in virtual time read, without its newline. They skip a longer
    /// one, and the test fails if a node prints one. `None`: unlimited. With a
    /// [`cluster_key`](Self::cluster_key), a line may be longer by
    /// [its seal](maelstrom_core::auth::sealed_line_bytes_max).
    pub line_bytes_max: Option<usize>,
    /// Whether nodes may print longer lines than that to clients. Clients read lines of any length.
    pub long_lines_to_clients: bool,
    /// The records that an older copy of a node's folder may lack, for [`Fault::Restore`]: the
    /// newest ones, back to the first that must not be lost. `None`: all.
    pub losable: Option<Losable>,
    /// The bandwidth of a link between two nodes, or a node and a service, in bytes per second and
    /// direction. A link carries one message after the other. `None`: unlimited, as in Maelstrom.
    pub bandwidth: Option<u32>,
    /// The key with which nodes in virtual time [authenticate](maelstrom_core::auth) each other's
    /// messages. `None`: they do not.
    pub cluster_key: Option<ClusterKey>,
    /// The fate of the first messages between servers after the clients began, in the order in which
    /// they are sent. The network draws the fate of all others.
    pub deliveries: Vec<Delivery>,
    /// The [limits](maelstrom_core::limits) on clients' requests at these nodes in virtual time.
    /// Other nodes take all requests.
    pub node_limits: BTreeMap<NodeId, Limits>,
    /// The actions of the nemesis, each with its time since the clients began. `None`: drawn from
    /// the seed.
    pub schedule: Option<Vec<(Duration, NemesisOp)>>,
    /// The operations that clients execute before the time limit, by number, from 0. The generator
    /// draws the others too, but skips them. `None`: all.
    pub operations: Option<BTreeSet<u64>>,
    /// All nodes join the network within this time. A node that sends a message to one that has not
    /// joined yet is muted. A [test with processes](crate::run) sets it to 0.25 ms for each node.
    pub join_time: Duration,
    /// Whether to keep the [trace](crate::trace).
    pub trace: bool,
    /// The seed of all random choices of the network and the services. `None`:
    /// [`seed`](Self::seed).
    pub network_seed: Option<u64>,
    /// The seed from which all other random choices derive.
    pub seed: u64,
}

/// The default of [`Options::join_time`]. It is longer than Maelstrom's, to find nodes that speak
/// too early.
pub(crate) const JOIN_TIME: Duration = Duration::from_millis(100);

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
            deliveries: Vec::new(),
            node_limits: BTreeMap::new(),
            schedule: None,
            operations: None,
            join_time: JOIN_TIME,
            trace: false,
            network_seed: None,
            seed: 0,
        }
    }
}

impl Options {
    /// Names the nodes `n0 … n(count-1)`, as `--node-count` does, with one client thread per node.
    #[must_use]
    pub fn with_node_count(mut self, count: usize) -> Self {
        self.nodes = node_names(count);
        self.concurrency = count;
        self
    }
}

/// `n0 … n(count-1)`.
///
/// ```
/// assert_eq!(maelstrom_sim::options::node_names(2), ["n0".into(), "n1".into()]);
/// ```
#[must_use]
pub fn node_names(count: usize) -> Vec<NodeId> {
    (0..count).map(|n| format!("n{n}").into()).collect()
}

/// Decides whether a record may be lost at this moment.
///
/// Nodes promise to keep the records that they have made durable, but a disk can lose them. The
/// checker can still judge such a test if only records are lost that other nodes can restore.
///
/// ```
/// use maelstrom_sim::options::{Losable, Options};
///
/// // Other nodes can restore an entry, but nobody else knows this node's vote.
/// let losable = Losable::new(|record| record.starts_with(b"entry"));
/// assert!(losable.is_losable(b"entry 7") && !losable.is_losable(b"vote 3"));
/// let options = Options { losable: Some(losable), ..Options::default() };
/// ```
#[derive(Clone)]
pub struct Losable(Arc<IsLosable>);

type IsLosable = dyn Fn(&[u8]) -> bool + Send + Sync;

impl Losable {
    /// Wraps the function `is_losable`.
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

/// The latency of messages between nodes. Drawn for each message. [`Options`] shows it in use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latency {
    /// The mean, in milliseconds.
    pub mean_ms: u64,
    /// The distribution around it.
    pub dist: LatencyDist,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.mean_ms;
        match self.dist {
            LatencyDist::Constant => write!(f, "{mean} ms"),
            LatencyDist::Uniform => write!(f, "0 to {} ms", mean.saturating_mul(2)),
            LatencyDist::Exponential => write!(f, "{mean} ms on average, exponential"),
        }
    }
}

/// A distribution of latencies. [`Options`] shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LatencyDist {
    /// Always the mean.
    #[default]
    Constant,
    /// Uniform from 0 to twice the mean.
    Uniform,
    /// Exponential with this mean.
    Exponential,
}

/// The fraction of operations that must succeed.
///
/// ```
/// use maelstrom_sim::options::Availability;
///
/// assert_eq!("total".parse(), Ok(Availability::Total));
/// assert_eq!("1/2".parse(), Ok(Availability::AtLeast(0.5)));
/// assert!("2".parse::<Availability>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Availability {
    /// All of them.
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

/// A number of client threads: absolute, or a multiple of the number of nodes (`2n`).
///
/// ```
/// use maelstrom_sim::options::Concurrency;
///
/// let (twice, ten) = ("2n".parse::<Concurrency>()?, "10".parse::<Concurrency>()?);
/// assert_eq!((twice, ten), (Concurrency::PerNode(2), Concurrency::Threads(10)));
/// assert_eq!((twice.threads(3), ten.threads(3)), (6, 10));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// This many in all.
    Threads(usize),
    /// This many for each node.
    PerNode(usize),
}

impl Concurrency {
    /// The number of threads for this many nodes.
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
