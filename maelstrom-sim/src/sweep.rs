//! Runs many tests in virtual time, each with its own seed and faults.
//!
//! Sweeps use swarm testing (Groce et al., *Swarm Testing*, 2012): each seed switches some kinds of
//! faults off completely, because a fault that always occurs can hide the effect of another one.
//!
//! A failing run has hundreds of operations and dozens of faults, but only a few of them matter. So
//! a test looks for a smaller run with the same kind of finding, by delta debugging: see
//! [`Sweep::test`] and [`Sweep::shrink`].

#![expect(
    clippy::disallowed_methods,
    reason = "seeds run on threads, and their findings are written to files"
)]

mod case;
mod changes;
mod corpus;
mod ddmin;
mod exhaustive;
mod folder;
mod guided;
mod kind;
mod marks;
mod replay;
mod saved;
pub mod shard;
mod shrinker;
mod shrunk;
mod summary;
mod vary;

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use maelstrom_core::cli::{LogFormat, init_logging};
use maelstrom_core::{MessageHandler, NodeId};
use rand::RngExt;
use rand::seq::IndexedRandom;

use crate::nemesis::{Fault, Schedule};
use crate::options::{Latency, LatencyDist, Options};
use crate::rng::{self, Stream};
use crate::simulate::simulate;
use crate::test::Test;
use crate::workload::Workload;
use crate::world::World;

pub use self::case::{Case, Finding, Outcome};
pub use self::changes::Changes;
pub use self::exhaustive::{Exhaustive, Explored};
pub use self::kind::{Kind, Size};
pub use self::marks::Reached;
pub use self::saved::SavedCase;
pub use self::shrunk::Shrunk;
pub use self::summary::Summary;

use self::folder::Folder;
use self::replay::Replay;
use self::shard::{Shard, ShardResult};

/// The number of seeds of a full sweep. A full sweep must reach all marks that it expects.
pub const FULL: u64 = 1_000;

/// A sweep: a workload, with the faults that its nodes must tolerate.
///
/// ```
/// use maelstrom_sim::nemesis::Fault;
/// use maelstrom_sim::sweep::Sweep;
/// use maelstrom_sim::workload::Echo;
///
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Echo { echo: serde_json::Value }, EchoOk { echo: serde_json::Value } }
/// # struct MyNode;
/// # impl MessageHandler for MyNode {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(&mut self, node: &mut Node<NoEvent>, from: &Request, payload: Payload) -> Result<(), Error> {
/// #         if let Payload::Echo { echo } = payload {
/// #             node.reply(from, &Payload::EchoOk { echo });
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// // Five seeds, or as many as the environment variable `SEEDS` asks for.
/// Sweep::new(Echo::default(), [Fault::Partition, Fault::Clock]).test(5, |_| MyNode);
/// ```
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The workload. Each seed may change its own options: see [`Workload::for_sweep`].
    pub workload: Arc<dyn Workload>,
    /// The faults that the nodes must tolerate. Each seed switches some of them off.
    pub faults: Vec<Fault>,
    /// The [marks](maelstrom_core::Node::mark) that a full sweep must reach.
    pub marks: Vec<&'static str>,
    /// Its own name. `None`: see [`name`](Self::name).
    pub own_name: Option<String>,
}

impl Sweep {
    /// A sweep of this workload with these faults.
    #[must_use]
    pub fn new(workload: impl Workload, faults: impl IntoIterator<Item = Fault>) -> Self {
        let faults = faults.into_iter().collect();
        Self { workload: Arc::new(workload), faults, marks: Vec::new(), own_name: None }
    }

