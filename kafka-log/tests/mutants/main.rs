//! Each test breaks one rule of the protocol on purpose. The checker must notice: the node's own
//! assertions are off.
//!
//! `make hunts HUNTS=21 | grep '^|'` prints the number of seeds that a hunt needs: the minimum, the
//! median and the maximum of 21 hunts. No hunt takes more than `SEEDS` seeds (1,000).
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "tests may fail")]

#[path = "../simulation/damaged.rs"]
mod damaged;
#[path = "../simulation/forgetful.rs"]
mod forgetful;
#[path = "../../../maelstrom-sim/tests/seeds/mod.rs"]
mod seeds;
#[path = "../../../maelstrom-sim/tests/mutants/shrunk.rs"]
mod shrunk;
#[path = "../simulation/staged.rs"]
mod staged;

use std::time::Duration;

use kafka_log::{Config, KafkaLog, Rule, Rules};
use maelstrom_core::{MessageHandler, NodeId, gossip};
use maelstrom_sim::Test;
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::Kafka;

use crate::damaged::{Damaged, Reader};
use crate::forgetful::{Forgetful, with_one_bad_disk};
use crate::seeds::number_from_env;

/// The number of seeds within which a hunt must notice a broken rule, unless `SEEDS` says
/// otherwise.
const SEEDS_MAX: u64 = 1_000;

/// The distance between the first seeds of two hunts.
const RANGE: u64 = 100_000;

/// The number of hunts, and the most seeds of each.
fn hunts() -> (u64, u64) {
    (number_from_env("HUNTS").unwrap_or(1), number_from_env("SEEDS").unwrap_or(SEEDS_MAX))
}

/// The anomalies that the checker finds in a run, if it finds any.
fn finding<H: MessageHandler>(test: Test, build: impl Fn(&NodeId) -> H) -> Option<String> {
    let results = simulate(test, build).results();
    let is_invalid = results.workload.valid == Verdict::Invalid;
    is_invalid.then(|| results.workload.fields["bad-error-types"].to_string())
}

/// Checks that some seed from `first` on shows that a rule is broken, and prints a row of a table.
/// With more than one hunt, all of them begin at round numbers instead, so that no hunt begins at a
/// seed that is known to show something. Then at least one must find it.
fn is_noticed(rule: Rule, sweep: &str, first: u64, find: impl Fn(u64) -> Option<String>) {
    let (hunts, seeds_max) = hunts();
    let hunt = |start: u64| {
        let found = (start..start + seeds_max).find_map(|seed| Some((seed, find(seed)?)));
        found.map_or((seeds_max + 1, "nothing".into()), |(seed, sign)| (seed - start + 1, sign))
    };
    let starts = if hunts == 1 { vec![first] } else { (1..=hunts).map(|n| n * RANGE).collect() };
    let mut seeds: Vec<(u64, String)> = starts.into_iter().map(hunt).collect();
    seeds.sort();
    let (median, sign) = &seeds[seeds.len() / 2];
    let is_noticed = seeds[0].0 <= seeds_max;
    assert!(is_noticed, "{rule:?}: nothing in {hunts} hunts of {seeds_max} seeds");
    let told = |n: u64| if n > seeds_max { format!("> {seeds_max}") } else { n.to_string() };
    let [min, median, max] = [seeds[0].0, *median, seeds[seeds.len() - 1].0].map(told);
    println!("| `{rule:?}` | {sweep} | {min} | {median} | {max} | {sign} |");
}

fn sweep() -> Sweep {
    Sweep::new(Kafka::default(), Fault::ALL)
}

fn test_for(seed: u64) -> Test {
    sweep().test_for(seed)
}

/// Nodes with these rules that send every message at once. With more messages, a fault shows
/// sooner.
fn config(rules: Rules) -> Config {
    Config { linger: Duration::ZERO, rules, ..Config::default() }
}

/// Two partitions that take sends only with two replicas in sync.
fn two_in_sync(rules: Rules) -> Config {
    Config { partitions: 2, in_sync_min: 2, ..config(rules) }
}

