//! The nemesis: it schedules the faults.
//!
//! The schedule is fixed before the run begins. It is plain data that can be printed, replayed and
//! shrunk. Partitions come as in Jepsen's `nemesis.combined`: the first one at once, and then heal
//! and cut in turns, at random times around the interval. Each other kind of fault follows the same
//! rhythm on its own, but begins at a random time. Of the other kinds, Maelstrom's main branch has
//! only crashes and pauses.
//!
//! An outage or a loss of power has no turn for its repair: each node is back within three seconds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use maelstrom_core::NodeId;
use rand::RngExt;
use rand::seq::IndexedRandom;

pub use crate::fault::Fault;
pub use crate::nemesis_op::{NemesisOp, ServiceMode};

use crate::options::Options;
use crate::partition::PartitionKind;
use crate::rng::{self, SimRng, Stream};
use crate::service::Services;
use crate::stagger::{Stagger, random_below};

/// Within this time each node is back after an outage or a loss of power.
const RETURN_MAX: Duration = Duration::from_secs(3);

/// All actions of the nemesis in a run.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::nemesis::{NemesisOp, Schedule};
/// use maelstrom_sim::options::Options;
///
/// let crash = NemesisOp::Crash("n1".into());
/// let events = vec![(Duration::from_secs(2), crash.clone())];
/// let mut schedule = Schedule::new(&Options { schedule: Some(events), ..Options::default() });
/// assert_eq!(schedule.pop_due(Duration::from_secs(1)), None);
/// assert_eq!(schedule.pop_due(Duration::from_secs(2)), Some(crash));
/// assert_eq!(schedule.finish(), [NemesisOp::Restart("n1".into())]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The actions before the time limit, ordered by their time since the clients began.
    events: VecDeque<(Duration, NemesisOp)>,
    /// The actions that end all faults, after the time limit.
    finally: Vec<NemesisOp>,
}

