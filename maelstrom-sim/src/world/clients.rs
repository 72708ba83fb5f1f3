//! The client threads. Each executes one operation at a time.
//!
//! After Jepsen's interpreter: threads take turns, and busy threads are skipped. After an operation
//! with an unknown outcome, the thread continues as a new process. The process gets a new address,
//! unless the workload [reuses addresses](crate::workload::Workload::reuses_address).

use std::time::Duration;

use maelstrom_core::NodeId;
use serde_json::value::RawValue;

use super::World;
use super::calls::{Outcome, Purpose};
use super::reply::{self, Ending};
use crate::delivery::Delivery;
use crate::history::{Op, OpType, Process};
use crate::options::Options;
use crate::workload::{Invocation, Step};

/// A client thread.
#[derive(Debug)]
pub(super) struct Thread {
    node: NodeId,
    pub(super) process: u64,
    client: Option<Client>,
    pending: Option<Pending>,
    /// When its next final operation is due.
    pub(super) final_at: Option<Duration>,
}

/// A client: an address in the network.
#[derive(Debug)]
pub(super) struct Client {
    address: NodeId,
    /// The process for which it was created.
    process: u64,
    last_msg_id: u64,
}

/// The operation that a thread is executing.
#[derive(Debug)]
struct Pending {
    op: Invocation,
    invocation: usize,
    is_final: bool,
    /// The type of the current request.
    asked: &'static str,
    /// The results of its requests so far.
    results: Vec<Option<Box<RawValue>>>,
}

/// The threads of a test. Thread `i` talks to node `i` modulo the number of nodes.
pub(super) fn threads(options: &Options) -> Vec<Thread> {
    let threads = (0..options.concurrency).zip(options.nodes.iter().cycle());
    let threads = threads.map(|(process, node)| Thread {
        node: node.clone(),
        process: process as u64,
        client: None,
        pending: None,
        final_at: None,
    });
    threads.collect()
}

impl World {
    /// Starts the operations that are due, as long as there are free threads.
    pub(super) fn run_clients(&mut self, now: Duration, end: Duration) {
        while now < end && self.has_free_thread() {
            let Some(stagger) = &mut self.stagger else {
                return;
            };
            if stagger.next_at(now) > now {
                return;
            }
            // The next gap begins when this operation begins, not when it was due. Delays, because
            // of busy threads or a slow machine, are not made up for.
            stagger.advance(now, &mut self.rng);
            let Some(index) = self.next_free_thread() else { return };
            let Some(process) = self.threads.get(index).map(|thread| thread.process) else {
                return;
            };
            let op = self.generator.next(process, &mut self.rng);
            let number = self.drawn;
            self.drawn += 1;
            if self.options.operations.as_ref().is_none_or(|kept| kept.contains(&number)) {
                self.invoke(now, index, op, false);
            }
        }
    }

    /// How many operations were drawn before the time limit. Counts those that were skipped, too.
    #[must_use]
    pub(crate) fn operations_drawn(&self) -> u64 {
        self.drawn
    }

    /// How many messages so far could have a fixed
    /// [delivery](crate::options::Options::deliveries).
    pub(crate) fn choices_made(&self) -> u64 {
        self.network.sent_since_deliveries()
    }

    /// The messages whose [delivery](crate::options::Options::deliveries) was fixed and a few after
    /// them, by number. Empty if none was fixed.
    pub(crate) fn first_deliveries(&self) -> &[(u64, Delivery)] {
        self.network.first_deliveries()
    }

    /// Whether a thread is free.
    pub(super) fn has_free_thread(&self) -> bool {
        self.threads.iter().any(|thread| thread.pending.is_none())
    }

    /// The thread whose turn it is, or the next free one. The nemesis has a turn as well; in its
    /// turn, the first free thread goes.
    fn next_free_thread(&mut self) -> Option<usize> {
        let turn = self.turn;
        let free = |thread: &usize| self.is_free(*thread);
        let next = (turn..self.threads.len()).find(free).or_else(|| (0..turn).find(free));
        self.take_turn();
        next
    }

