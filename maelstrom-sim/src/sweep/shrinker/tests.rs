//! Tests the search with simulated runs.

use std::time::Duration;

use super::super::changes;
use super::*;
use crate::nemesis::{Fault, NemesisOp, Schedule};
use crate::options::Latency;

fn options() -> Options {
    Options {
        nemesis: [Fault::Crash, Fault::Loss, Fault::Clock].into(),
        nemesis_interval: Duration::from_secs(2),
        latency: Latency { mean_ms: 50, dist: LatencyDist::Exponential },
        time_limit: Duration::from_secs(20),
        rate: 20.0,
        concurrency: 10,
        seed: 7,
        ..Options::default()
    }
}

/// The size of a run with these options. It counts background messages and operations.
fn made_up(options: &Options) -> (Size, u64) {
    let millis = u64::try_from(options.time_limit.as_millis()).unwrap();
    let rate: u64 = format!("{:.0}", options.rate).parse().unwrap();
    let drawn = millis * rate / 1_000;
    let kept = options.operations.as_ref();
    let operations = kept.map_or(drawn, |kept| kept.range(..drawn).count() as u64);
    let nodes = options.nodes.len() as u64;
    let messages = nodes * nodes * millis / 1_000 + 2 * operations;
    (Size { messages, faults: Schedule::new(options).faults(), operations, nodes, millis }, drawn)
}

fn kind(name: &str) -> Kind {
    Kind::new(name, "")
}

fn found(kind: Kind, options: &Options) -> Found {
    let (size, drawn) = made_up(options);
    Found { kind, size, drawn }
}

/// Runs a search. `shows` returns the finding of a run.
fn search(shows: impl Fn(&Options) -> Option<Kind>, most: u64) -> (Smallest, Options) {
    let options = options();
    let first = found(shows(&options).unwrap(), &options);
    let mut asked = 0;
    let may_go_on = || {
        asked += 1;
        asked <= most
    };
    let smallest = shrink(&options, (Changes::default(), first), may_go_on, |changes| {
        let mut options = options.clone();
        changes.apply(&mut options);
        Some(found(shows(&options)?, &options))
    });
    let mut small = options.clone();
    smallest.changes.apply(&mut small);
    (smallest, small)
}

fn crashes(options: &Options) -> Vec<(Duration, NemesisOp)> {
    let mut events = Schedule::new(options).into_events();
    events.retain(|(_, op)| matches!(op, NemesisOp::Crash(_)));
    events
}

#[test]
fn whatever_is_not_needed_is_left_out() {
    let (smallest, options) = search(|_| Some(kind("wrong")), u64::MAX);
    assert_eq!((options.nodes.len(), options.concurrency), (1, 1));
    assert_eq!((options.latency.mean_ms, options.latency.dist), (0, LatencyDist::Constant));
    assert!(options.nemesis.is_empty() && smallest.size.operations == 0);
    assert!(options.time_limit < Duration::from_millis(2 * TIME_LIMIT_MIN_MS));
    assert_eq!(smallest.size.weight(), 0);
}

#[test]
fn the_one_fault_the_operations_and_the_nodes_that_are_needed_are_kept() {
    let needed = crashes(&options())[1].clone();
    let shows = |options: &Options| {
        let begins = |n| options.operations.as_ref().is_none_or(|kept| kept.contains(&n));
        let (_, drawn) = made_up(options);
        let is_there = Schedule::new(options).into_events().contains(&needed);
        let is_shown = is_there && begins(3) && begins(31) && drawn > 31 && options.nodes.len() > 2;
        is_shown.then(|| kind("wrong"))
    };
    let (smallest, options) = search(shows, u64::MAX);
    let NemesisOp::Crash(node) = needed.1.clone() else { panic!("{needed:?}") };
    let schedule = options.schedule.clone().unwrap();
    assert_eq!(schedule[0], needed);
    assert!(schedule[1..].iter().all(|(_, op)| *op == NemesisOp::Restart(node.clone())));
    assert_eq!(options.operations, Some([3, 31].into()));
    assert!(smallest.size.nodes <= 5 && smallest.size.nodes > 2);
    assert_eq!((smallest.size.faults, smallest.size.operations), (1, 2));
    assert!(smallest.runs < 300, "{}", smallest.runs);
}

#[test]
fn only_runs_with_the_same_kind_of_finding_count() {
    let shows = |options: &Options| {
        let has_crash = !crashes(options).is_empty();
        Some(kind(if has_crash { "a lost value" } else { "no answer" }))
    };
    let (smallest, options) = search(shows, u64::MAX);
    assert_eq!((smallest.size.faults, crashes(&options).len()), (1, 1));
}

#[test]
fn no_run_begins_when_the_limit_is_reached_and_the_finding_stays() {
    let (none, _) = search(|_| Some(kind("wrong")), 0);
    assert_eq!((none.runs, none.changes), (0, Changes::default()));
    let (some, _) = search(|_| Some(kind("wrong")), 3);
    assert_eq!(some.runs, 3);
    assert!(some.changes.nodes == Some(1) && some.changes.schedule == Some(Vec::new()));
    assert_eq!(some.changes.operations, None);
}

#[test]
fn the_same_search_gives_the_same_run() {
    let shows = |options: &Options| (!crashes(options).is_empty()).then(|| kind("wrong"));
    let (once, again) = (search(shows, 60).0, search(shows, 60).0);
    assert_eq!((once.changes, once.runs), (again.changes, again.runs));
}

#[test]
fn larger_runs_are_not_kept() {
    // Without faults, the nodes send more messages.
    let options = options();
    let first = found(kind("wrong"), &options);
    let limit = first.size.weight();
    let smallest = shrink(
        &options,
        (Changes::default(), first.clone()),
        || true,
        |_| {
            let size = Size { messages: limit + 1, ..Size::default() };
            Some(Found { size, ..first.clone() })
        },
    );
    assert_eq!(smallest.changes, Changes::default());
    assert!(smallest.runs > 10);
}

/// The services are never cleared while nodes run, because no node tolerates that.
#[test]
fn an_outage_is_one_fault() {
    let options = Options { nemesis: [Fault::Outage, Fault::Crash].into(), ..options() };
    let outages: Vec<Unit> =
        faults(&options).into_iter().filter(|unit| changes::kind(unit) == Some("forget")).collect();
    assert!(!outages.is_empty());
    for outage in outages {
        let is_down = |id: &_| {
            let crash = NemesisOp::Crash(Clone::clone(id));
            let at = outage.iter().position(|(_, op)| *op == crash);
            at < outage.iter().position(|(_, op)| *op == NemesisOp::Forget) && at.is_some()
        };
        assert!(options.nodes.iter().all(is_down), "{outage:?}");
    }
}
