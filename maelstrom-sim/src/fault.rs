//! The kinds of faults.

/// A kind of fault that the nemesis can inject. Real processes support only partitions, pauses and
/// crashes. [`Options`](crate::options::Options) and [`Sweep`](crate::sweep::Sweep) show faults in
/// use.
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
    /// some seconds, in any order. The services keep their data.
    #[value(skip)]
    PowerLoss,
    /// Slows the disk of a node: each sync takes longer by a drawn time from 10 ms to 1 s.
    #[value(skip)]
    SlowDisk,
    /// Stalls the disk of a node: no sync ends before the fault ends.
    #[value(skip)]
    StalledDisk,
    /// Breaks the disk of a node: a sync that ends during the fault fails, and so the process ends
    /// by itself, as a real one does. The records of that sync may be durable or not. The process
    /// is back when the fault ends.
    #[value(skip)]
    FailingDisk,
    /// Lets both clocks of a node run fast or slow, by 1 % to 20 %, and so its timers as well. When
    /// the fault ends, the wall clock is set right in one step.
    #[value(skip)]
    Drift,
    /// Slows a single link in one direction: each message from one node to another one, or from or
    /// to a service, takes up to a second longer.
    #[value(skip)]
    SlowLink,
}

impl Fault {
    /// All kinds that any node should tolerate, without those of its [hardware](Self::HARDWARE).
    /// Four more kinds are missing. An outage empties the services. A restored folder lacks
    /// records. An intruder between the nodes forges or replays messages: only nodes with a key
    /// withstand it.
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

    /// The faults of disks, of the rate of clocks, of a single link and of the power supply. Any node
    /// that keeps records should tolerate them, too. They are a list of their own, so that the seeds
    /// of a sweep without them give the same runs.
    pub const HARDWARE: [Self; 6] = [
        Self::SlowDisk,
        Self::StalledDisk,
        Self::FailingDisk,
        Self::Drift,
        Self::SlowLink,
        Self::PowerLoss,
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
            Self::PowerLoss => "power-loss",
            Self::SlowDisk => "slow-disk",
            Self::StalledDisk => "stalled-disk",
            Self::FailingDisk => "failing-disk",
            Self::Drift => "drift",
            Self::SlowLink => "slow-link",
        }
    }
}