    /// Advances the turn after an operation of a client or the nemesis has begun.
    pub(super) fn take_turn(&mut self) {
        self.turn = (self.turn + 1) % (self.threads.len() + 1);
    }

    pub(super) fn is_free(&self, thread: usize) -> bool {
        self.threads.get(thread).is_some_and(|thread| thread.pending.is_none())
    }

    /// Lets a thread begin an operation.
    pub(super) fn invoke(&mut self, now: Duration, index: usize, op: Invocation, is_final: bool) {
        let Some(process) = self.threads.get(index).map(|thread| thread.process) else {
            return;
        };
        self.renew_client(now, index);
        let begin = Op::new(Process::Client(process), OpType::Invoke, op.f);
        let invocation = self.record(now, Op { value: op.value.clone(), is_final, ..begin });
        let Some(thread) = self.threads.get_mut(index) else {
            return;
        };
        thread.pending = Some(Pending { op, invocation, is_final, asked: "", results: Vec::new() });
        self.go_on(now, index);
    }

    /// Executes the next step of a thread's operation.
    fn go_on(&mut self, now: Duration, index: usize) {
        let Some(thread) = self.threads.get_mut(index) else {
            return;
        };
        let (Some(pending), Some(client)) = (&mut thread.pending, &mut thread.client) else {
            return;
        };
        let ending = match self.generator.step(thread.process, &pending.op, &pending.results) {
            Step::Ask(request) => {
                pending.asked = request.kind;
                client.last_msg_id += 1;
                let (address, msg_id) = (client.address.clone(), client.last_msg_id);
                let node = thread.node.clone();
                return self.call(now, &address, &node, msg_id, &request, Purpose::Op(index));
            }
            Step::Done(value) => Ending { kind: OpType::Ok, value, ..Ending::default() },
            Step::Crash => Ending::default(),
        };
        self.finish(now, index, ending);
    }

    /// Gives a thread with a new process a new address, and removes the old one. Does nothing if
    /// the workload reuses addresses. A late reply to the old address cannot be delivered.
    fn renew_client(&mut self, now: Duration, index: usize) {
        let Some(thread) = self.threads.get(index) else {
            return;
        };
        let process = thread.process;
        let keep = self.workload.reuses_address();
        let old = match &thread.client {
            Some(client) if keep || client.process == process => return,
            Some(client) => Some(client.address.clone()),
            None => None,
        };
        if let Some(old) = old {
            self.network.remove(now, &old);
            self.calls.forget(&old);
        }
        let address = self.open_address();
        if let Some(thread) = self.threads.get_mut(index) {
            thread.client = Some(Client { address, process, last_msg_id: 0 });
        }
    }

    /// Passes the outcome of a request to its thread.
    pub(super) fn call_answered(&mut self, now: Duration, index: usize, outcome: &Outcome) {
        let thread = self.threads.get_mut(index);
        let Some(pending) = thread.and_then(|thread| thread.pending.as_mut()) else {
            return;
        };
        let workload = self.workload.as_ref();
        let ending = reply::ending(workload, pending.op.f, pending.asked, outcome);
        if ending.kind == OpType::Ok {
            pending.results.push(ending.value);
            self.go_on(now, index);
        } else {
            self.finish(now, index, ending);
        }
    }

    /// Ends the operation of a thread.
    fn finish(&mut self, now: Duration, index: usize, ending: Ending) {
        let Some(thread) = self.threads.get_mut(index) else {
            return;
        };
        let Some(pending) = thread.pending.take() else {
            return;
        };
        let process = thread.process;
        if ending.kind == OpType::Info {
            thread.process += self.options.concurrency as u64;
        }
        let end = Op {
            value: ending.value.or(pending.op.value),
            error: ending.error,
            is_definite: ending.is_definite,
            is_final: pending.is_final,
            invocation: Some(pending.invocation),
            ..Op::new(Process::Client(process), ending.kind, pending.op.f)
        };
        self.generator.ended(&end);
        self.record(now, end);
    }
}
