//! The kinds of faults.

/// A kind of fault that the nemesis can inject. Real processes support no faults of clocks and
/// disks, and no [`Restore`](Self::Restore). The command offers only partitions, pauses and
/// crashes.
///
/// The nemesis injects only the faults that the options name. The history shows its actions:
///
/// ```
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # #[derive(serde::Deserialize, serde::Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Echo { echo: serde_json::Value }, EchoOk { echo: serde_json::Value } }
/// # struct MyNode;
/// # impl MessageHandler for MyNode {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, node: &mut Node<NoEvent>, from: &Request, payload: Payload,
/// #     ) -> Result<(), Error> {
/// #         if let Payload::Echo { echo } = payload {
/// #             node.reply(from, &Payload::EchoOk { echo });
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// use maelstrom_sim::Test;
/// use maelstrom_sim::nemesis::Fault;
/// use maelstrom_sim::options::Options;
/// use maelstrom_sim::simulate::simulate;
/// use maelstrom_sim::workload::Echo;
///
/// let options = Options { nemesis: [Fault::Crash].into(), ..Options::default() };
/// let world = simulate(Test::new(Echo::default(), options), |_| MyNode);
/// let ops = world.history().ops().iter().filter(|op| !op.is_client()).map(|op| op.f);
/// let actions = ops.collect::<std::collections::BTreeSet<&str>>();
/// assert_eq!(actions, ["crash", "restart"].into());
/// ```
///
/// The driver of a [`World`](crate::world::World) injects the faults of nodes:
///
/// ```
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # #[derive(serde::Deserialize, serde::Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Echo { echo: serde_json::Value }, EchoOk { echo: serde_json::Value } }
/// # struct MyNode;
/// # impl MessageHandler for MyNode {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, node: &mut Node<NoEvent>, from: &Request, payload: Payload,
/// #     ) -> Result<(), Error> {
/// #         if let Payload::Echo { echo } = payload {
/// #             node.reply(from, &Payload::EchoOk { echo });
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// # use std::time::Duration;
/// # use maelstrom_core::{Clock, NodeId, RawNode};
/// # use maelstrom_sim::{Test, nemesis::Fault, options::Options, workload::Echo};
/// use maelstrom_sim::world::{Action, Disturbance, World};
///
/// let nemesis = [Fault::Pause].into();
/// let options = Options { nemesis, ..Options::default().with_node_count(1) };
/// let mut world = World::new(Test::new(Echo::default(), options), Duration::ZERO);
/// let (n0, mut now) = (NodeId::from("n0"), Duration::ZERO);
/// let mut node = RawNode::new(MyNode, [7; 32], false);
/// let disturbance = loop {
///     match world.poll_action() {
///         Some(Action::Deliver { line, .. }) => node.handle_line(Clock::default(), &line),
///         Some(Action::Disturb(disturbance)) => break disturbance,
///         Some(Action::Tell(_)) => {}
///         None => {
///             now = world.poll_timeout(now).unwrap_or(now);
///             world.handle_timeout(now);
///         }
///     }
///     if let Some(lines) = node.poll_lines() {
///         world.node_said(now, &n0, &lines);
///     }
/// };
/// assert_eq!(disturbance, Disturbance::Pause(n0));
/// ```
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