/// One partition on all nodes, so that each fault affects it.
fn handler(rules: Rules) -> KafkaLog {
    let config = Config { partitions: 1, replication: 5, ..config(rules) };
    KafkaLog::new(config, gossip::Config::default())
}

fn with_all_faults(rules: Rules, seed: u64) -> Option<String> {
    finding(test_for(seed), |_| handler(rules))
}

fn with_a_bad_disk(rules: Rules, seed: u64) -> Option<String> {
    let test = with_one_bad_disk(test_for(seed));
    let bad = test.options.nodes[0].clone();
    finding(test, |id| Forgetful::with_two_in_sync(*id == bad, config(rules)))
}

fn with_a_damaged_file(reader: Reader, rules: Rules, seed: u64) -> Option<String> {
    let test = with_one_bad_disk(test_for(seed));
    let bad = test.options.nodes[0].clone();
    finding(test, |id| Damaged::new(if *id == bad { reader } else { Reader::Lucky }, rules))
}

fn with_outages(rules: Rules, seed: u64) -> Option<String> {
    let mut test = test_for(seed);
    test.options.nemesis.insert(Fault::Outage);
    finding(test, |_| handler(rules))
}

/// Nothing happens to the nodes but losses of power.
fn with_power_losses(rules: Rules, seed: u64) -> Option<String> {
    let mut test = test_for(seed);
    test.options.nemesis = [Fault::PowerLoss].into_iter().collect();
    finding(test, |_| handler(rules))
}

/// Finds the anomalies in tests of [`staged`](crate::staged), whose nodes break this rule.
fn broken(
    rule: Rule,
    stage: fn(Test) -> Test,
    config: fn(Rules) -> Config,
) -> impl Fn(u64) -> Option<String> {
    move |seed| {
        let config = config(Rules::without(rule));
        let build = |_: &NodeId| KafkaLog::new(config.clone(), gossip::Config::default());
        finding(stage(test_for(seed)), build)
    }
}

/// The anomalies where a former leader goes on. The first node loses its records in each crash.
fn with_a_former_leader(rules: Rules, seed: u64) -> Option<String> {
    let test = crate::staged::with_a_former_leader(test_for(seed));
    let bad = test.options.nodes[0].clone();
    finding(test, |id| Forgetful::with_two_in_sync(*id == bad, config(rules)))
}

#[test]
fn nothing_is_found_if_all_rules_hold() {
    let rules = Rules::default();
    for seed in 0..2 {
        assert_eq!(with_all_faults(rules, seed), None, "{seed}");
        assert_eq!(with_a_bad_disk(rules, seed), None, "{seed}");
        assert_eq!(with_outages(rules, seed), None, "{seed}");
        assert_eq!(with_power_losses(rules, seed), None, "{seed}");
        assert_eq!(with_a_damaged_file(Reader::Refuses, rules, seed), None, "{seed}");
    }
}

#[test]
fn a_broken_rule_is_noticed_by_the_sweep_of_all_faults() {
    // The seeds before the second number show nothing, or take long.
    for (rule, first) in [
        (Rule::Fencing, 56),
        (Rule::CommitWithFollowers, 0),
        (Rule::CommitWithAll, 16),
        (Rule::ElectInSync, 2),
        (Rule::Truncate, 0),
        (Rule::AppendOnce, 0),
        (Rule::LeadWithWholeLog, 1),
        (Rule::SoleFollower, 0),
        (Rule::CompareAndSet, 10),
        (Rule::CountProposed, 702),
    ] {
        let find = |seed| with_all_faults(Rules::without(rule), seed);
        is_noticed(rule, "all faults", first, find);
        crate::shrunk::row(&sweep(), &format!("{rule:?}"), first, |_| {
            handler(Rules::without(rule))
        });
    }
}

#[test]
fn a_broken_rule_about_lost_records_is_noticed_by_the_sweep_with_a_bad_disk() {
    for (rule, first) in [(Rule::MinInSync, 18), (Rule::ClearEligible, 84)] {
        let find = |seed| with_a_bad_disk(Rules::without(rule), seed);
        is_noticed(rule, "a bad disk", first, find);
    }
}

