//! The faults of a test as time intervals, which the diagrams draw as bands.

use maelstrom_core::NodeId;
use serde::Serialize;

use crate::nemesis::NemesisOp;
use crate::news::News;
use crate::trace::Trace;

/// A fault, from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Band {
    /// The action of the nemesis, in words.
    pub(super) name: String,
    /// The kind of fault, as in the history.
    pub(super) kind: &'static str,
    /// When it began, in nanoseconds.
    pub(super) from: i64,
    /// When it ended. Equals `from` for a fault without a duration.
    pub(super) to: i64,
    /// The node that it affects. `None`: the network.
    pub(super) node: Option<NodeId>,
}

impl Band {
    /// The same band with times in microseconds.
    pub(super) fn in_micros(&self) -> Self {
        Self { from: self.from / 1_000, to: self.to / 1_000, ..self.clone() }
    }
}

/// The faults in the order in which they began. A fault without a repair lasts until `end`.
pub(super) fn bands(trace: &Trace, end: i64) -> Vec<Band> {
    let mut all: Vec<(NemesisOp, Band)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for (at, news) in trace.events() {
        let News::Nemesis(op) = news else { continue };
        // A new probability, delay or clock offset ends the previous one.
        let is_over = |old: &NemesisOp| {
            let same_kind = old.name() == op.name()
                && (old.target(), old.receiver()) == (op.target(), op.receiver());
            let adds_up = matches!(op, NemesisOp::StartPartition(..));
            old.mend().as_ref() == Some(op) || (same_kind && !adds_up)
        };
        open.retain(|place| match all.get_mut(*place) {
            Some((old, band)) if is_over(old) => {
                band.to = at;
                false
            }
            _ => true,
        });
        if !op.breaks() {
            continue;
        }
        let node = op.target().cloned();
        // An operation that has no repair ends at once.
        let to = if op.mend().is_some() { end.max(at) } else { at };
        if op.mend().is_some() {
            open.push(all.len());
        }
        all.push((op.clone(), Band { name: op.to_string(), kind: op.name(), from: at, to, node }));
    }
    all.into_iter().map(|(_, band)| band).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::partition::{Grudge, PartitionKind};

    fn bands_of(ops: &[(u64, NemesisOp)]) -> Vec<(String, i64, i64)> {
        let mut trace = Trace::default();
        for (seconds, op) in ops {
            trace.happened(Duration::from_secs(*seconds), News::Nemesis(op.clone()));
        }
        let seconds = |nanos: i64| nanos / 1_000_000_000;
        let bands = bands(&trace, 100_000_000_000).into_iter();
        bands.map(|band| (band.name, seconds(band.from), seconds(band.to))).collect()
    }

    #[test]
    fn a_fault_lasts_until_it_is_mended_or_until_the_end() {
        let node = || NodeId::from("n1");
        let cut = NemesisOp::StartPartition(PartitionKind::One, Grudge::new());
        let all = bands_of(&[
            (1, cut.clone()),
            (2, NemesisOp::Crash(node())),
            (3, cut),
            (4, NemesisOp::Crash("n2".into())),
            (5, NemesisOp::Restart(node())),
            (6, NemesisOp::StopPartition),
            (7, NemesisOp::Loss(0.1)),
            (8, NemesisOp::Loss(0.2)),
            (9, NemesisOp::Loss(0.0)),
            (10, NemesisOp::Forget),
            (12, NemesisOp::Forget),
        ]);
        let all: Vec<_> = all.iter().map(|(name, from, to)| (name.as_str(), *from, *to)).collect();
        assert_eq!(
            all,
            [
                ("start-partition (one)", 1, 6),
                ("crash n1", 2, 5),
                ("start-partition (one)", 3, 6),
                ("crash n2", 4, 100),
                ("loss 10 %", 7, 8),
                ("loss 20 %", 8, 9),
                ("forget", 10, 10),
                ("forget", 12, 12),
            ]
        );
    }
}
