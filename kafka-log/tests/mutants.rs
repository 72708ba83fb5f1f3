//! The protocol is broken on purpose, one rule at a time, and the built-in checker must notice. Not
//! the node's own assertions: those are off then.
//!
//! All in one test: what is broken is so in the whole process.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests may fail")]
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "tests may fail")]

use kafka_log::KafkaLog;
use kafka_log::mutants::{Mutant, set};
use maelstrom_sim::checker::Verdict;
use maelstrom_sim::nemesis::Fault;
use maelstrom_sim::simulate::simulate;
use maelstrom_sim::sweep::Sweep;
use maelstrom_sim::workload::WorkloadKind;

/// Within how many seeds a mutant must be caught.
const SEEDS_MAX: u64 = 400;

/// What gives the mutant away in the run of this seed, if anything does.
fn signs(sweep: &Sweep, seed: u64) -> Option<String> {
    let results = simulate(sweep.options(seed), |_| KafkaLog::default()).results();
    let is_invalid = results.workload.valid == Verdict::Invalid;
    is_invalid.then(|| results.workload.fields["bad-error-types"].to_string())
}

#[test]
fn every_mutant_is_caught() {
    let sweep = Sweep { workload: WorkloadKind::Kafka, faults: Fault::ALL.to_vec() };
    for mutant in [
        Mutant::NoFencing,
        Mutant::CommitAlone,
        Mutant::CommitWithOne,
        Mutant::UncleanElection,
        Mutant::NoTruncation,
        Mutant::AppendAgain,
        Mutant::LeadFromHigh,
    ] {
        set(Some(mutant));
        let caught = (0..SEEDS_MAX).find_map(|seed| Some((seed + 1, signs(&sweep, seed)?)));
        set(None);
        let (seeds, signs) = caught.unwrap_or_else(|| panic!("{mutant:?} is not caught"));
        println!("| {mutant:?} | {signs} | {seeds} |");
    }
}
