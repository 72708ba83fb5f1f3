//! A counter with two totals for each life of a node: one for increments and one for decrements.
//! Nodes send all rows to all others again and again. It serves `g-counter` and `pn-counter`.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, Request};
use maelstrom_sim::workload::{GCounter, PnCounter};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{is_caught, is_good, sweep};

const INTERVAL: Duration = Duration::from_millis(700);

#[derive(Clone, Copy, PartialEq)]
enum Mutation {
    None,
    AddOnMerge,
    OneRowForAll,
    SameRowAfterCrash,
    AcknowledgeAndForget,
    RefuseAndAdd,
    CountTwice,
    TakeAwayTwice,
    NeverTakeAway,
    ForgetOnCrash,
    OwnRowOnly,
}

struct Counter {
    mutation: Mutation,
    row: String,
    rows: Rows,
    taken: u64,
}

/// The totals of increments and decrements in each row. Both only grow.
type Rows = BTreeMap<String, (u64, u64)>;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Add { delta: i64 },
    Tell { rows: Rows },
    Read,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Reply<'a> {
    AddOk,
    Tell { rows: &'a Rows },
    ReadOk { value: i64 },
}

impl Counter {
    fn new(mutation: Mutation) -> Self {
        Self { mutation, row: String::new(), rows: BTreeMap::new(), taken: 0 }
    }

    fn is_nth(&self, mutation: Mutation, n: u64) -> bool {
        self.mutation == mutation && self.taken.is_multiple_of(n)
    }

    fn add(&mut self, node: &mut Node<()>, request: &Request, delta: i64) -> Result<(), Error> {
        self.taken += 1;
        if self.is_nth(Mutation::AcknowledgeAndForget, 5) {
            node.reply(request, &Reply::AddOk);
            return Ok(());
        }
        let twice = self.is_nth(Mutation::CountTwice, 5)
            || (delta < 0 && self.is_nth(Mutation::TakeAwayTwice, 5));
        let amount = if twice { delta.unsigned_abs() * 2 } else { delta.unsigned_abs() };
        let row = self.rows.entry(self.row.clone()).or_default();
        let side = if delta < 0 { &mut row.1 } else { &mut row.0 };
        if delta > 0 || self.mutation != Mutation::NeverTakeAway {
            *side = side.saturating_add(amount);
        }
        if self.mutation != Mutation::ForgetOnCrash {
            node.persist(&(&self.row, *row));
        }
        if self.is_nth(Mutation::RefuseAndAdd, 5) {
            return Err(Error::temporarily_unavailable("not now"));
        }
        node.reply(request, &Reply::AddOk);
        Ok(())
    }

    fn merge(&mut self, rows: Rows) {
        for (row, (added, taken)) in rows {
            let mine = self.rows.entry(row).or_default();
            if self.mutation == Mutation::AddOnMerge {
                *mine = (mine.0.saturating_add(added), mine.1.saturating_add(taken));
            } else {
                *mine = (added.max(mine.0), taken.max(mine.1));
            }
        }
    }

    fn value(&self) -> i64 {
        let net = |row: &(u64, u64)| {
            let side = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            side(row.0).saturating_sub(side(row.1))
        };
        match self.mutation {
            Mutation::OwnRowOnly => self.rows.get(&self.row).map_or(0, net),
            _ => self.rows.values().fold(0, |sum, row| sum.saturating_add(net(row))),
        }
    }
}

impl MessageHandler for Counter {
    type Payload = Payload;
    type Event = ();

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        let (row, count): (String, (u64, u64)) = serde_json::from_slice(record).unwrap();
        self.merge(BTreeMap::from([(row, count)]));
        Ok(())
    }

    fn started(&mut self, node: &mut Node<()>) {
        let life = match self.mutation {
            Mutation::SameRowAfterCrash => 0,
            _ => node.rng().next_u64(),
        };
        self.row = match self.mutation {
            Mutation::OneRowForAll => "all".into(),
            _ => format!("{}-{life}", node.id()),
        };
        if self.mutation == Mutation::SameRowAfterCrash {
            // Counts from 0 again, in the same row as before.
            self.rows.remove(&self.row);
        }
        node.set_timer(INTERVAL, ());
    }

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Add { delta } => self.add(node, request, delta)?,
            Payload::Tell { rows } => self.merge(rows),
            Payload::Read => node.reply(request, &Reply::ReadOk { value: self.value() }),
        }
        Ok(())
    }

    fn event(&mut self, node: &mut Node<()>, (): ()) {
        for peer in node.peers() {
            node.send(&peer, &Reply::Tell { rows: &self.rows });
        }
        node.set_timer(INTERVAL, ());
    }
}

#[test]
fn the_good_counter_is_never_blamed() {
    is_good(GCounter::default(), |_| Counter::new(Mutation::None));
    is_good(PnCounter::default(), |_| Counter::new(Mutation::None));
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    sweep(GCounter::default()).test_determinism(0..3, |_| Counter::new(Mutation::None));
}

#[test]
fn every_broken_counter_is_caught() {
    for (mutation, name, figure) in [
        (Mutation::AddOnMerge, "add on merge", "too-large"),
        (Mutation::OneRowForAll, "one row for all", "errors"),
        (Mutation::SameRowAfterCrash, "the same row after a crash", "errors"),
        (Mutation::AcknowledgeAndForget, "acknowledge and forget", "errors"),
        (Mutation::RefuseAndAdd, "refuse and add", "failed-but-counted"),
        (Mutation::CountTwice, "count a retry twice", "errors"),
        (Mutation::ForgetOnCrash, "forget on crash", "errors"),
        (Mutation::OwnRowOnly, "show one's own row only", "errors"),
    ] {
        is_caught(GCounter::default(), name, figure, |_| Counter::new(mutation));
    }
}

#[test]
fn every_broken_counter_that_goes_down_is_caught() {
    for (mutation, name, figure) in [
        (Mutation::AddOnMerge, "add on merge", "errors"),
        (Mutation::OneRowForAll, "one row for all", "errors"),
        (Mutation::SameRowAfterCrash, "the same row after a crash", "errors"),
        (Mutation::AcknowledgeAndForget, "acknowledge and forget", "errors"),
        (Mutation::RefuseAndAdd, "refuse and add", "failed-but-counted"),
        (Mutation::TakeAwayTwice, "take away twice", "errors"),
        (Mutation::NeverTakeAway, "never take away", "errors"),
        (Mutation::ForgetOnCrash, "forget on crash", "errors"),
        (Mutation::OwnRowOnly, "show one's own row only", "errors"),
    ] {
        is_caught(PnCounter::default(), name, figure, |_| Counter::new(mutation));
    }
}
