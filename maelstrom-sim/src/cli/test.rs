//! The subcommand `test`: runs real nodes under the checker.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::replay::Command;
use crate::arguments::{clojure_number, java_double, list_items, whole};
use crate::checker::Verdict;
use crate::limits::Limits;
use crate::nemesis::Fault;
use crate::options::{
    Availability, Concurrency, JOIN_TIME, Latency, LatencyDist, Options, node_names,
};
use crate::process::{ProcessOptions, kill_all_on_panic};
use crate::report::{self, Progress, Report};
use crate::results::Results;
use crate::run::{Interrupt, RunError, left_behind, run_until};
use crate::service::Services;
use crate::store::{PROGRESS, REPORT, Store, write_history, write_trace};
use crate::test::Test;
use crate::workload::Workload;
use crate::world::{World, expected_length};
use clap::Args;
use maelstrom_core::NodeId;

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// The workload: it decides which requests clients send, and how the history is judged.
    #[arg(short, long)]
    pub(super) workload: String,
    /// The program that runs a node.
    #[arg(long, value_name = "FILE")]
    bin: PathBuf,
    /// How many nodes to run, named n0, n1, … Overrides --nodes.
    #[arg(long, value_name = "NUM", value_parser = whole::<u16>(1..=u16::MAX))]
    node_count: Option<u16>,
    /// How long clients send requests, in seconds. Set-up and recovery come on top.
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
        value_parser = whole::<u64>(1..=86_400))]
    time_limit: u64,
    /// How many requests to send per second, over all clients. 0: none.
    #[arg(long, value_name = "RATE", default_value = "5", value_parser = not_negative)]
    rate: f64,
    /// How many client threads to run: a number, or a number with an n for that many per node.
    #[arg(long, value_name = "NUM", default_value = "1n")]
    concurrency: Concurrency,
    /// The mean latency between nodes, in milliseconds.
    #[arg(long, value_name = "MILLIS", default_value_t = 0,
        value_parser = whole::<u64>(0..=3_600_000))]
    latency: u64,
    /// The distribution of latencies.
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    latency_dist: LatencyDist,
    /// The faults to inject, separated by commas: partition, kill, pause. (Maelstrom 0.2.4 knows
    /// only partitions, its main branch all three.) A node that was paused or killed may answer
    /// requests too late; this is forgiven here. A killed node receives the messages that waited
    /// for it before it receives `init` again, as in Maelstrom's main branch.
    #[arg(long, value_name = "FAULTS", value_parser = faults)]
    nemesis: Option<Faults>,
    /// The mean time between two operations of the nemesis, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive)]
    nemesis_interval: f64,
    /// The fraction of all requests that must succeed: a number from 0 to 1 (0.5 or 1/2), or total.
    #[arg(long, value_name = "EXPECTED", value_parser = availability)]
    availability: Option<Expected>,
    /// Judge exactly as Maelstrom does, quirks included. Without this flag, some rules are
    /// stricter: the sub-command doc lists those of a workload.
    #[arg(long)]
    as_maelstrom: bool,
    /// Show the stderr of the nodes. The folder node-logs holds it in any case.
    #[arg(long)]
    log_stderr: bool,
    /// How often to run the test. Stops after the first run that is not valid.
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
        value_parser = whole::<u64>(1..=u64::MAX))]
    test_count: u64,
    /// Keep every message and its fate in messages.jsonl and events.jsonl. The report shows them in
    /// any case.
    #[arg(long)]
    trace: bool,
    /// Print all results as JSON, as in results.json, and not a short summary.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: Limits,
    /// The seed of all random choices. Without it, each test has its own seed.
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    jepsen: super::jepsen::Flags,
    /// Arguments for the program. Put a -- before those that look like options.
    args: Vec<String>,
}

/// The faults to inject.
type Faults = Vec<Fault>;

/// Parses a comma-separated list of faults.
fn faults(text: &str) -> Result<Faults, String> {
    list_items(text).into_iter().map(fault).collect()
}

