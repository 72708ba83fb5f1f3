//! One seed of a sweep: its test, its run, and its finding.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use maelstrom_core::{MessageHandler, NodeId};
use serde_json::json;

use super::changes::Changes;
use super::folder::{Folder, full};
use super::kind::{Kind, Size};
use super::replay::{Replay, Watchdog};
use super::shrunk::quietly;
use crate::checker::{Verdict, finals};
use crate::nemesis::Schedule;
use crate::options::Options;
use crate::report;
use crate::report::Report;
use crate::results::Results;
use crate::simulate::{Budget, Build, program, simulate_within, text_of};
use crate::store::REPORT;
use crate::test::Test;
use crate::world::World;

/// How many unanswered operations a finding lists.
const SILENT_MAX: usize = 8;

/// The limits of one seed. An ordinary run takes some thousand messages and some milliseconds.
pub(super) const BUDGET: Budget = Budget { messages: 5_000_000, time: Duration::from_secs(120) };

/// The longest time for a seed before the whole process ends, because nothing can abort a handler
/// that never returns. Longer than the budget, which ends a run first if it can.
const PATIENCE: Duration = Duration::from_secs(180);

/// A run that did not end well. [`Case`] shows one.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Its seed.
    pub seed: u64,
    /// Its kind.
    pub kind: Kind,
    /// The size of the run.
    pub size: Size,
    /// The differences from the original run of the seed. Empty, unless the run is a variation in a
    /// coverage-guided sweep.
    pub changes: Changes,
    /// How many operations were drawn for clients. Counts those that were skipped, too.
    pub(super) drawn: u64,
    /// Whether the run failed only because its history shows too little, which faults would excuse.
    pub(super) tells_nothing: bool,
    /// The full text of the finding, for a person.
    pub text: String,
}

/// The world and the results of a run that ended well, or its finding. [`Case`] shows one with a
/// finding.
pub type Outcome = Result<(World, Results), Box<Finding>>;

/// The test that a sweep derives from one seed, if seeds differ in more than their faults.
///
/// ```
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, NodeId, Request};
/// # struct Silent;
/// # impl MessageHandler for Silent {
/// #     type Payload = serde_json::Value;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, _: &mut Node<NoEvent>, _: &Request, _: Self::Payload,
/// #     ) -> Result<(), Error> {
/// #         Ok(())
/// #     }
/// # }
/// use maelstrom_sim::sweep::{Case, Sweep};
/// use maelstrom_sim::workload::Echo;
///
/// // `Silent` answers no request.
/// let sweep = Sweep::new(Echo::default(), []);
/// let mut case = Case::new(sweep.test_for(7), |_: &NodeId| Silent);
/// case.about = "All nodes are silent.".into();
/// let finding = case.run(&sweep.name()).expect_err("no echo succeeds");
/// assert_eq!((finding.seed, finding.size.faults), (7, 0));
/// assert!(finding.kind.to_string().starts_with("invalid"), "{}", finding.kind);
/// assert!(finding.text.contains("All nodes are silent."));
/// ```
#[derive(Debug)]
pub struct Case<B> {
    /// The test.
    pub test: Test,
    /// A description of the case, for readers of a finding.
    pub about: String,
    /// Creates the handlers of the nodes.
    pub build: B,
}

impl<B> Case<B> {
    /// A case without a description.
    pub fn new<H>(test: Test, build: B) -> Self
    where
        B: FnMut(&NodeId) -> H,
    {
        Self { test, about: String::new(), build }
    }

    /// Runs the test as a part of the sweep called `name`.
    ///
    /// # Errors
    ///
    /// The finding, if the run does not end well.
    pub fn run<H: MessageHandler>(self, name: &str) -> Outcome
    where
        B: FnMut(&NodeId) -> H,
    {
        self.run_for(name, &Replay::here())
    }

    pub(super) fn run_for<H: MessageHandler>(self, name: &str, replay: &Replay) -> Outcome
    where
        B: FnMut(&NodeId) -> H,
    {
        let again = replay.again(&format!("SEED={}", self.test.options.seed));
        self.run_within(name, BUDGET, again)
    }

