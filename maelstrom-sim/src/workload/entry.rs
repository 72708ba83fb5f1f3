//! Workloads by their names, with their flags: for the command line.

use std::sync::Arc;

use clap::{ArgMatches, Args, Command};

use super::Workload;

/// A workload that a command line can ask for.
#[derive(Debug)]
pub struct Entry {
    /// The workload with its defaults.
    workload: Box<dyn Workload>,
    flags: fn(Command) -> Command,
    read: fn(&ArgMatches) -> Result<Arc<dyn Workload>, clap::Error>,
}

impl Entry {
    /// The workload `W`, whose fields are flags.
    ///
    /// Workloads may share a flag: it then means the same for all of them, as `--key-count` does.
    #[must_use]
    pub fn of<W: Workload + Args + Default>() -> Self {
        Self {
            workload: Box::new(W::default()),
            flags: |command| W::augment_args(command),
            read: |matches| Ok(Arc::new(W::from_arg_matches(matches)?)),
        }
    }

    /// The workload with its defaults.
    #[must_use]
    pub fn workload(&self) -> &dyn Workload {
        self.workload.as_ref()
    }

    /// The workload's own flags.
    #[must_use]
    pub fn flags(&self) -> Vec<clap::Arg> {
        (self.flags)(Command::new(self.workload.name())).get_arguments().cloned().collect()
    }

    /// Adds the workload's flags to a command that may have some of them already.
    #[must_use]
    pub fn augment(&self, command: Command) -> Command {
        self.flags().into_iter().fold(command, |command, flag| {
            let has_it = command.get_arguments().any(|known| known.get_id() == flag.get_id());
            if has_it { command } else { command.arg(flag) }
        })
    }

    /// The workload as the flags of a command want it.
    ///
    /// # Errors
    ///
    /// If a flag is missing that the workload needs.
    pub fn read(&self, matches: &ArgMatches) -> Result<Arc<dyn Workload>, clap::Error> {
        (self.read)(matches)
    }
}
