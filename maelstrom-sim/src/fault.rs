//! The kinds of faults.

/// A kind of fault that the nemesis can inject. Real processes support only partitions, pauses and
/// crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// Cuts the network between nodes, in one of Maelstrom's shapes.
    Partition,
    /// Cuts the network between nodes, in any shape. One-way cuts are possible.
    #[value(skip)]
    Cut,
    /// Loses each message between nodes with a probability from 1 % to 30 %. Services count as
    /// nodes, unless [`Options::spare_services`](crate::options::Options::spare_services) exempts
    /// them.
    #[value(skip)]
    Loss,
    /// Delivers each message between nodes twice with a probability from 1 % to 30 %. Services
    /// count as nodes, unless [`Options::spare_services`](crate::options::Options::spare_services)
    /// exempts them.
    #[value(skip)]
    Duplication,
    /// Slows the network of a node: each message from and to it takes up to a second longer.
    #[value(skip)]
    Slow,
    /// Stops a node for a while. Messages to it wait.
    Pause,
    /// Kills a node and starts it again. It loses everything that it did not persist.
    #[value(name = "kill")]
    Crash,
    /// Shifts the wall clock of a node, forward or back by up to 100 s.
    #[value(skip)]
    Clock,
    /// Makes the services slow or unreachable, or lets them answer with errors.
    #[value(skip)]
    Services,
    /// Kills all nodes at one instant, and clears all services. Starts each node again within some
    /// seconds, in any order.
    #[value(skip)]
    Outage,
    /// Kills a node, always the same one, and starts it again with an older copy of its records, as
    /// if someone had restored a backup or as if the disk had lied about a sync.
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
    /// Kills all nodes at one instant, as a loss of power does, and starts each one again within
    /// some seconds, in any order. The services keep what they have.
    #[value(skip)]
    PowerLoss,
}

impl Fault {
    /// All kinds that any node should tolerate. Five kinds are missing: an outage empties the
    /// services, a loss of power ends all nodes at once, a restored folder lacks records, and only
    /// nodes with a key bear an intruder between them, who forges or replays messages.
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
            Self::PowerLoss => "power loss",
        }
    }
}
