//! Workloads by name, with their flags, for the command line.

use std::sync::Arc;

use clap::{Arg, ArgMatches, Args, Command};

use super::Workload;

/// A workload that the command line offers. The [documentation of the command](crate::cli) shows
/// how to add one.
///
/// ```
/// use maelstrom_sim::workload::{Entry, Kafka};
///
/// let entry = Entry::of::<Kafka>();
/// let command = entry.augment(clap::Command::new("mine"));
/// let matches = command.try_get_matches_from(["mine", "--key-count", "2"])?;
/// assert!(entry.read(&matches)?.settings().contains(&"--key-count 2".into()));
/// # Ok::<(), clap::Error>(())
/// ```
#[derive(Debug)]
pub struct Entry {
    /// The workload with its default options.
    workload: Box<dyn Workload>,
    flags: fn(Command) -> Command,
    read: fn(&ArgMatches) -> Result<Arc<dyn Workload>, clap::Error>,
}

impl Entry {
    /// The workload `W`, whose fields become flags.
    ///
    /// Workloads may share a flag, such as `--key-count`. It must then mean the same for all of
    /// them. A workload may not use a flag of the command itself, such as `--rate`.
    #[must_use]
    pub fn of<W: Workload + Args + Default>() -> Self {
        Self {
            workload: Box::new(W::default()),
            flags: |command| W::augment_args(command),
            read: |matches| Ok(Arc::new(W::from_arg_matches(matches)?)),
        }
    }

    /// The workload with its default options.
    #[must_use]
    pub fn workload(&self) -> &dyn Workload {
        self.workload.as_ref()
    }

    /// The workload's own flags.
    #[must_use]
    pub fn flags(&self) -> Vec<Arg> {
        (self.flags)(Command::new(self.workload.name())).get_arguments().cloned().collect()
    }

    /// Adds the workload's flags to a command, except for those that it already has. No flag is
    /// required, because other workloads do not have it.
    #[must_use]
    pub fn augment(&self, command: Command) -> Command {
        let own = (self.flags)(Command::new(self.workload.name()));
        let command = own.get_arguments().fold(command, |command, flag| {
            let has_it = command.get_arguments().any(|known| known.get_id() == flag.get_id());
            if has_it { command } else { command.arg(flag.clone().required(false)) }
        });
        own.get_groups().fold(command, |command, group| {
            let has_it = command.get_groups().any(|known| known.get_id() == group.get_id());
            if has_it { command } else { command.group(group.clone().required(false)) }
        })
    }

    /// Explains why the workload cannot be added to a command, if so. The reason is a flag with the
    /// same name: a flag of the command itself, or a flag of another workload with a different
    /// meaning.
    pub(crate) fn clash(&self, command: &Command, others: &[Self]) -> Option<String> {
        let name = self.workload.name();
        if others.iter().any(|other| other.workload.name() == name) {
            return Some(format!("two workloads have the name {name}"));
        }
        let is_same = |a: &Arg, b: &Arg| {
            let long = a.get_long().is_some() && a.get_long() == b.get_long();
            let short = a.get_short().is_some() && a.get_short() == b.get_short();
            a.get_id() == b.get_id() || long || short
        };
        let means_the_same = |a: &Arg, b: &Arg| {
            let parser = |arg: &Arg| arg.get_value_parser().type_id();
            a.get_id() == b.get_id()
                && a.get_long() == b.get_long()
                && parser(a) == parser(b)
                && a.get_default_values() == b.get_default_values()
        };
        let others: Vec<Arg> = others.iter().flat_map(Self::flags).collect();
        self.flags().into_iter().find_map(|flag| {
            let taken = command.get_arguments().any(|known| is_same(known, &flag));
            let differs =
                others.iter().any(|known| is_same(known, &flag) && !means_the_same(known, &flag));
            (taken || differs).then(|| {
                let flag = flag.get_long().unwrap_or_else(|| flag.get_id().as_str());
                format!(
                    "the workload {name} has a flag --{flag}, which means something else already"
                )
            })
        })
    }

    /// The workload with the options that the flags of a command set.
    ///
    /// # Errors
    ///
    /// If a flag is missing that the workload requires.
    pub fn read(&self, matches: &ArgMatches) -> Result<Arc<dyn Workload>, clap::Error> {
        (self.read)(matches)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::workload::built_in;

    #[test]
    fn the_settings_of_a_workload_are_all_of_its_flags() {
        for entry in built_in() {
            let flags = entry.flags().into_iter().map(|flag| {
                let values = flag.get_default_values().iter().filter_map(|value| value.to_str());
                format!("--{} {}", flag.get_long().unwrap(), values.collect::<String>())
            });
            let settings: BTreeSet<String> = entry.workload().settings().into_iter().collect();
            assert_eq!(settings, flags.collect(), "{}", entry.workload().name());
        }
    }
}
