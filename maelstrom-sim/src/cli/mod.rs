//! The command line: runs real nodes under the checker, for the built-in workloads and your own.
//!
//! A crate with its own workload gets a command with all flags and subcommands of `maelstrom-sim`
//! in a few lines. Each field of the workload becomes a flag through [`clap::Args`]:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use maelstrom_sim::workload::{Entry, built_in};
//! # use maelstrom_sim::workload::Echo as Mine;
//!
//! fn main() -> ExitCode {
//!     maelstrom_sim::cli::main(built_in().into_iter().chain([Entry::of::<Mine>()]))
//! }
//! ```

#![expect(clippy::disallowed_methods, reason = "a command has stdout and chance")]

mod doc;
mod jepsen;
mod limits;
mod replay;
mod serve;
mod shards;
mod test;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::doc::DocArgs;
use self::limits::LimitsArgs;
use self::replay::{Prepared, ReplayArgs};
use self::serve::ServeArgs;
use self::shards::ShardsArgs;
use self::test::TestArgs;
use crate::excerpt::printable;
use crate::options::Options;
use crate::workload::{Entry, Workload};

/// The default workload, as in Maelstrom.
const DEFAULT: &str = "lin-kv";

/// Maelstrom's exit code for invalid arguments.
const BAD_ARGUMENTS: u8 = 254;

/// Maelstrom's exit code for a test that crashed.
const CRASHED: u8 = 255;

/// Runs Maelstrom nodes under a built-in checker, with Maelstrom's flags, verdicts and exit codes.
///
/// Exit codes: 0 if everything looks good; 1 if the analysis is invalid; 2 if the verdict is
/// unknown; 254 for bad arguments, or for a replay that only a test of a crate can do; 255 if a
/// node or the test itself crashed, or if these options cannot test the workload; 129, 130, 131 or
/// 143 if SIGHUP, SIGINT, SIGQUIT or SIGTERM ended the command.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program as a cluster of nodes, and judge the history that its clients see.
    #[command(args_override_self = true)]
    Test(Box<TestArgs>),
    /// Print the figures of a test (of this checker or of Maelstrom), and check them against
    /// limits.
    Limits(LimitsArgs),
    /// Serve a web page on this machine with a list of all runs and their reports.
    Serve(ServeArgs),
    /// Merge the results of the shards of sweeps (SHARD=3/20 make sim).
    Shards(ShardsArgs),
    /// Run a stored test again, with the same command and seed. Real processes have their own
    /// timing, so the two runs are similar but not identical. A run of a sweep needs the test of
    /// its crate: this prints the command for that.
    Replay(ReplayArgs),
    /// Print the requests that a node must understand for a workload, and their replies.
    Doc(DocArgs),
}

/// Runs the command with these workloads, and returns its exit code. The [module's example](self)
/// is the `main` of such a command.
pub fn main(workloads: impl IntoIterator<Item = Entry>) -> ExitCode {
    let workloads: Vec<Entry> = workloads.into_iter().collect();
    if let Some(clash) = clash(&workloads) {
        writeln!(std::io::stderr(), "error: {clash}").ok();
        return ExitCode::from(CRASHED);
    }
    run(&workloads, std::env::args_os().collect())
}

/// Runs the command with these arguments, and returns its exit code.
fn run(workloads: &[Entry], args: Vec<OsString>) -> ExitCode {
    let matches = match command(workloads).try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) => return bad_arguments(&error),
    };
    let result = match Cli::from_arg_matches(&matches).map(|cli| cli.command) {
        Err(error) => return bad_arguments(&error),
        Ok(Command::Limits(args)) => limits::limits(&args),
        Ok(Command::Doc(args)) => doc::doc(&args, workloads),
        Ok(Command::Serve(args)) => serve::serve(&args),
        Ok(Command::Shards(args)) => shards::shards(&args),
        Ok(Command::Replay(args)) => match replay::prepare(&args) {
            // A stored command is always `test`, so the recursion is one level deep.
            Ok(Prepared::Here(args)) => return run(workloads, args),
            Ok(Prepared::Elsewhere(command)) => return replay::refuse(&command),
            Err(error) => Err(error),
        },
        Ok(Command::Test(test_args)) => match plan(&test_args, &matches, workloads) {
            Ok((workload, options)) => match workload.validate(&options) {
                Ok(()) => test::tests(&test_args, &args, &workload, &options),
                Err(why) => Err(anyhow::anyhow!(why)),
            },
            Err(error) => {
                if let Some(error) = error.downcast_ref::<clap::Error>() {
                    return bad_arguments(error);
                }
                print_error(&error);
                return ExitCode::from(BAD_ARGUMENTS);
            }
        },
    };
    result.unwrap_or_else(|error| {
        print_error(&error);
        ExitCode::from(CRASHED)
    })
}

fn print_error(error: &anyhow::Error) {
    let text = printable(&format!("{error:#}"));
    writeln!(std::io::stderr(), "error: {text}").ok();
}

/// Describes a clash between these workloads, if there is one: the command cannot contain both.
fn clash(workloads: &[Entry]) -> Option<String> {
    let command = Cli::command();
    let test = command.find_subcommand("test")?;
    (0..)
        .zip(workloads)
        .find_map(|(at, entry)| entry.clash(test, workloads.get(..at).unwrap_or_default()))
}