    /// Gives the sweep a name of its own. Two sweeps of one workload in a crate need different
    /// names, because the names of their files in `store/` begin with them.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.own_name = Some(name.into());
        self
    }

    /// The name of the sweep: its own one, or that of the workload, with `-hardware` if the faults
    /// include any of [`Fault::HARDWARE`].
    ///
    /// ```
    /// use maelstrom_sim::nemesis::Fault;
    /// use maelstrom_sim::sweep::Sweep;
    /// use maelstrom_sim::workload::Echo;
    ///
    /// assert_eq!(Sweep::new(Echo::default(), []).name(), "echo");
    /// assert_eq!(Sweep::new(Echo::default(), Fault::HARDWARE).name(), "echo-hardware");
    /// assert_eq!(Sweep::new(Echo::default(), []).named("echo-calm").name(), "echo-calm");
    /// ```
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(name) = &self.own_name {
            return name.clone();
        }
        let workload = self.workload.name();
        let has_bad_hardware = Fault::HARDWARE.iter().any(|fault| self.faults.contains(fault));
        if has_bad_hardware { format!("{workload}-hardware") } else { workload.to_owned() }
    }

    /// Requires that a full sweep, with [`FULL`] seeds or more, reaches each of these
    /// [marks](maelstrom_core::Node::mark).
    #[must_use]
    pub fn expecting(mut self, marks: impl IntoIterator<Item = &'static str>) -> Self {
        self.marks.extend(marks);
        self
    }

    /// Derives the test from a seed.
    #[must_use]
    pub fn test_for(&self, seed: u64) -> Test {
        let mut rng = rng::stream(seed, Stream::Swarm);
        let nodes = [1, 2, 3, 3, 4, 5, 5, 7].choose(&mut rng).copied().unwrap_or(5);
        let mut options = Options::default().with_node_count(nodes);
        options.seed = seed;
        options.concurrency *= rng.random_range(1..=2);
        options.rate = rng.random_range(5.0..50.0);
        options.time_limit = Duration::from_secs(20);
        options.forgive_late_replies = true;
        options.nemesis_interval = Duration::from_millis(rng.random_range(500..8_000));
        let dists = [LatencyDist::Constant, LatencyDist::Uniform, LatencyDist::Exponential];
        let dist = dists.choose(&mut rng).copied().unwrap_or_default();
        let mean_ms = [0, 1, 10, 50, 100].choose(&mut rng).copied().unwrap_or(0);
        options.latency = Latency { mean_ms, dist };
        for fault in Fault::ALL {
            // Drawn for every kind, so that another set of faults does not change the other draws.
            if rng.random_bool(0.5) && self.faults.contains(&fault) {
                options.nemesis.insert(fault);
            }
        }
        let mut rng_of_hardware = rng::stream(seed, Stream::Hardware);
        for fault in Fault::HARDWARE {
            if rng_of_hardware.random_bool(0.5) && self.faults.contains(&fault) {
                options.nemesis.insert(fault);
            }
        }
        let workload = self.workload.for_sweep(&mut rng, &mut options);
        Test { workload: workload.unwrap_or_else(|| Arc::clone(&self.workload)), options }
    }

    /// Runs one seed.
    ///
    /// # Errors
    ///
    /// The finding, if the run does not end well.
    pub fn run<H: MessageHandler>(&self, seed: u64, build: impl FnMut(&NodeId) -> H) -> Outcome {
        Case::new(self.test_for(seed), build).run(&self.name())
    }

    /// Runs these seeds on all processors, up to the first finding. Calls `done` after each run.
    ///
    /// # Errors
    ///
    /// The finding with the smallest seed among those that ran.
    pub fn run_all<H: MessageHandler>(
        &self,
        seeds: std::ops::Range<u64>,
        build: impl Fn(&NodeId) -> H + Sync,
        done: impl Fn(u64) + Sync,
    ) -> Result<Summary, Box<Finding>> {
        let case = |test| Case::new(test, &build);
        let (summary, finding) = self.run_cases(&self.name(), seeds, case, done);
        finding.map_or(Ok(summary), Err)
    }

    /// Runs these seeds. Returns the summary of all runs that ended well, and the finding with the
    /// smallest seed.
    fn run_cases<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        seeds: std::ops::Range<u64>,
        case: impl Fn(Test) -> Case<B> + Sync,
        done: impl Fn(u64) + Sync,
    ) -> (Summary, Option<Box<Finding>>) {
        let replay = Replay::here();
        run_seeds(seeds, &done, &|seed| case(self.test_for(seed)).run_for(name, &replay))
    }

    /// Runs `seeds` seeds as a test of a handler, unless an environment variable says otherwise:
    ///
    /// * `SEEDS=n` runs that many seeds, with a progress bar.
    /// * `SEED=n` runs that seed, with the nodes' log on stderr (`RUST_LOG`) and the files of the
    ///   run in `store/simulation/`.
    /// * `CASE=file` does the same with a stored smaller run.
    /// * `SHARD=3/20` beside `SEEDS` runs the third of 20 parts of these seeds and stores the
    ///   result in `store/shards/`: see [`shard`].
    ///
    /// * `GUIDED=1` makes half of the runs variations of earlier runs that reached rare marks: see
    ///   `SWEEPS.md`.
    ///
    /// If a seed has a finding, the test looks for a smaller run with the same kind of finding, for
    /// at most 60 seconds (`SHRINK=n`: n seconds; `SHRINK=0`: not at all). It stores that run in
    /// `store/shrunk/`, as a file for [`test_regressions`](Self::test_regressions) and as a folder
    /// with a [report](crate::report::Report), and prints both findings. If there is no smaller
    /// run, it stores the folder of the run itself in `store/simulation/`.
    ///
    /// # Panics
    ///
    /// With the finding, if there is one, or if an environment variable is invalid.
    pub fn test<H: MessageHandler>(&self, seeds: u64, build: impl Fn(&NodeId) -> H + Sync) {
        self.test_cases(&self.name(), seeds, |test| Case::new(test, &build));
    }

    /// Like [`test`](Self::test), for a sweep called `name` whose seeds also differ in the nodes or
    /// in other details: `case` derives them from the test of a seed.
    ///
    /// # Panics
    ///
    /// As [`test`](Self::test) does.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub fn test_cases<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        seeds: u64,
        case: impl Fn(Test) -> Case<B> + Sync,
    ) {
        if self.replay_file(name, &case) {
            return;
        }
        if let Some(seed) = number_from_env("SEED") {
            return self.replay(name, seed, case);
        }
        let asked = number_from_env("SEEDS");
        let seeds = asked.unwrap_or(seeds);
        let shard = match Shard::from_env() {
            Ok(shard) => shard,
            Err(error) => panic!("{error}"),
        };
        let range = shard.map_or(0..seeds, |shard| shard.part(seeds));
        let bar = if asked.is_some() {
            ProgressBar::new(range.end - range.start)
        } else {
            ProgressBar::hidden()
        };
        bar.set_prefix(name.to_owned());
        let started = bar.elapsed();
        let style = ProgressStyle::with_template("{prefix:>16} {wide_bar} {pos}/{len} seeds {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let is_guided = number_from_env("GUIDED").is_some_and(|number| number != 0);
        let (summary, finding) = if is_guided {
            self.run_guided(name, range, &case, |_| bar.inc(1))
        } else {
            self.run_cases(name, range, &case, |_| bar.inc(1))
        };
        let elapsed = bar.elapsed().saturating_sub(started).as_secs_f64().max(1e-9);
        bar.finish_and_clear();
        if let Some(shard) = shard {
            let both = (&summary, finding.as_deref());
            let sweep = if is_guided { format!("{name}-guided") } else { name.to_owned() };
            let kept = ShardResult::new(&sweep, (shard, seeds), &self.marks, both).write();
            tell(&match kept {
                Ok(path) => format!("{name}: the result of this shard is in {}", path.display()),
                Err(error) => panic!("the result of a shard could not be kept: {error}"),
            });
        }
        match finding {
            Some(finding) => panic!("{}", self.told_with_smaller(name, &finding, case)),
            None => {
                if asked.is_some() {
                    tell(&summary.describe(name, elapsed));
                    if is_guided {
                        let varied = summary.varied;
                        tell(&format!("{name}: {varied} of these runs are variations of others"));
                    }
                    tell(&marks::table(name, &self.marks, &summary));
                }
                // Only all shards together must reach them.
                let seeds = if shard.is_some() { 0 } else { seeds };
                if let Some(missed) = marks::missed(&self.marks, &summary, seeds) {
                    panic!("{name}: {missed}");
                }
            }
        }
    }

    /// Like [`test`](Self::test), for a sweep called `name` in which nodes replace their records by
    /// snapshots all the time, part by part.
    ///
    /// # Panics
    ///
    /// As [`test`](Self::test) does.
    pub fn test_snapshots<H: MessageHandler>(
        &self,
        name: &str,
        seeds: u64,
        build: impl Fn(&NodeId) -> H + Sync,
    ) {
        self.test_cases(name, seeds, |test| with_snapshots(test, &build));
    }

    /// Runs these seeds, which once had a finding, or the one that `SEED=n` names.
    ///
    /// # Panics
    ///
    /// As [`test`](Self::test) does.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub fn test_seeds<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        seeds: impl IntoIterator<Item = u64>,
        case: impl Fn(Test) -> Case<B>,
    ) {
        if self.replay_file(name, &case) {
            return;
        }
        if let Some(seed) = number_from_env("SEED") {
            return self.replay(name, seed, case);
        }
        for seed in seeds {
            if let Err(finding) = case(self.test_for(seed)).run(name) {
                panic!("{}", self.told_with_smaller(name, &finding, case));
            }
        }
    }

    #[expect(clippy::panic, reason = "this is how a test fails")]
    fn replay<H: MessageHandler, B: FnMut(&NodeId) -> H>(
        &self,
        name: &str,
        seed: u64,
        case: impl Fn(Test) -> Case<B>,
    ) {
        init_logging(LogFormat::Text);
        let again = Replay::here().command(&format!("SEED={seed}"));
        match case(self.test_for(seed)).replay(name, &Folder::new(name, ("seed", seed), again)) {
            Ok(text) => tell(&text),
            Err(text) => panic!("{text}"),
        }
    }

    /// Checks that each of these seeds gives the same run twice: the same schedule, history and
    /// trace, byte for byte.
    ///
    /// # Panics
    ///
    /// With the first lines that differ.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub fn test_determinism<H: MessageHandler>(
        &self,
        seeds: std::ops::Range<u64>,
        build: impl Fn(&NodeId) -> H,
    ) {
        for seed in seeds {
            let mut test = self.test_for(seed);
            test.options.trace = true;
            let run = || traces(&simulate(test.clone(), &build));
            for ((name, once), (_, again)) in run().into_iter().zip(run()) {
                if once != again {
                    let mut lines = once.lines().zip(again.lines());
                    let first = lines.find(|(once, again)| once != again);
                    let name_of = self.name();
                    panic!("{name_of}, seed {seed}: the {name} of two runs differ: {first:#?}");
                }
            }
        }
    }
}

