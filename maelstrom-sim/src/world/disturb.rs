//! Carries out the actions of the nemesis, in the world itself or through the driver.
//!
//! 1. The world tells its observers of the action.
//! 2. The network and the services change at once. For a node, the driver gets a [`Disturbance`].
//! 3. The history gets two operations of the nemesis: its request, and the result.
//!
//! A restart of a node that is not down does nothing, and neither does a restore. A restart sends
//! `init` again. The repair of a disk also restarts the node if the disk had ended its process.

use std::time::Duration;

use maelstrom_core::NodeId;
use serde_json::{Value, json};

use super::{Action, Disturbance, World};
use crate::history::{Op, OpType, Process};
use crate::nemesis::NemesisOp;
use crate::news::News;
use crate::service::Services;

impl World {
    pub(super) fn nemesis_did(&mut self, now: Duration, op: NemesisOp) {
        self.tell(now, News::Nemesis(op.clone()));
        let f = op.name();
        let repaired = match &op {
            NemesisOp::RepairDisk(node) => {
                self.failing_disks.remove(node);
                self.ended_by_disk.take(node)
            }
            _ => None,
        };
        let (asked, done) = match &op {
            NemesisOp::StartPartition(kind, grudge) => (json!(kind.name()), json!(grudge)),
            NemesisOp::StopPartition => (Value::Null, json!("network-healed")),
            other => (Value::Null, json!(other.to_string())),
        };
        self.disturb(now, op);
        self.take_turn();
        for value in [asked, done] {
            let value = serde_json::value::to_raw_value(&value).ok();
            let value = value.filter(|value| value.get() != "null");
            self.record(now, Op { value, ..Op::new(Process::Nemesis, OpType::Info, f) });
        }
        if let Some(node) = repaired {
            self.nemesis_did(now, NemesisOp::Restart(node));
        }
    }

    /// Handles the end of a node's process that ended by itself because a sync failed. It is down
    /// until its disk is repaired, or until the nemesis restarts it.
    pub fn disk_failed(&mut self, now: Duration, node: &NodeId) {
        self.nemesis_did(now, NemesisOp::Crash(node.clone()));
        if self.failing_disks.contains(node) {
            self.ended_by_disk.insert(node.clone());
        } else {
            // The repair is under way to the node.
            self.nemesis_did(now, NemesisOp::Restart(node.clone()));
        }
        self.advance(now);
    }

    fn disturb(&mut self, now: Duration, op: NemesisOp) {
        let disturbance = match op {
            NemesisOp::StartPartition(_, grudge) => return self.network.start_partition(grudge),
            NemesisOp::StopPartition => return self.network.heal(),
            NemesisOp::Loss(p) => return self.network.set_loss(p),
            NemesisOp::Duplication(p) => return self.network.set_duplication(p),
            NemesisOp::Forgery(p) => return self.network.set_forgery(p),
            NemesisOp::Replay(p) => return self.network.set_replay(p),
            NemesisOp::Slow(address, by) => return self.network.set_slow(address, by),
            NemesisOp::SlowLink(from, to, by) => return self.network.set_slow_link(from, to, by),
            NemesisOp::Services(mode) => return self.service_mode = mode,
            NemesisOp::Forget => {
                self.services.forget();
                for name in Services::NAMES {
                    self.network.remove(now, &name.into());
                    self.network.add(name.into());
                }
                return;
            }
            NemesisOp::Pause(node) => Disturbance::Pause(node),
            NemesisOp::Resume(node) => Disturbance::Resume(node),
            NemesisOp::Crash(node) => {
                self.down.insert(node.clone());
                Disturbance::Crash(node)
            }
            NemesisOp::Clock(node, ms) => Disturbance::Clock(node, ms),
            NemesisOp::Drift(node, by) => Disturbance::Drift(node, by),
            NemesisOp::SlowDisk(node, by) => Disturbance::SlowDisk(node, by),
            NemesisOp::StallDisk(node) => Disturbance::StallDisk(node, true),
            NemesisOp::ResumeDisk(node) => Disturbance::StallDisk(node, false),
            NemesisOp::FailDisk(node) => {
                self.failing_disks.insert(node.clone());
                Disturbance::FailDisk(node, true)
            }
            NemesisOp::RepairDisk(node) => Disturbance::FailDisk(node, false),
            NemesisOp::Restore(node, _) if !self.down.contains(&node) => return,
            NemesisOp::Restore(node, percent) => Disturbance::Restore(node, percent),
            NemesisOp::Restart(node) => {
                if !self.down.remove(&node) {
                    return;
                }
                self.ended_by_disk.remove(&node);
                self.actions.push_back(Action::Disturb(Disturbance::Restart(node.clone())));
                return self.init_node(now, node);
            }
        };
        self.actions.push_back(Action::Disturb(disturbance));
    }
}
