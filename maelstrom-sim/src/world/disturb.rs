//! Carries out the actions of the nemesis, in the world itself or through the driver.

use std::time::Duration;

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
            NemesisOp::Restore(node, _) if !self.down.contains(&node) => return,
            NemesisOp::Restore(node, percent) => Disturbance::Restore(node, percent),
            NemesisOp::Restart(node) => {
                if !self.down.remove(&node) {
                    return;
                }
                self.actions.push_back(Action::Disturb(Disturbance::Restart(node.clone())));
                return self.init_node(now, node);
            }
        };
        self.actions.push_back(Action::Disturb(disturbance));
    }
}
