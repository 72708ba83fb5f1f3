//! The differences between a smaller or varied run and the original run of its seed.
//!
//! 1. The seed draws the options, and [`Changes`] replace some of them.
//! 2. `faults` groups the actions of the schedule: a fault and its repair stay together, so a
//!    smaller run never loses a repair alone.
//! 3. `schedule` makes a schedule of the faults that are left.
//!
//! A run depends only on the seed and the changes. JSON keeps each number of them exactly, since
//! `rounded` leaves three digits of a probability. So a stored file replays the run.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nemesis::{NemesisOp, Schedule};
use crate::options::{Latency, LatencyDist, Options};

/// The differences between a smaller or varied run and the original run of its seed.
///
/// A [`SavedCase`](super::SavedCase) holds them as JSON:
///
/// ```
/// use maelstrom_sim::sweep::Changes;
///
/// let changes: Changes = serde_json::from_str(r#"{"nodes":3,"latency-ms":0}"#)?;
/// let (nodes, latency_ms) = (Some(3), Some(0));
/// assert_eq!(changes, Changes { nodes, latency_ms, ..Changes::default() });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Changes {
    /// Only the first nodes take part, this many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// The number of client threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// The time limit, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_ms: Option<u64>,
    /// The number of operations that begin per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// The latency of every message, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// The seed of all random choices of the network and the services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_seed: Option<u64>,
    /// Only the drawn operations with these numbers begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operations: Option<BTreeSet<u64>>,
    /// The actions of the nemesis, each with its time since the clients began, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none", with = "events")]
    pub schedule: Option<Vec<(Duration, NemesisOp)>>,
}

impl Changes {
    /// Changes the options that a seed has drawn, before a sweep derives the case from them.
    pub(super) fn apply(&self, options: &mut Options) {
        if let Some(nodes) = self.nodes {
            options.nodes.truncate(nodes);
        }
        self.apply_but_nodes(options);
    }

    /// Changes the options of a case, except for the nodes. The case decides about the nodes: it
    /// may need more of them, and its handlers may depend on their number.
    pub(super) fn apply_but_nodes(&self, options: &mut Options) {
        if let Some(concurrency) = self.concurrency {
            options.concurrency = concurrency;
        }
        if let Some(ms) = self.time_limit_ms {
            options.time_limit = Duration::from_millis(ms);
        }
        if let Some(rate) = self.rate {
            options.rate = f64::from(rate);
        }
        if let Some(mean_ms) = self.latency_ms {
            options.latency = Latency { mean_ms, dist: LatencyDist::Constant };
        }
        if let Some(seed) = self.network_seed {
            options.network_seed = Some(seed);
        }
        if let Some(operations) = &self.operations {
            options.operations = Some(operations.clone());
        }
        if let Some(schedule) = &self.schedule {
            if schedule.is_empty() {
                // Without faults, there is no excuse for a run that shows too little.
                options.nemesis.clear();
            }
            options.schedule = Some(schedule.clone());
        }
    }

    /// Tells the options of a case which kinds of faults the schedule has. A variation may have
    /// more of them than its seed draws.
    pub(super) fn tell_kinds(&self, options: &mut Options) {
        for (_, op) in self.schedule.iter().flatten() {
            let kinds = op.kinds();
            let is_known = kinds.iter().any(|kind| options.nemesis.contains(kind));
            options.nemesis.extend(kinds.first().filter(|_| !is_known));
        }
    }
}

/// A fault and its repair, if it is repaired before the time limit.
pub(super) type Unit = Vec<(Duration, NemesisOp)>;

/// The faults of a test with these options, in the order in which they begin. A clear of the
/// services and the crashes of all nodes that are down then are one fault, an outage, because no
/// node tolerates one without the other.
pub(super) fn faults(options: &Options) -> Vec<Unit> {
    let mut units: Vec<(Vec<NemesisOp>, Unit)> = Vec::new();
    for (at, op) in Schedule::new(options).into_events() {
        let op = rounded(op);
        let ended = units.iter_mut().find(|(mends, _)| mends.contains(&op));
        if let Some((mends, unit)) = ended {
            mends.retain(|mend| *mend != op);
            unit.push((at, op));
        } else if op == NemesisOp::Forget {
            let is_down = |(mends, _): &mut (Vec<NemesisOp>, Unit)| {
                mends.iter().any(|mend| matches!(mend, NemesisOp::Restart(_)))
            };
            let (mends, down): (Vec<_>, Vec<_>) = units.extract_if(.., is_down).unzip();
            let events = down.into_iter().flatten().chain([(at, op)]);
            units.push((mends.concat(), events.collect()));
        } else if op.breaks() {
            units.push((op.mend().into_iter().collect(), vec![(at, op)]));
        }
    }
    units.into_iter().map(|(_, unit)| unit).collect()
}

/// The kind of a fault, under the nemesis's name.
pub(super) fn kind(unit: &Unit) -> Option<&'static str> {
    let forgets = unit.iter().find(|(_, op)| *op == NemesisOp::Forget);
    forgets.or(unit.first()).map(|(_, op)| op.name())
}

/// The schedule with these faults.
pub(super) fn schedule(units: &[Unit]) -> Vec<(Duration, NemesisOp)> {
    let mut events: Vec<_> = units.iter().flatten().cloned().collect();
    events.sort_by_key(|(at, _)| *at);
    events
}

/// Rounds the numbers, so that JSON keeps them exactly.
fn rounded(op: NemesisOp) -> NemesisOp {
    let round = |p: f64| (p * 1_000.0).round() / 1_000.0;
    match op {
        NemesisOp::Loss(p) => NemesisOp::Loss(round(p)),
        NemesisOp::Duplication(p) => NemesisOp::Duplication(round(p)),
        NemesisOp::Forgery(p) => NemesisOp::Forgery(round(p)),
        NemesisOp::Replay(p) => NemesisOp::Replay(round(p)),
        other => other,
    }
}

/// Serializes a schedule as JSON.
mod events {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::history::nanos;
    use crate::nemesis::NemesisOp;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Event {
        #[serde(with = "nanos")]
        at: Duration,
        op: NemesisOp,
    }

    pub(super) fn serialize<S: Serializer>(
        events: &Option<Vec<(Duration, NemesisOp)>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let event = |(at, op): &(Duration, NemesisOp)| Event { at: *at, op: op.clone() };
        let events = events.as_ref().map(|events| events.iter().map(event).collect::<Vec<_>>());
        events.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<(Duration, NemesisOp)>>, D::Error> {
        let events = Option::<Vec<Event>>::deserialize(deserializer)?;
        Ok(events.map(|events| events.into_iter().map(|event| (event.at, event.op)).collect()))
    }
}