impl Schedule {
    /// The schedule of a test.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        if let Some(events) = &options.schedule {
            return Self::given(events, options);
        }
        let mut events = Vec::new();
        let mut finally = Vec::new();
        for fault in &options.nemesis {
            let mut plan = Plan::new(options, *fault);
            plan.run();
            events.extend(plan.events);
            finally.extend(plan.state.into_values());
        }
        events.sort_by_key(|(at, _)| *at);
        Self { events: events.into(), finally }
    }

    /// The schedule in the options, without actions on unknown nodes or after the time limit.
    fn given(events: &[(Duration, NemesisOp)], options: &Options) -> Self {
        let is_there =
            |id: &NodeId| options.nodes.contains(id) || Services::NAMES.contains(&id.as_ref());
        let mut events: Vec<_> = events.to_vec();
        events.retain(|(at, op)| {
            *at < options.time_limit && op.target().into_iter().chain(op.receiver()).all(is_there)
        });
        events.sort_by_key(|(at, _)| *at);
        let mut finally: Vec<NemesisOp> = Vec::new();
        for (_, op) in &events {
            finally.retain(|mend| mend != op);
            finally.extend(op.mend().filter(|mend| !finally.contains(mend)));
        }
        Self { events: events.into(), finally }
    }

    /// All actions before the time limit.
    pub(crate) fn into_events(self) -> Vec<(Duration, NemesisOp)> {
        self.events.into()
    }

    /// How many faults begin.
    pub(crate) fn faults(&self) -> u64 {
        self.events.iter().filter(|(_, op)| op.breaks()).count() as u64
    }

    /// The time of the next action.
    #[must_use]
    pub fn next_at(&self) -> Option<Duration> {
        self.events.front().map(|(at, _)| *at)
    }

    /// The next action, if it is due.
    pub fn pop_due(&mut self, since_begin: Duration) -> Option<NemesisOp> {
        if self.next_at()? > since_begin {
            return None;
        }
        self.events.pop_front().map(|(_, op)| op)
    }

    /// Drops the remaining actions, and returns those that end all faults.
    pub fn finish(&mut self) -> Vec<NemesisOp> {
        self.events.clear();
        std::mem::take(&mut self.finally)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, op) in &self.events {
            writeln!(f, "{:8.3} s  {op}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Generates the actions for one kind of fault.
struct Plan<'a> {
    options: &'a Options,
    fault: Fault,
    rng: SimRng,
    events: Vec<(Duration, NemesisOp)>,
    /// For each target that may be faulty at the end, the action that repairs it.
    state: BTreeMap<Option<NodeId>, NemesisOp>,
    /// The targets that are faulty now.
    broken: BTreeSet<Option<NodeId>>,
    /// The node whose folder is restored, once it has been drawn.
    bad: Option<NodeId>,
}

impl<'a> Plan<'a> {
    fn new(options: &'a Options, fault: Fault) -> Self {
        let mut rng = rng::stream(options.seed, Stream::Nemesis);
        // Each kind has its own random numbers, so removing one kind does not change the others.
        rng.set_word_pos(u128::from(fault as u8) << 32);
        let (events, state, broken) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { options, fault, rng, events, state, broken, bad: None }
    }

    fn run(&mut self) {
        if let Fault::Outage | Fault::PowerLoss = self.fault {
            return self.run_outages();
        }
        let mut stagger = Stagger::new(self.options.nemesis_interval);
        if self.fault != Fault::Partition {
            stagger.advance(Duration::ZERO, &mut self.rng);
        }
        loop {
            let at = stagger.next_at(Duration::ZERO);
            if at >= self.options.time_limit {
                break;
            }
            stagger.advance(at, &mut self.rng);
            let op = self.next_op();
            if let (Fault::Restore, NemesisOp::Restart(node)) = (self.fault, &op) {
                // Half of the time the node loses all records that may be lost.
                let some = self.rng.random_range(1..=100);
                let percent = if self.rng.random_bool(0.5) { 100 } else { some };
                self.events.push((at, NemesisOp::Restore(node.clone(), percent)));
            }
            self.events.push((at, op));
        }
        if self.fault == Fault::Partition {
            // Maelstrom heals in the end, whether there is a cut or not.
            self.state.insert(None, NemesisOp::StopPartition);
        }
    }

    /// All nodes end at one instant, again and again. In an outage the services lose their data.
    fn run_outages(&mut self) {
        let Options { nodes, nemesis_interval, time_limit, .. } = self.options;
        let mut stagger = Stagger::new(nemesis_interval.saturating_mul(2));
        stagger.advance(Duration::ZERO, &mut self.rng);
        loop {
            let at = stagger.next_at(Duration::ZERO);
            if at >= *time_limit {
                return;
            }
            stagger.advance(at, &mut self.rng);
            let all = nodes.iter().map(|node| (at, NemesisOp::Crash(node.clone())));
            self.events.extend(all);
            if self.fault == Fault::Outage {
                self.events.push((at, NemesisOp::Forget));
            }
            for node in nodes {
                let back = at.saturating_add(random_below(RETURN_MAX, &mut self.rng));
                let restart = NemesisOp::Restart(node.clone());
                if back >= *time_limit {
                    self.state.insert(Some(node.clone()), restart);
                    continue;
                }
                self.events.push((back, restart));
            }
        }
    }

    /// Injects a fault, or repairs one, in turns.
    fn next_op(&mut self) -> NemesisOp {
        if let Some(target) = self.broken.pop_first()
            && let Some(mend) = self.state.remove(&target)
        {
            return mend;
        }
        let node = self.options.nodes.choose(&mut self.rng).cloned();
        let mut node = node.unwrap_or_else(|| "n0".into());
        if self.fault == Fault::Restore {
            // Only one disk is bad, so the node is always the same.
            node = self.bad.get_or_insert(node).clone();
        }
        let (target, op, mend) = match self.fault {
            Fault::Partition => self.cut(PartitionKind::MAELSTROMS),
            Fault::Cut => self.cut(PartitionKind::ALL),
            Fault::Loss => self.share(NemesisOp::Loss),
            Fault::Duplication => self.share(NemesisOp::Duplication),
            Fault::Forgery => self.share(NemesisOp::Forgery),
            Fault::Replay => self.share(NemesisOp::Replay),
            Fault::Slow => {
                let by = random_below(Duration::from_secs(1), &mut self.rng);
                let op = NemesisOp::Slow(node.clone(), by);
                (Some(node.clone()), op, NemesisOp::Slow(node, Duration::ZERO))
            }
            Fault::SlowLink => self.slow_link(node),
            Fault::Pause => {
                (Some(node.clone()), NemesisOp::Pause(node.clone()), NemesisOp::Resume(node))
            }
            Fault::Crash | Fault::Restore => {
                (Some(node.clone()), NemesisOp::Crash(node.clone()), NemesisOp::Restart(node))
            }
            Fault::Clock => {
                let ms = self.rng.random_range(-100_000..100_000);
                (Some(node.clone()), NemesisOp::Clock(node.clone(), ms), NemesisOp::Clock(node, 0))
            }
            Fault::SlowDisk => {
                let by = Duration::from_millis(self.rng.random_range(10..=1_000));
                let op = NemesisOp::SlowDisk(node.clone(), by);
                (Some(node.clone()), op, NemesisOp::SlowDisk(node, Duration::ZERO))
            }
            Fault::StalledDisk => {
                let op = NemesisOp::StallDisk(node.clone());
                (Some(node.clone()), op, NemesisOp::ResumeDisk(node))
            }
            Fault::FailingDisk => {
                let op = NemesisOp::FailDisk(node.clone());
                (Some(node.clone()), op, NemesisOp::RepairDisk(node))
            }
            Fault::Drift => {
                let by = self.rng.random_range(10..=200);
                let by = if self.rng.random_bool(0.5) { -by } else { by };
                (Some(node.clone()), NemesisOp::Drift(node.clone(), by), NemesisOp::Drift(node, 0))
            }
            Fault::Services | Fault::Outage | Fault::PowerLoss => self.services(),
        };
        self.state.insert(target.clone(), mend);
        self.broken.insert(target);
        op
    }

    /// Something happens to a share of all messages.
    fn share(&mut self, op: fn(f64) -> NemesisOp) -> (Option<NodeId>, NemesisOp, NemesisOp) {
        (None, op(self.rng.random_range(0.01..0.3)), op(0.0))
    }

    /// Slows the link from or to this node. The other end is a node, or `lin-kv` if the draw is this
    /// node itself.
    fn slow_link(&mut self, node: NodeId) -> (Option<NodeId>, NemesisOp, NemesisOp) {
        let peer = self.options.nodes.choose(&mut self.rng).filter(|peer| **peer != node);
        let peer = peer.cloned().unwrap_or_else(|| "lin-kv".into());
        let (from, to) = if self.rng.random_bool(0.5) { (node, peer) } else { (peer, node) };
        let by = random_below(Duration::from_secs(1), &mut self.rng);
        let op = NemesisOp::SlowLink(from.clone(), to.clone(), by);
        (Some(from.clone()), op, NemesisOp::SlowLink(from, to, Duration::ZERO))
    }

    fn cut(&mut self, kinds: &[PartitionKind]) -> (Option<NodeId>, NemesisOp, NemesisOp) {
        let kind = kinds.choose(&mut self.rng).copied().unwrap_or(PartitionKind::One);
        let grudge = kind.grudge(&self.options.nodes, &mut self.rng);
        (None, NemesisOp::StartPartition(kind, grudge), NemesisOp::StopPartition)
    }

    fn services(&mut self) -> (Option<NodeId>, NemesisOp, NemesisOp) {
        let fine = NemesisOp::Services(ServiceMode::Fine);
        match self.rng.random_range(0..3) {
            0 => (None, NemesisOp::Services(ServiceMode::Unreachable), fine),
            1 => (None, NemesisOp::Services(ServiceMode::Errors), fine),
            _ => {
                let by = random_below(Duration::from_secs(2), &mut self.rng);
                let name = Services::NAMES.choose(&mut self.rng).copied().unwrap_or("lin-kv");
                let name: NodeId = name.into();
                let mend = NemesisOp::Slow(name.clone(), Duration::ZERO);
                (Some(name.clone()), NemesisOp::Slow(name, by), mend)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(faults: &[Fault]) -> Options {
        let nemesis = faults.iter().copied().collect();
        Options { nemesis, seed: 5, ..Options::default() }
    }

    fn events(schedule: &mut Schedule) -> Vec<(Duration, NemesisOp)> {
        let pop = || schedule.next_at().zip(schedule.pop_due(Duration::MAX));
        std::iter::from_fn(pop).collect()
    }

    #[test]
    fn partition_and_healing_take_turns_and_begin_at_once() {
        let options = options(&[Fault::Partition]);
        let mut schedule = Schedule::new(&options);
        let mut other = schedule.clone();
        assert_eq!(other.finish(), [NemesisOp::StopPartition]);
        let events = events(&mut schedule);
        assert!(events.len() > 3);
        assert_eq!(events[0].0, Duration::ZERO);
        for (round, (at, op)) in events.iter().enumerate() {
            assert_eq!(*op == NemesisOp::StopPartition, round % 2 == 1);
            assert!(*at < options.time_limit);
        }
        let gaps = events.windows(2).map(|pair| pair[1].0 - pair[0].0);
        assert!(gaps.into_iter().all(|gap| gap < 2 * options.nemesis_interval));
    }

    #[test]
    fn partitions_come_as_often_and_in_the_same_shapes_as_jepsens() {
        let time_limit = Duration::from_secs(20_000);
        let mut schedule = Schedule::new(&Options { time_limit, ..options(&[Fault::Partition]) });
        let events = events(&mut schedule);
        let mut shapes: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, op) in &events {
            if let NemesisOp::StartPartition(kind, _) = op {
                *shapes.entry(kind.name()).or_default() += 1;
            }
        }
        // The shape is one of four, independent of the one before. The gap is uniform from 0 to 20
        // s.
        assert_eq!(shapes.len(), 4);
        assert!(shapes.values().all(|count| (200..300).contains(count)), "{shapes:?}");
        let mut quarters = [0; 4];
        for pair in events.windows(2) {
            let gap = (pair[1].0 - pair[0].0).as_secs();
            quarters[usize::try_from(gap / 5).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (430..570).contains(count)), "{quarters:?}");
    }

    #[test]
    fn without_faults_there_is_nothing_to_do() {
        let mut schedule = Schedule::new(&options(&[]));
        assert_eq!(schedule.next_at(), None);
        assert_eq!(schedule.finish(), []);
    }

    #[test]
    fn whatever_is_broken_is_mended_in_turn_or_in_the_end() {
        let others = Fault::HARDWARE.into_iter().chain([Fault::Forgery, Fault::Replay]);
        let others = others.filter(|fault| *fault != Fault::PowerLoss);
        for fault in Fault::ALL.into_iter().chain(others) {
            let mut schedule = Schedule::new(&options(&[fault]));
            let finally = schedule.clone().finish();
            let events = events(&mut schedule);
            assert!(events.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            let mut broken: i32 = 0;
            for (_, op) in events
                .iter()
                .chain(&finally.iter().map(|op| (Duration::ZERO, op.clone())).collect::<Vec<_>>())
            {
                let mends = match op {
                    NemesisOp::StopPartition
                    | NemesisOp::Resume(_)
                    | NemesisOp::Restart(_)
                    | NemesisOp::ResumeDisk(_)
                    | NemesisOp::RepairDisk(_)
                    | NemesisOp::Drift(_, 0)
                    | NemesisOp::Services(ServiceMode::Fine)
                    | NemesisOp::Clock(_, 0) => true,
                    NemesisOp::Loss(p)
                    | NemesisOp::Duplication(p)
                    | NemesisOp::Forgery(p)
                    | NemesisOp::Replay(p) => *p == 0.0,
                    NemesisOp::Slow(_, by)
                    | NemesisOp::SlowLink(_, _, by)
                    | NemesisOp::SlowDisk(_, by) => by.is_zero(),
                    _ => false,
                };
                broken += if mends { -1 } else { 1 };
                assert!(broken.abs() <= 1, "{fault:?}: {op}");
            }
            assert!(broken <= 0, "{fault:?}");
        }
    }

    #[test]
    fn an_outage_ends_all_nodes_and_the_services_at_once_and_every_node_comes_back() {
        let events = ends_all_at_once(Fault::Outage);
        let crashes = events.iter().filter(|(_, op)| matches!(op, NemesisOp::Crash(_)));
        for (at, _) in crashes {
            assert!(events.contains(&(*at, NemesisOp::Forget)));
        }
    }

    #[test]
    fn a_loss_of_power_ends_all_nodes_at_once_and_the_services_forget_nothing() {
        let events = ends_all_at_once(Fault::PowerLoss);
        let is_forget = |(_, op): &(Duration, NemesisOp)| *op == NemesisOp::Forget;
        assert!(!events.iter().any(is_forget));
    }

    /// Checks that this fault ends all nodes at once, and that each node comes back soon.
    fn ends_all_at_once(fault: Fault) -> Vec<(Duration, NemesisOp)> {
        let options = options(&[fault]);
        let mut schedule = Schedule::new(&options);
        let finally = schedule.clone().finish();
        let events = events(&mut schedule);
        let crashes = events.iter().filter(|(_, op)| matches!(op, NemesisOp::Crash(_)));
        let ends: BTreeSet<Duration> = crashes.map(|(at, _)| *at).collect();
        assert!(!ends.is_empty());
        for at in ends {
            for node in &options.nodes {
                assert!(events.contains(&(at, NemesisOp::Crash(node.clone()))));
                let restart = NemesisOp::Restart(node.clone());
                let back = events.iter().find(|(back, op)| *back >= at && *op == restart);
                let soon = back.is_some_and(|(back, _)| *back < at + RETURN_MAX);
                assert!(soon || finally.contains(&restart), "{node}");
            }
        }
        events
    }

    #[test]
    fn the_folder_of_one_node_is_restored_each_time_before_the_node_is_back() {
        let mut schedule = Schedule::new(&options(&[Fault::Restore]));
        let events = events(&mut schedule);
        let nodes: BTreeSet<_> = events.iter().filter_map(|(_, op)| op.target()).collect();
        assert_eq!(nodes.len(), 1);
        let names: Vec<&str> = events.iter().map(|(_, op)| op.name()).collect();
        assert!(names.len() > 3);
        for (nth, name) in names.iter().enumerate() {
            assert_eq!(*name, ["crash", "restore", "restart"][nth % 3]);
        }
        let pairs = events.windows(2).filter(|pair| pair[0].1.name() == "restore");
        assert!(pairs.into_iter().all(|pair| pair[0].0 == pair[1].0));
    }

    #[test]
    fn a_given_schedule_is_kept_and_whatever_it_breaks_is_mended_in_the_end() {
        let [first, second]: [NodeId; 2] = ["n1".into(), "n2".into()];
        let at = Duration::from_secs;
        let given = vec![
            (at(7), NemesisOp::Crash(second.clone())),
            (at(2), NemesisOp::Crash(first.clone())),
            (at(3), NemesisOp::Pause("n99".into())),
            (at(4), NemesisOp::Restart(first.clone())),
            (at(5), NemesisOp::Slow("lin-kv".into(), at(1))),
            (at(6), NemesisOp::Loss(0.25)),
            (at(8), NemesisOp::Loss(0.0)),
            (at(99), NemesisOp::Forget),
        ];
        let options = Options { schedule: Some(given.clone()), ..options(&[Fault::Clock]) };
        let mut schedule = Schedule::new(&options);
        assert_eq!(schedule.faults(), 4);
        let mends =
            [NemesisOp::Slow("lin-kv".into(), Duration::ZERO), NemesisOp::Restart(second.clone())];
        assert_eq!(schedule.clone().finish(), mends);
        let [crash, late, _, back, slow, loss, no_loss, _] = <[_; 8]>::try_from(given).unwrap();
        assert_eq!(events(&mut schedule), [late, back, slow, loss, crash, no_loss]);
    }

    #[test]
    fn a_drawn_schedule_can_be_given_again_and_is_the_same() {
        let others = [Fault::Outage, Fault::Restore, Fault::Forgery, Fault::Replay];
        for fault in Fault::ALL.into_iter().chain(Fault::HARDWARE).chain(others) {
            let drawn = Schedule::new(&options(&[fault]));
            let text = serde_json::to_string(&drawn.clone().into_events()).unwrap();
            let given = Some(serde_json::from_str(&text).unwrap());
            let again = Schedule::new(&Options { schedule: given, ..options(&[fault]) });
            assert_eq!(drawn.to_string(), again.to_string());
            let mut left = again.clone().finish();
            left.retain(|mend| !drawn.clone().finish().contains(mend));
            assert_eq!(left, [], "{fault:?}");
        }
    }

    #[test]
    fn switching_one_kind_off_leaves_the_others_as_they_were() {
        let both = events(&mut Schedule::new(&options(&[Fault::Loss, Fault::Crash])));
        let one = events(&mut Schedule::new(&options(&[Fault::Crash])));
        let crashes: Vec<_> = both
            .into_iter()
            .filter(|(_, op)| matches!(op, NemesisOp::Crash(_) | NemesisOp::Restart(_)))
            .collect();
        assert_eq!(crashes, one);
    }
}
