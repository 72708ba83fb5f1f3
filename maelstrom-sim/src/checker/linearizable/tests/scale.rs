//! Checks that long histories take time proportional to their length.

use chacha20::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;

type Op = Operation<RegisterOp<u64>>;
type Keyed = Vec<(u64, Op)>;

/// A running operation.
struct Running {
    key: u64,
    op: RegisterOp<u64>,
    call: u64,
    took_effect: bool,
}

/// Simulates clients of atomic registers.
struct World {
    rng: ChaCha8Rng,
    values: Vec<Option<u64>>,
    threads: Vec<Option<Running>>,
    /// Operations without a waiting client. They may still take effect.
    lost: Vec<(u64, RegisterOp<u64>)>,
    history: Keyed,
    /// How many of a thousand operations are indeterminate.
    indeterminate: u32,
    /// How many different values there are.
    range: u64,
}

impl World {
    /// Lets an operation take effect. Returns whether it succeeded.
    fn apply(values: &mut [Option<u64>], key: u64, op: &mut RegisterOp<u64>) -> bool {
        let value = &mut values[usize::try_from(key).unwrap()];
        match op {
            RegisterOp::Read(read) => *read = *value,
            RegisterOp::Write(new) => *value = Some(*new),
            RegisterOp::Cas { from, to } if value == from => *value = Some(*to),
            RegisterOp::Cas { .. } => return false,
        }
        true
    }

    fn begin(&mut self) -> Running {
        let key = self.rng.random_range(0..self.values.len() as u64);
        let mut value = || self.rng.random_range(0..self.range);
        let (a, b, kind) = (value(), value(), value() % 3);
        let now = self.values[usize::try_from(key).unwrap()];
        let op = match kind {
            0 => RegisterOp::Read(None),
            1 => RegisterOp::Write(b),
            _ => RegisterOp::Cas { from: if a % 2 == 0 { now } else { Some(a) }, to: b },
        };
        Running { key, op, call: 0, took_effect: false }
    }

    /// Begins or ends an operation.
    fn step(&mut self, time: u64) {
        if !self.lost.is_empty() && self.rng.random_range(0..200) == 0 {
            let at = self.rng.random_range(0..self.lost.len());
            let (key, mut op) = self.lost.swap_remove(at);
            Self::apply(&mut self.values, key, &mut op);
        }
        let thread = self.rng.random_range(0..self.threads.len());
        let Some(mut running) = self.threads[thread].take() else {
            let running = Running { call: time, ..self.begin() };
            self.threads[thread] = Some(running);
            return;
        };
        if running.took_effect {
            let op = Operation::completed(running.op, running.call, time);
            self.history.push((running.key, op));
            return;
        }
        if self.rng.random_range(0..1000) < self.indeterminate {
            if !matches!(running.op, RegisterOp::Read(_)) {
                let op = Operation::indeterminate(running.op.clone(), running.call);
                self.history.push((running.key, op));
                self.lost.push((running.key, running.op));
            }
            return;
        }
        running.took_effect = Self::apply(&mut self.values, running.key, &mut running.op);
        self.threads[thread] = Some(running).filter(|running| running.took_effect);
    }
}

/// A linearizable history. Omits operations that still run at the end and have no effect.
fn history(ops: usize, keys: usize, indeterminate: u32, range: u64, seed: u64) -> Keyed {
    let mut world = World {
        rng: ChaCha8Rng::seed_from_u64(seed),
        values: vec![None; keys],
        threads: (0..10).map(|_| None).collect(),
        lost: Vec::new(),
        history: Vec::new(),
        indeterminate,
        range,
    };
    let mut time = 0;
    while world.history.len() < ops {
        time += 1;
        world.step(time);
    }
    for running in world.threads.into_iter().flatten().filter(|running| running.took_effect) {
        let op = Operation::completed(running.op, running.call, time);
        world.history.push((running.key, op));
    }
    world.history
}

fn judge(history: &Keyed) -> Parts<u64> {
    check_by_key(&Register::new(), history.iter().cloned(), Limits::default())
}

/// Adds a stale read late in the history: a write of a new value, another write, and a read of the
/// new value.
fn with_stale_read(mut history: Keyed, key: u64) -> Keyed {
    let gap = history.len() * 9 / 10;
    let at = history[gap].1.call;
    let shifted = |time: u64| if time > at { time + 10 } else { time };
    for (_, op) in &mut history {
        op.call = shifted(op.call);
        op.returned = op.returned.map(shifted);
    }
    let new = [RegisterOp::Write(1 << 40), RegisterOp::Write(0), RegisterOp::Read(Some(1 << 40))];
    history.extend(
        (0..)
            .zip(new)
            .map(|(n, op)| (key, Operation::completed(op, at + 3 * n + 1, at + 3 * n + 2))),
    );
    history
}

#[test]
fn long_histories_are_judged() {
    let ops = 20_000;
    let good = history(ops, 10, 10, 5, 1);
    for (key, outcome) in judge(&good).by_key {
        let part: Vec<Op> =
            good.iter().filter(|(other, _)| *other == key).map(|(_, op)| op.clone()).collect();
        assert!(outcome.is_linearizable(), "{key}: {outcome}");
        let Outcome::Linearizable { order } = check(&Register::new(), &part, Limits::default())
        else {
            panic!()
        };
        naive::assert_proves(&Register::new(), &part, &order);
    }
    let bad = with_stale_read(good, 3);
    let parts = judge(&bad);
    let (key, explanation) = parts.first_error().unwrap();
    assert_eq!((*key, explanation.operation), (3, bad.len() - 1), "{explanation}");
    assert!(!explanation.prefix_is_short, "{explanation}");
}

#[test]
fn long_histories_of_one_key_are_judged() {
    let good = history(2_000, 1, 10, 5, 2);
    assert_eq!(judge(&good).is_linearizable(), Some(true));
    let bad = with_stale_read(good, 0);
    assert_eq!(judge(&bad).first_error().map(|(_, why)| why.operation), Some(bad.len() - 1));
}

#[test]
fn hundreds_of_indeterminate_operations_are_judged() {
    let good = history(3_000, 2, 100, 5, 3);
    assert_eq!(judge(&good).is_linearizable(), Some(true));
    let bad = with_stale_read(good, 1);
    assert_eq!(judge(&bad).first_error().map(|(_, why)| why.operation), Some(bad.len() - 1));
}
