//! The state machine: a map of registers that every node builds from the same commands.

use std::collections::{BTreeMap, BTreeSet};

use maelstrom_core::Error;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The operations of clients.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    Read { key: Value },
    Write { key: Value, value: Value },
    Cas { key: Value, from: Value, to: Value },
}

/// One life of one node. Part of the names of its commands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) node: String,
    pub(crate) life: u64,
}

/// An operation with its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) origin: Origin,
    pub(crate) number: u64,
    /// The origin does not wait for commands below this number.
    pub(crate) done_below: u64,
    pub(crate) operation: Operation,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the protocol's names")]
pub(crate) enum Answer {
    ReadOk { value: Value },
    WriteOk,
    CasOk,
}

/// The map that every node builds from the same commands.
#[derive(Default)]
pub(crate) struct Registers {
    values: BTreeMap<String, Value>,
    /// The numbers of each origin that were applied: all below the first number, and those in the
    /// set.
    applied: BTreeMap<Origin, (u64, BTreeSet<u64>)>,
}

impl Registers {
    /// Applies a command. `None`: it was applied before, or its origin no longer waits for it.
    pub(crate) fn apply(&mut self, command: &Command) -> Option<Result<Answer, Error>> {
        let (done_below, numbers) = self.applied.entry(command.origin.clone()).or_default();
        *done_below = command.done_below.max(*done_below);
        *numbers = numbers.split_off(done_below);
        let is_new = command.number >= *done_below && numbers.insert(command.number);
        is_new.then(|| self.execute(&command.operation))
    }

    fn execute(&mut self, operation: &Operation) -> Result<Answer, Error> {
        let missing = || Error::key_does_not_exist("no such key");
        match operation {
            Operation::Read { key } => {
                let value = self.values.get(&key.to_string()).ok_or_else(missing)?;
                Ok(Answer::ReadOk { value: value.clone() })
            }
            Operation::Write { key, value } => {
                self.values.insert(key.to_string(), value.clone());
                Ok(Answer::WriteOk)
            }
            Operation::Cas { key, from, to } => {
                let value = self.values.get_mut(&key.to_string()).ok_or_else(missing)?;
                if value != from {
                    return Err(Error::precondition_failed(format!("the value is {value}")));
                }
                *value = to.clone();
                Ok(Answer::CasOk)
            }
        }
    }
}