/// The command, with the names and the flags of these workloads.
fn command(workloads: &[Entry]) -> clap::Command {
    let names = workloads.iter().map(|entry| PossibleValue::new(entry.workload().name()));
    let names = PossibleValuesParser::new(names);
    let command = Cli::command().mut_subcommand("test", |test| {
        let test = test.mut_arg("workload", |arg| {
            let arg = arg.value_parser(names.clone());
            if find(workloads, DEFAULT).is_ok() {
                arg.required(false).default_value(DEFAULT)
            } else {
                arg
            }
        });
        workloads.iter().fold(test, |test, entry| entry.augment(test)).mut_args(lenient)
    });
    command.mut_subcommand("doc", |doc| doc.mut_arg("workload", |arg| arg.value_parser(names)))
}

/// The workload and the options of the test.
fn plan(
    args: &TestArgs,
    matches: &ArgMatches,
    workloads: &[Entry],
) -> anyhow::Result<(Arc<dyn Workload>, Options)> {
    let options = args.options()?;
    let entry = find(workloads, &args.workload)?;
    let flags = matches.subcommand_matches("test").unwrap_or(matches);
    Ok((entry.read(flags)?, options))
}

/// The workload with this name.
fn find<'a>(workloads: &'a [Entry], name: &str) -> anyhow::Result<&'a Entry> {
    let entry = workloads.iter().find(|entry| entry.workload().name() == name);
    entry.ok_or_else(|| anyhow::anyhow!("there is no workload {name}"))
}

/// Makes a flag accept values as in Maelstrom: a flag that is on or off also takes `=true` and
/// `=false`. A negative number counts as a value and not as a flag, so that the error lists the
/// allowed values.
fn lenient(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        let is_number = !arg.is_positional() && arg.get_action().takes_values();
        return if is_number { arg.allow_negative_numbers(true) } else { arg };
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_name("BOOL")
        .value_parser(clap::value_parser!(bool))
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .hide_possible_values(true)
}

fn bad_arguments(error: &clap::Error) -> ExitCode {
    error.print().ok();
    let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if help { ExitCode::SUCCESS } else { ExitCode::from(BAD_ARGUMENTS) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::WorkloadResults;
    use crate::history::History;
    use crate::workload::{Echo, Generator, Rpc, built_in};

    /// Defines a workload that has these fields as flags.
    macro_rules! workload {
        ($name:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* }) => {
            #[derive(Clone, Debug, Default, clap::Args)]
            struct $name { $($(#[$attr])* $field: $type),* }

            impl Workload for $name {
                fn name(&self) -> &'static str { stringify!($name) }
                fn about(&self) -> &'static str { "" }
                fn rpcs(&self) -> &'static [Rpc] { &[] }
                fn generator(&self, options: &Options) -> Box<dyn Generator> {
                    Echo::default().generator(options)
                }
                fn check(&self, _: &History) -> WorkloadResults {
                    WorkloadResults::from_cause(None)
                }
            }
        };
    }

    workload!(Quorum {
        #[arg(long)]
        quorum: u32
    });
    workload!(OtherQuorum {
        #[arg(long)]
        quorum: String
    });
    workload!(Rate {
        #[arg(long)]
        rate: u32
    });
    workload!(NamedRate {
        #[arg(long = "rate")]
        mine: u32
    });

    fn read(workloads: &[Entry], args: &[&str]) -> Result<Arc<dyn Workload>, String> {
        assert_eq!(clash(workloads), None);
        let matches = command(workloads).try_get_matches_from(args).map_err(|e| e.to_string())?;
        let cli = Cli::from_arg_matches(&matches).map_err(|e| e.to_string())?;
        let Command::Test(args) = cli.command else { panic!("not a test") };
        plan(&args, &matches, workloads).map(|(workload, _)| workload).map_err(|e| e.to_string())
    }

    #[test]
    fn a_flag_that_one_workload_needs_is_not_asked_of_others() {
        let mut workloads = built_in();
        workloads.push(Entry::of::<Quorum>());
        let args = ["x", "test", "--bin", "y", "-w"];
        assert!(read(&workloads, &[&args[..], &["echo"]].concat()).is_ok());
        let error = read(&workloads, &[&args[..], &["Quorum"]].concat()).unwrap_err();
        assert!(error.contains("quorum"), "{error}");
        let workload = read(&workloads, &[&args[..], &["Quorum", "--quorum", "3"]].concat());
        assert_eq!(format!("{:?}", workload.unwrap()), "Quorum { quorum: 3 }");
    }

    #[test]
    fn no_help_names_a_file_of_the_repository() {
        for sub_command in command(&built_in()).get_subcommands_mut() {
            let help = sub_command.render_long_help().to_string();
            assert!(!help.contains(".md"), "{help}");
        }
    }

    #[test]
    fn a_flag_has_one_meaning() {
        assert_eq!(clash(&built_in()), None);
        let both = [Entry::of::<Quorum>(), Entry::of::<OtherQuorum>()];
        let texts = [
            clash(&both),
            clash(&[Entry::of::<Rate>()]),
            clash(&[Entry::of::<NamedRate>()]),
            clash(&[Entry::of::<Quorum>(), Entry::of::<Quorum>()]),
        ];
        for (text, part) in texts.into_iter().zip(["--quorum", "--rate", "--rate", "two workloads"])
        {
            assert!(text.as_ref().is_some_and(|text| text.contains(part)), "{text:?}");
        }
    }
}
