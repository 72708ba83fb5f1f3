//! The kinds of faults.

/// A kind of fault that can be asked for. Real processes know partitions, pauses and crashes only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// Cuts the network between nodes, in Maelstrom's shapes.
    Partition,
    /// Cuts the network between nodes, in any shape, one-way cuts among them.
    #[value(skip)]
    Cut,
    /// Loses messages between nodes: each time from 1 % to 30 % of them. Services count as nodes,
    /// unless [`Options::spare_services`](crate::options::Options::spare_services) exempts them.
    #[value(skip)]
    Loss,
    /// Delivers messages between nodes twice: each time from 1 % to 30 % of them. Services count as
    /// nodes, unless [`Options::spare_services`](crate::options::Options::spare_services) exempts them.
    #[value(skip)]
    Duplication,
    /// Makes the network slow for a node: up to a second for whatever it sends and gets.
    #[value(skip)]
    Slow,
    /// Stops a node for a while; what it is sent waits for it.
    Pause,
    /// Ends a node and starts it anew; what it did not persist is gone.
    #[value(name = "kill")]
    Crash,
    /// Sets a node's wall clock, forward or back by up to 100 s.
    #[value(skip)]
    Clock,
    /// Makes the services slow, or unreachable, or lets them answer with errors.
    #[value(skip)]
    Services,
    /// Ends all nodes at one instant, and the services with all that they keep. Starts the nodes anew
    /// within some seconds, in any order.
    #[value(skip)]
    Outage,
    /// Ends a node, the same one each time, and starts it anew with an older copy of its records: as
    /// if somebody had restored a backup of its folder, or as if its disk had lied about a sync.
    /// [`Options::losable`](crate::options::Options::losable) says how old the copy may be.
    #[value(skip)]
    Restore,
    /// Changes messages between nodes, and adds forged ones: each time for 1 % to 30 % of all
    /// messages. Services do not count as nodes. No node bears this that has no
    /// [key](crate::options::Options::cluster_key).
    #[value(skip)]
    Forgery,
    /// Sends earlier messages between nodes once more, unchanged and late: each time for 1 % to 30 %
    /// of all messages. Services do not count as nodes.
    #[value(skip)]
    Replay,
}

impl Fault {
    /// All kinds that a node can be asked to bear whatever it is for: all but an outage, after which
    /// the services are empty, a restored folder, in which records are missing, and somebody between
    /// the nodes.
    pub const ALL: [Self; 9] = [
        Self::Partition,
        Self::Cut,
        Self::Loss,
        Self::Duplication,
        Self::Slow,
        Self::Pause,
        Self::Crash,
        Self::Clock,
        Self::Services,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Cut => "cut",
            Self::Loss => "loss",
            Self::Duplication => "duplication",
            Self::Slow => "slow",
            Self::Pause => "pause",
            Self::Crash => "crash",
            Self::Clock => "clock",
            Self::Services => "services",
            Self::Outage => "outage",
            Self::Restore => "restore",
            Self::Forgery => "forgery",
            Self::Replay => "replay",
        }
    }
}
