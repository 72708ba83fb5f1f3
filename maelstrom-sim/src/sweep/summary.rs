//! The summary of the runs of a sweep.

use std::collections::BTreeMap;

use super::marks::Reached;
use crate::fault::Fault;
use crate::world::World;

/// The summary of all runs of a sweep that ended well.
///
/// ```
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
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
/// #             node.mark("answered");
/// #             node.reply(from, &Payload::EchoOk { echo });
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// use maelstrom_sim::nemesis::Fault;
/// use maelstrom_sim::sweep::Sweep;
/// use maelstrom_sim::workload::Echo;
///
/// // `MyNode` marks each answer with `node.mark("answered")`.
/// let sweep = Sweep::new(Echo::default(), [Fault::Clock]);
/// let summary = sweep.run_all(0..4, |_| MyNode, |_seed| ()).expect("all seeds end well");
/// assert_eq!((summary.seeds, summary.marks["answered"].seeds), (4, 4));
/// assert_eq!(summary.faultless + summary.faults[&Fault::Clock], 4);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many seeds ran.
    pub seeds: u64,
    /// How many messages were sent in all runs.
    pub messages: u64,
    /// How many operations clients began.
    pub operations: u64,
    /// In how many runs each kind of fault was on.
    pub faults: BTreeMap<Fault, u64>,
    /// How many runs had no faults.
    pub faultless: u64,
    /// How many runs were variations of earlier ones. 0, unless the sweep is coverage-guided.
    pub varied: u64,
    /// The marks that nodes reached.
    pub marks: BTreeMap<&'static str, Reached>,
}

impl Summary {
    /// Adds the run of a seed to the summary.
    pub(super) fn count(&mut self, world: &World) {
        self.count_as(world.options().seed, world);
    }

    /// Adds a run to the summary, under this number.
    pub(super) fn count_as(&mut self, number: u64, world: &World) {
        let (tally, faults) = (world.history().tally(), &world.options().nemesis);
        self.seeds += 1;
        self.messages += world.net_stats().all().sent;
        self.operations += tally.ok + tally.fail + tally.info;
        self.faultless += u64::from(faults.is_empty());
        for (name, count) in world.marks() {
            self.marks.entry(name).or_default().count(number, *count);
        }
        for fault in faults {
            *self.faults.entry(*fault).or_default() += 1;
        }
    }

    /// Adds the runs of another summary.
    pub(super) fn join(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.messages += other.messages;
        self.operations += other.operations;
        self.faultless += other.faultless;
        self.varied += other.varied;
        for (mark, reached) in &other.marks {
            self.marks.entry(mark).or_default().join(reached);
        }
        for (fault, count) in &other.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
    }

    /// A Markdown table of how many runs had each kind of fault.
    pub(super) fn table(&self, name: &str) -> String {
        let fault = |fault: Fault| (fault.name(), self.faults.get(&fault).copied().unwrap_or(0));
        let counts = [("seeds", self.seeds), ("no fault", self.faultless)];
        let (mut names, mut rule, mut row) = (
            format!("| {:<15} |", "workload"),
            "|-----------------|".to_owned(),
            format!("| {name:<15} |"),
        );
        let hardware = Fault::HARDWARE.into_iter().filter(|fault| self.faults.contains_key(fault));
        let all = Fault::ALL.into_iter().chain(hardware).map(fault);
        for (name, count) in counts.into_iter().chain(all) {
            let (text, width) = (count.to_string(), name.len().max(6));
            names += &format!(" {name:>width$} |");
            rule += &format!("{:->width$}-:|", "");
            row += &format!(" {text:>width$} |");
        }
        [names, rule, row].join("\n")
    }

    pub(super) fn describe(&self, name: &str, seconds: f64) -> String {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let per_second = |count: u64| count as f64 / seconds;
        format!(
            "{name}: {} seeds, all well; {} operations, {} messages in {seconds:.1} s: {:.0} seeds per \
             minute, {:.0} messages per second; seeds with each kind of fault:\n{}",
            self.seeds,
            self.operations,
            self.messages,
            per_second(self.seeds) * 60.0,
            per_second(self.messages),
            self.table(name),
        )
    }
}