/// A node goes on with the part of its file that is not damaged.
#[test]
fn a_broken_rule_about_damage_is_noticed_by_the_sweep_with_a_damaged_file() {
    let rule = Rule::WholeRecords;
    let find = |seed| with_a_damaged_file(Reader::Cuts, Rules::without(rule), seed);
    // The seeds before this one show nothing.
    is_noticed(rule, "a damaged file", 86, find);
}

#[test]
fn a_broken_rule_about_outages_is_noticed_by_the_sweep_with_outages() {
    let rule = Rule::CompareReplicas;
    is_noticed(rule, "outages", 0, |seed| with_outages(Rules::without(rule), seed));
}

/// The new leader forgets the entries that it does not know to be committed. After a loss of power,
/// no node knows of the newest ones.
#[test]
fn a_broken_rule_about_the_whole_log_is_noticed_by_the_sweep_with_power_losses() {
    let rule = Rule::LeadWithWholeLog;
    is_noticed(rule, "power losses", 2, |seed| with_power_losses(Rules::without(rule), seed));
}

#[test]
fn a_broken_rule_about_joining_is_noticed_where_the_others_crash_then() {
    // The seeds before the numbers show nothing.
    for (rule, first) in
        [(Rule::CountJoining, 173), (Rule::JoinCaughtUp, 94), (Rule::CountProposed, 0)]
    {
        let find = broken(rule, crate::staged::with_joins, crate::staged::joining);
        is_noticed(rule, "joins", first, find);
    }
}

/// A follower truncates its log by its high watermark, which is old, and then leads (KIP-101).
#[test]
fn a_broken_rule_about_truncation_is_noticed_where_two_leaders_fail_one_after_the_other() {
    let rule = Rule::TruncateByEpoch;
    let find = broken(rule, crate::staged::with_two_failovers, crate::staged::failing_over);
    is_noticed(rule, "two failovers", 52, find);
}

/// A follower forgets in a restart that it follows a newer leader.
#[test]
fn a_broken_rule_about_epochs_is_noticed_where_a_former_leader_goes_on() {
    let rule = Rule::PersistEpoch;
    let find = broken(rule, crate::staged::with_a_former_leader, two_in_sync);
    is_noticed(rule, "a former leader", 2, find);
}

#[test]
fn a_broken_rule_about_incarnations_is_noticed_where_a_former_leader_goes_on() {
    let rule = Rule::CheckIncarnation;
    let find = |seed| with_a_former_leader(Rules::without(rule), seed);
    is_noticed(rule, "a former leader", 3, find);
}

/// A recovery that compares the epochs of last entries prefers an entry that was never committed.
#[test]
fn a_broken_rule_about_comparisons_is_noticed_where_older_entries_are_committed() {
    let rule = Rule::CompareMatched;
    let find =
        broken(rule, crate::staged::with_older_entries, crate::staged::committing_older_entries);
    // The seeds before this one show nothing.
    is_noticed(rule, "older entries", 34, find);
}

/// A follower acknowledged entries two elections ago, and has truncated them (KIP-320).
#[test]
fn a_broken_rule_about_acknowledgements_is_noticed_where_some_come_late() {
    let rule = Rule::CheckAckEpoch;
    let (stage, config) =
        (crate::staged::with_late_acknowledgements, crate::staged::acknowledging_late);
    // The seeds before this one show nothing.
    is_noticed(rule, "late acknowledgements", 93, broken(rule, stage, config));
}

#[test]
fn a_broken_rule_about_errors_is_noticed_where_sends_are_refused() {
    let rule = Rule::RefuseUnsent;
    let find = broken(rule, crate::staged::with_refusals, crate::staged::refusing);
    is_noticed(rule, "refusals", 46, find);
}

#[test]
fn a_broken_rule_about_floors_is_noticed_where_messages_are_deleted_soon() {
    let rule = Rule::FloorNamesProducers;
    let find = broken(rule, crate::staged::with_deletions, crate::staged::deleting);
    is_noticed(rule, "deletions", 271, find);
}
