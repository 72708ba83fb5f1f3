//! Tests guided sweeps with a node whose rarest mark needs two faults close in time.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use maelstrom_core::{Error, Node, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::*;
use crate::options::{Latency, Options};
use crate::sweep::SavedCase;
use crate::workload::Echo;

const AHEAD: &str = "the wall clock is far ahead";
const BEHIND: &str = "the wall clock is far behind";
const BOTH: &str = "the wall clock was far ahead and then far behind, within half a second";

/// How far is far. One clock step in 17 leads so far ahead, and one in 17 so far behind.
const FAR: Duration = Duration::from_secs(88);

/// How many runs a sweep has.
const RUNS: u64 = 200;

/// A node that echoes, and looks at its clocks.
struct Clocks {
    /// The wall clock less the monotonic clock, at first.
    base: Option<Duration>,
    /// When the wall clock was last far ahead.
    ahead: Option<Duration>,
    /// Whether it replies with another text once it reaches [`BOTH`].
    is_broken: bool,
}

impl Clocks {
    fn new(is_broken: bool) -> Self {
        Self { base: None, ahead: None, is_broken }
    }

    /// Looks at the clocks. Returns whether it reached [`BOTH`].
    fn look(&mut self, node: &mut Node<()>) -> bool {
        let (now, offset) = (node.now(), node.wall_clock() - node.now());
        let base = *self.base.get_or_insert(offset);
        if offset > base + FAR {
            node.mark(AHEAD);
            self.ahead = Some(now);
        }
        if offset + FAR >= base {
            return false;
        }
        node.mark(BEHIND);
        let is_both = self.ahead.is_some_and(|at| now - at < Duration::from_millis(500));
        if is_both {
            node.mark(BOTH);
        }
        is_both
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo { echo: Value },
    EchoOk { echo: Value },
}

impl MessageHandler for Clocks {
    type Payload = Payload;
    type Event = ();

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let is_wrong = self.look(node) && self.is_broken;
        if let Payload::Echo { echo } = payload {
            let echo = if is_wrong { Value::Null } else { echo };
            node.reply(request, &Payload::EchoOk { echo });
        }
        Ok(())
    }
}

fn sweep() -> Sweep {
    Sweep::new(Echo::default(), [Fault::Clock])
}

type Build = Box<dyn FnMut(&NodeId) -> Clocks>;

/// A short test of one node.
fn case(is_broken: bool) -> impl Fn(Test) -> Case<Build> + Sync {
    move |Test { workload, options }| {
        let options = Options {
            rate: 10.0,
            concurrency: 1,
            time_limit: Duration::from_secs(10),
            nemesis_interval: Duration::from_millis(2_500),
            latency: Latency::default(),
            ..options.with_node_count(1)
        };
        let test = Test { workload, options };
        Case::new(test, Box::new(move |_: &NodeId| Clocks::new(is_broken)))
    }
}

fn guided(seeds: Range<u64>, is_broken: bool) -> (Summary, Option<Box<Finding>>) {
    sweep().run_guided("clocks", seeds, case(is_broken), |_| {})
}

#[test]
fn a_guided_sweep_reaches_a_mark_that_needs_two_faults_close_in_time_in_fewer_runs() {
    let reached = |summary: &Summary| summary.marks.get(BOTH).copied().unwrap_or_default();
    // A second range of seeds takes as long again.
    let starts: &[u64] =
        if super::super::number_from_env("SEEDS").is_some() { &[0, 10_000] } else { &[0] };
    let mut runs = Vec::new();
    for start in starts.iter().copied() {
        let seeds = start..start + RUNS;
        let (summary, finding) = guided(seeds.clone(), false);
        assert!(finding.is_none());
        assert_eq!(summary.seeds, RUNS);
        assert!((RUNS / 3..=RUNS / 2).contains(&summary.varied), "{}", summary.varied);
        let plain = sweep().run_cases("clocks", seeds, case(false), |_| {}).0;
        runs.push((reached(&summary), reached(&plain)));
    }
    let guided = runs.iter().filter(|(guided, _)| guided.seeds > 0).count();
    let plain = runs.iter().filter(|(_, plain)| plain.seeds > 0).count();
    assert!(guided == starts.len() && plain == 0, "{runs:#?}");
}

#[test]
fn a_guided_sweep_is_the_same_every_time() {
    let once = guided(7..57, false);
    assert_eq!(once.0, guided(7..57, false).0);
    assert!(once.0.varied > 10, "{}", once.0.varied);
}

#[test]
fn results_come_in_the_order_of_their_numbers() {
    let results = together(100, &|nth| {
        std::thread::yield_now();
        nth
    });
    assert_eq!(results, (0..100).collect::<Vec<_>>());
}

/// Set in a process in which a guided sweep fails.
const FAILS: &str = "MAELSTROM_SIM_TEST_GUIDED_FAILS";

/// The process that `output_of` starts runs this: a sweep that fails if the variable is set.
#[test]
fn fails_on_request() {
    if std::env::var_os(FAILS).is_some() {
        sweep().test_cases("clocks", RUNS, case(true));
    }
}

/// Runs a process in `folder` in which a sweep fails, with this environment variable.
fn output_of(folder: &Path, (variable, value): (&str, &str)) -> String {
    let name = "sweep::guided::tests::fails_on_request";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).current_dir(folder).env(FAILS, "1");
    for other in ["SEED", "SEEDS", "SHARD", "SHRINK", "CASE", "GUIDED"] {
        command.env_remove(other);
    }
    let output = command.env(variable, value).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr];
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!output.status.success(), "{text}");
    text
}

#[test]
fn a_finding_of_a_variation_is_kept_as_a_file_that_replays_it_and_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let text = output_of(folder.path(), ("GUIDED", "1"));
    let shrunk = folder.path().join("store/shrunk");
    let files = std::fs::read_dir(&shrunk).unwrap().map(|file| file.unwrap().path());
    let is_varied = |path: &std::path::PathBuf| path.to_string_lossy().ends_with("-varied.json");
    let path = files.into_iter().find(is_varied).unwrap_or_else(|| panic!("{text}"));
    let case_of = format!("CASE='{}'", path.canonicalize().unwrap().display());
    assert!(text.contains(&case_of) && text.contains("is a variation of its seed"), "{text}");
    let saved = SavedCase::read(&path).unwrap();
    let smaller = SavedCase::read(&shrunk.join(format!("clocks-{}.json", saved.seed))).unwrap();
    assert!(smaller.after.operations < saved.after.operations, "{text}");
    assert_eq!(smaller.after.faults, 2, "{text}");

    for case in [path, shrunk.join(format!("clocks-{}.json", saved.seed))] {
        let text = output_of(folder.path(), ("CASE", case.to_str().unwrap()));
        assert!(text.contains("Analysis invalid!"), "{text}");
    }
}