    /// Runs the test within a budget. `again` says how to run it again.
    pub(super) fn run_within<H: MessageHandler>(
        self,
        name: &str,
        budget: Budget,
        again: String,
    ) -> Outcome
    where
        B: FnMut(&NodeId) -> H,
    {
        let Self { test, about, mut build } = self;
        judge(name, (budget, again), (test, &about), &mut |id, seed| program(build(id), seed))
    }

    /// Runs the test and stores its files in a folder. Returns a message for a person, as an error
    /// if the test does not end well.
    pub(super) fn replay<H: MessageHandler>(
        self,
        name: &str,
        folder: &Folder,
    ) -> Result<String, String>
    where
        B: FnMut(&NodeId) -> H,
    {
        let (world, results, text) = self.traced(name);
        let is_well = ended_well(&world, &results);
        let finding = (!is_well).then_some(&*text);
        let kept = match folder.write((&world, &results), finding) {
            Ok(()) => format!(
                "\nreport.html, schedule, history, messages and events are in {}",
                full(&folder.dir).display()
            ),
            Err(error) => format!("\nIts traces could not be kept: {error}"),
        };
        let text = text + &kept;
        if is_well { Ok(text) } else { Err(text) }
    }

    /// Runs the test again to store its files in a folder. Returns a line that names its report.
    pub(super) fn keep<H: MessageHandler>(self, name: &str, folder: &Folder) -> String
    where
        B: FnMut(&NodeId) -> H,
    {
        // If the checker panics, there are no results to show.
        let written = quietly(|| {
            let (world, results, text) = self.traced(name);
            let finding = (!ended_well(&world, &results)).then_some(&*text);
            folder.write((&world, &results), finding)
        });
        match written {
            Some(Ok(())) => {
                format!("\nA report of it is in {}", full(&folder.dir.join(REPORT)).display())
            }
            Some(Err(error)) => format!("\nIts report could not be kept: {error}"),
            None => String::new(),
        }
    }

    /// Runs the test with a trace. Also returns its description for a person.
    fn traced<H: MessageHandler>(self, name: &str) -> (World, Results, String)
    where
        B: FnMut(&NodeId) -> H,
    {
        let Self { mut test, about, mut build } = self;
        test.options.trace = true;
        let watchdog = watch(PATIENCE, name, (&test.options, &about), String::new());
        let mut build = |id: &NodeId, seed| program(build(id), seed);
        let world = simulate_within(BUDGET, &watchdog.running, test, &mut build);
        let results = world.results();
        let text = describe(name, &about, &world, &results);
        (world, results, text)
    }
}

impl<B> Case<B> {
    /// Runs the test and writes its report. `again` is the command that runs it again.
    pub(super) fn report<H: MessageHandler>(
        self,
        name: &str,
        again: String,
        file: &Path,
    ) -> io::Result<()>
    where
        B: FnMut(&NodeId) -> H,
    {
        let title = format!("{name}, seed {}", self.test.options.seed);
        let (world, results, _) = self.traced(name);
        Report::new(&world, &results).titled(title).replayed_by(again).write(file)
    }
}

/// Runs a test, and decides whether it ended well.
fn judge(
    name: &str,
    (budget, again): (Budget, String),
    (test, about): (Test, &str),
    build: &mut Build<'_, '_>,
) -> Outcome {
    let seed = test.options.seed;
    let watchdog = watch(PATIENCE, name, (&test.options, about), again.clone());
    let plan = test.options.clone();
    // The simulation catches panics of handlers. This catches panics of checkers.
    let mut ended = None;
    let judged = catch_unwind(AssertUnwindSafe(|| {
        ended.insert(simulate_within(budget, &watchdog.running, test, build)).results()
    }));
    let mut tells_nothing = false;
    let said = judged.as_ref().err().map(text_of).unwrap_or_default();
    let (kind, size, drawn, text) = match (judged, ended) {
        (Ok(results), Some(world)) if ended_well(&world, &results) => return Ok((world, results)),
        (Ok(results), Some(world)) => {
            tells_nothing = is_as_excused(&world, &results, true);
            let text = describe(name, about, &world, &results);
            (Kind::of(&world, &results), Size::of(&world), world.operations_drawn(), text)
        }
        (_, ended) => {
            let plan = describe_plan(about, &plan);
            let text =
                format!("{name}, seed {seed}: the simulator or a checker panicked: {said}\n{plan}");
            let size = ended.as_ref().map(Size::of).unwrap_or_default();
            let drawn = ended.as_ref().map(World::operations_drawn).unwrap_or_default();
            (Kind::of_own_panic(&said), size, drawn, text)
        }
    };
    let text = format!("{text}\n{again}");
    let changes = Changes::default();
    Err(Box::new(Finding { seed, kind, size, changes, drawn, tells_nothing, text }))
}