fn fault(name: &str) -> Result<Fault, String> {
    <Fault as clap::ValueEnum>::from_str(name, false).map_err(|_| {
        let known = <Fault as clap::ValueEnum>::value_variants().iter();
        let names = known.filter_map(clap::ValueEnum::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        format!("{name:?} is none of {}", names.join(", "))
    })
}

/// The expected availability. `None`: any.
type Expected = Option<Availability>;

/// Parses an availability. Like Maelstrom, takes `nil` and an empty text for no expectation.
fn availability(text: &str) -> Result<Expected, String> {
    if ["", "nil"].contains(&text.trim()) { Ok(None) } else { text.parse().map(Some) }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match java_double(text) {
        Some(n) if (0.0..=1e6).contains(&n) => Ok(n),
        _ => Err("must be a number from 0 to 1,000,000, such as 5, 0.5 or 1e2".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match clojure_number(text) {
        Some(n) if n > 0.0 && n <= 86_400.0 => Ok(n),
        _ => Err("must be a number above 0 and at most 86,400, such as 5, 0.5 or 1/2".into()),
    }
}

impl TestArgs {
    /// The options of the test, or an error that names the invalid flag.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        let nodes = match self.node_count {
            Some(count) => node_names(count.into()),
            None => self.jepsen.nodes()?,
        };
        let distinct: BTreeSet<&NodeId> = nodes.iter().collect();
        if distinct.len() < nodes.len() || nodes.iter().any(|name| name.is_empty()) {
            anyhow::bail!("--nodes: every node needs a name of its own");
        }
        if nodes.iter().any(|name| name.starts_with('c')) {
            anyhow::bail!("--nodes: names that begin with c are for clients");
        }
        if let Some(name) = nodes.iter().find(|name| Services::NAMES.contains(&name.as_ref())) {
            anyhow::bail!("--nodes: {name} is the name of a service");
        }
        let nemesis: BTreeSet<Fault> = self.nemesis.iter().flatten().copied().collect();
        let seed = match self.seed {
            Some(seed) => seed,
            None => u64::from(getrandom::u32()?),
        };
        Ok(Options {
            concurrency: self.concurrency.threads(nodes.len()),
            nodes,
            time_limit: Duration::from_secs(self.time_limit),
            rate: self.rate,
            latency: Latency { mean_ms: self.latency, dist: self.latency_dist },
            nemesis_interval: Duration::from_secs_f64(self.nemesis_interval),
            availability: self.availability.flatten(),
            forgive_late_replies: [Fault::Pause, Fault::Crash]
                .iter()
                .any(|fault| nemesis.contains(fault)),
            nemesis,
            as_maelstrom: self.as_maelstrom,
            spare_services: false,
            forgive_silence: false,
            sync_max: None,
            snapshot_part_bytes: None,
            line_bytes_max: None,
            long_lines_to_clients: false,
            losable: None,
            bandwidth: None,
            cluster_key: None,
            deliveries: Vec::new(),
            node_limits: BTreeMap::new(),
            schedule: None,
            operations: None,
            join_time: JOIN_TIME,
            trace: true,
            network_seed: None,
            seed,
        })
    }
}

/// Runs the test as often as requested, each time with another seed. Stops after the first run that
/// is not valid.
pub(super) fn tests(
    args: &TestArgs,
    command: &[OsString],
    workload: &Arc<dyn Workload>,
    options: &Options,
) -> anyhow::Result<ExitCode> {
    if let Some(note) = args.jepsen.note() {
        writeln!(std::io::stderr(), "{note}")?;
    }
    kill_all_on_panic();
    let interrupt = Interrupt::catch_signals()?;
    for nth in 0..args.test_count {
        let seed = options.seed.wrapping_add(nth);
        let options = Options { seed, ..options.clone() };
        let code =
            test((args, command), Test { workload: Arc::clone(workload), options }, &interrupt)?;
        if code != 0 {
            return Ok(ExitCode::from(code));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the test once, and returns the exit code.
fn test(
    (args, command): (&TestArgs, &[OsString]),
    test: Test,
    interrupt: &Interrupt,
) -> anyhow::Result<u8> {
    let store = Store::create(Path::new("store"), test.workload.name())?;
    let process_options = ProcessOptions {
        bin: args.bin.clone(),
        args: args.args.clone(),
        log_dir: store.log_dir(),
        log_stderr: args.log_stderr,
    };
    let mut err = std::io::stderr();
    // Scripts find the folder by this line, so it must keep its form: "results in", and then the
    // path.
    writeln!(err, "seed {}, results in {}", test.options.seed, store.dir().display())?;
    let left_behind = left_behind(&args.args, &std::env::temp_dir());
    for folder in &left_behind {
        let folder = folder.display();
        writeln!(
            err,
            "warning: {folder} is not empty: nodes begin with data that an earlier run left; \
             remove it for a fresh run"
        )?;
    }
    let command = Command::new(command, test.options.seed);
    if let Some(command) = &command {
        command.write(store.dir())?;
    }
    let progress = Progress::new(expected_length(&test));
    let mut progress = progress.in_file(store.dir().join(PROGRESS));
    interrupt.begin();
    let (world, outcome) = run_until(test, &process_options, &mut progress, interrupt)?;
    let end = End { store: &store, world: &world, outcome, interrupt };
    end.write(args, command.as_ref(), left_behind.first(), &progress)
}

/// A run that has ended, by itself or by a signal.
struct End<'a> {
    store: &'a Store,
    world: &'a World,
    outcome: Result<(), RunError>,
    interrupt: &'a Interrupt,
}

impl End<'_> {
    /// Writes the files of the run and prints its end. Returns the exit code.
    fn write(
        self,
        args: &TestArgs,
        command: Option<&Command>,
        left_behind: Option<&PathBuf>,
        progress: &Progress,
    ) -> anyhow::Result<u8> {
        let Self { store, world, outcome, interrupt } = self;
        write_history(store.dir(), world)?;
        if args.trace {
            write_trace(store.dir(), world)?;
        }
        let left_behind = left_behind.filter(|_| world.results().valid != Verdict::Valid);
        let signal = interrupt.end_at_once();
        let results = match left_behind {
            Some(folder) => world.results().with_failure(why_no_verdict(folder)),
            None => world.results(),
        };
        if outcome.is_ok() && left_behind.is_none() && signal.is_none() {
            store.write_results(&results)?;
        }
        let page = Report::new(world, &results).with_limits(args.limits);
        let page = match command {
            Some(command) => page.replayed_by(command.for_shell()),
            None => page,
        };
        let mut err = std::io::stderr();
        let path = store.dir().join(REPORT);
        let report = match page.write(&path) {
            Ok(()) => format!("Report: {}\n", path.display()),
            Err(error) => {
                writeln!(err, "warning: there is no report: {error}").ok();
                String::new()
            }
        };
        progress.remove_file();
        let outcome = match signal {
            Some(signal) => Err(RunError::Interrupted(signal)),
            None => outcome,
        };
        if let Err(error) = &outcome {
            let cause = report::cause_of_early_end(&results, &error.to_string());
            let cause = cause.map(|cause| format!("First cause: {cause}\n")).unwrap_or_default();
            // The terminal may be closed, so an error while writing is ignored.
            write!(err, "{cause}{report}").ok();
        }
        if let Some(signal) = signal {
            let (error, dir) = (RunError::Interrupted(signal), store.dir().display());
            writeln!(err, "error: {error}; the run until then is in {dir}").ok();
            return Ok(signal.exit_code());
        }
        outcome?;
        if let Some(folder) = left_behind {
            write!(err, "{report}")?;
            anyhow::bail!(why_no_verdict(folder));
        }
        let end = format!("{report}{}", report::closing_line_within(&results, &args.limits));
        print(args, world, &results, &end)?;
        Ok(report::exit_code(results.valid))
    }
}

/// Prints the results of a run, and the lines after them.
fn print(args: &TestArgs, world: &World, results: &Results, end: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(results)?)?;
        return writeln!(std::io::stderr(), "{end}");
    }
    writeln!(out, "{}\n{end}", report::brief(world, results, &args.limits))
}

/// Explains why there is no verdict: the nodes began with data that an earlier run left in a
/// folder.
fn why_no_verdict(folder: &Path) -> String {
    format!(
        "there is no verdict: the nodes began with data that an earlier run left in {}, which may be why \
         the test is not valid; remove that folder and run the test again",
        folder.display()
    )
}