/// The case in which nodes replace their records by snapshots all the time, in parts of 1, 100 or
/// 1,000 bytes.
fn with_snapshots<B>(mut test: Test, build: B) -> Case<B> {
    let part_bytes = match test.options.seed % 3 {
        0 => 1,
        1 => 100,
        _ => 1_000,
    };
    test.options.snapshot_part_bytes = Some(part_bytes);
    Case { test, about: String::new(), build }
}

/// Runs these seeds on all processors, up to the first finding. Calls `done` after each run.
fn run_seeds(
    seeds: std::ops::Range<u64>,
    done: &(dyn Fn(u64) + Sync),
    run: &(dyn Fn(u64) -> Outcome + Sync),
) -> (Summary, Option<Box<Finding>>) {
    let next = AtomicU64::new(seeds.start);
    let outcome = Mutex::new((Summary::default(), None::<Box<Finding>>));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let result = run(seed);
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok((world, _)) => outcome.0.count(&world),
                Err(finding) => {
                    next.store(seeds.end, Ordering::Relaxed);
                    if outcome.1.as_ref().is_none_or(|first| finding.seed < first.seed) {
                        outcome.1 = Some(finding);
                    }
                }
            }
            done(seed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that two runs of a seed must have in common, each part with its name.
fn traces(world: &World) -> [(&'static str, String); 4] {
    let (mut history, mut messages, mut events) = (Vec::new(), Vec::new(), Vec::new());
    // Writing to memory cannot fail.
    world.history().write_jsonl(&mut history).ok();
    if let Some(trace) = world.trace() {
        trace.write_messages(&mut messages).ok();
        trace.write_events(&mut events).ok();
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    [
        ("schedules", Schedule::new(world.options()).to_string()),
        ("histories", text(history)),
        ("messages", text(messages)),
        ("events", text(events)),
    ]
}

fn tell(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// The number in an environment variable, if it is set.
#[expect(clippy::panic, reason = "this is how a test fails")]
fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{name} must be a number, not {text:?}"),
    }
}

#[cfg(test)]
mod tests;