/// Ends the process if the run of this seed does not end within `patience`. Before that, prints the
/// plan of the run, and `again`.
pub(super) fn watch(
    patience: Duration,
    name: &str,
    (options, about): (&Options, &str),
    again: String,
) -> Watchdog {
    let (seed, about, options) =
        (format!("{name}, seed {}", options.seed), about.to_owned(), options.clone());
    let rest = move || format!("{}\n{again}", describe_plan(&about, &options));
    Watchdog::begin(patience, seed, rest)
}

/// Describes a test before it runs, with all actions of the nemesis.
fn describe_plan(about: &str, options: &Options) -> String {
    let mut about = if about.is_empty() { String::new() } else { format!("{about}\n") };
    if let Some(kept) = &options.operations {
        let kept = ranges(kept);
        about.push_str(&format!(
            "Of the planned client operations, numbered from 0, only these run: {kept}. The final ones \
             run as well.\n"
        ));
    }
    let (nodes, rate, latency) = (options.nodes.len(), options.rate, options.latency);
    let s = if nodes == 1 { "" } else { "s" };
    let schedule = Schedule::new(options);
    format!(
        "{nodes} node{s}, operations per second: {rate:.0}, latency: {latency}\n{about}What the \
         nemesis does:\n{schedule}"
    )
}

/// Numbers in short, such as `0-3, 7`.
fn ranges(numbers: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let texts = ranges.iter().map(|(first, last)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn describe(name: &str, about: &str, world: &World, results: &Results) -> String {
    let options = world.options();
    let seed = options.seed;
    let verdict = match world.failure() {
        Some(failure) => failure.to_string(),
        None => match &results.cause {
            Some(cause) => format!("{}: {cause}", report::closing_line(results.valid)),
            None => report::closing_line(results.valid).to_owned(),
        },
    };
    let said = world.muted().iter().map(|(node, why)| format!("{node} said: {why}\n"));
    let silent = finals::unanswered(world.history()).into_values().take(SILENT_MAX).map(|op| {
        let (f, error) = (op.f, op.error.as_deref().unwrap_or("no answer"));
        format!("when all faults were over, {f} of process {}: {error}\n", json!(op.process))
    });
    [
        format!("{name}, seed {seed}: {verdict}"),
        describe_plan(about, options),
        report::summary(results),
        said.chain(silent).collect(),
    ]
    .join("\n")
}

/// Whether a run is as it should be. Faults, or lost messages, may be the reason that nothing can
/// be judged: a lone node that crashes all the time may never answer. But once they have ended,
/// every client must get an answer.
fn ended_well(world: &World, results: &Results) -> bool {
    let Options { nemesis, deliveries, .. } = world.options();
    is_as_excused(world, results, !nemesis.is_empty() || !deliveries.is_empty())
}

/// Whether a run is as it should be. With `has_excuse`, a run that shows too little passes.
fn is_as_excused(world: &World, results: &Results, has_excuse: bool) -> bool {
    let as_judged = match results.valid {
        Verdict::Valid => true,
        Verdict::Unknown => has_excuse,
        Verdict::Invalid => has_excuse && results.is_uninformative,
    };
    let answered =
        world.options().forgive_silence || finals::unanswered(world.history()).is_empty();
    world.failure().is_none() && world.muted().is_empty() && as_judged && answered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8].into()), "0-2, 5, 7-8");
        assert_eq!(ranges(&[u64::MAX].into()), u64::MAX.to_string());
        assert_eq!(ranges(&BTreeSet::new()), "");
    }
}
