//! Runs the final operations of the threads, after all faults have ended and the network has
//! recovered.

use std::time::Duration;

use super::World;
use crate::stagger::random_below;
use crate::workload::FinalOps;

impl World {
    /// Makes the first final operation of every thread due. Returns the time after which none of
    /// [many](FinalOps::Many) begins.
    pub(super) fn begin_finale(&mut self, now: Duration) -> Duration {
        for thread in &mut self.threads {
            thread.final_at = Some(now);
        }
        match self.generator.final_ops() {
            FinalOps::Many { limit, .. } => now + limit,
            FinalOps::None | FinalOps::Once(_) => now,
        }
    }

    /// The time at which the next final operation is due.
    pub(super) fn next_final_at(&self) -> Option<Duration> {
        // A busy thread continues when its operation ends.
        let free = (0..self.threads.len()).filter(|index| self.is_free(*index));
        free.filter_map(|index| self.threads.get(index)?.final_at).min()
    }

    /// Starts the final operations that are due.
    pub(super) fn run_finale(&mut self, now: Duration, until: Duration) {
        for index in 0..self.threads.len() {
            while self.is_free(index) && self.is_final_due(index, now) {
                self.next_final(now, until, index);
            }
        }
    }

    fn is_final_due(&self, index: usize, now: Duration) -> bool {
        let due = self.threads.get(index).and_then(|thread| thread.final_at);
        due.is_some_and(|at| at <= now)
    }

    fn next_final(&mut self, now: Duration, until: Duration, index: usize) {
        let Some(thread) = self.threads.get_mut(index) else {
            return;
        };
        let due = thread.final_at.take();
        let op = match self.generator.final_ops() {
            FinalOps::None => None,
            FinalOps::Once(op) => Some(op),
            FinalOps::Many { .. } if now > until => None,
            FinalOps::Many { pace, .. } => {
                let op = self.generator.next_final(thread.process);
                if op.is_some() {
                    let gap = random_below(pace.saturating_mul(2), &mut self.rng);
                    thread.final_at = due.map(|due| due.max(now) + gap);
                }
                op
            }
        };
        if let Some(op) = op {
            self.invoke(now, index, op, true);
        }
    }
}
