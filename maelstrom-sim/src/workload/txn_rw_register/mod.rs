//! `txn-rw-register`: transactions of reads and writes over a small, moving set of keys. The values
//! that they read must satisfy the requested consistency models.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::rpc::list;
use super::txn::{Transactions, TxnOptions};
use super::{Field, Generator, Rpc, Schema, Workload, lengths_in_words};
use crate::checker::WorkloadResults;
use crate::checker::txn::{self, Model};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// The workload `txn-rw-register`. [`TxnOptions`] shows it in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct TxnRwRegister {
    /// The keys, the models, and the length of transactions.
    #[command(flatten)]
    pub options: TxnOptions,
    /// Whether every thread reads all recent keys once all faults have ended. All threads must then
    /// read the same values. Maelstrom's workload has no such final reads.
    #[arg(skip)]
    pub final_reads: bool,
    /// The lengths of the values as JSON, in bytes. Each value is a string with one of these
    /// lengths, drawn at random. Empty: the values are numbers.
    #[arg(skip)]
    pub lengths: Vec<usize>,
}

impl TxnRwRegister {
    /// The strongest model for nodes that stay available under all faults and whose replicas
    /// converge.
    #[must_use]
    pub fn strongest_available() -> Self {
        let consistency_models = vec![Model::CausalCerone];
        let options = TxnOptions { consistency_models, ..TxnOptions::default() };
        Self { options, final_reads: true, lengths: Vec::new() }
    }
}

const TXN: Schema =
    Schema { name: r#"a list of ["r", key, value] and ["w", key, value]"#, read: read_txn };

/// Reads a transaction. Like Maelstrom's schema, it sees only the reply; the checker compares the
/// reply with its request.
fn read_txn(value: &RawValue) -> Result<Box<RawValue>, String> {
    let value = list(value)?;
    match txn::parse(&value) {
        Some(_) => Ok(value),
        None => Err(format!("is not {}", TXN.name)),
    }
}

const RPCS: &[Rpc] = &[Rpc {
    name: "txn",
    about: "The node runs a transaction over registers: each of its operations reads or writes one.",
    request: &[Field::new(
        "txn",
        TXN,
        r#"[["r",1,null],["w",1,6],["w",2,9]]"#,
        "The operations. Every value that is written to a key is another one.",
    )],
    reply: &[Field::new(
        "txn",
        TXN,
        r#"[["r",1,3],["w",1,6],["w",2,9]]"#,
        "The same operations, each read with the value of the register. Null: nothing was written.",
    )],
}];

impl Workload for TxnRwRegister {
    fn name(&self) -> &'static str {
        "txn-rw-register"
    }

    fn about(&self) -> &'static str {
        "Nodes run transactions over a map of registers. All that transactions read and write must be \
         possible under the consistency models that --consistency-models names."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = self.options.settings();
        settings.extend(self.final_reads.then(|| "final reads".into()));
        settings.extend(lengths_in_words(&self.lengths));
        settings
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        let transactions = Transactions::new(&self.options, "w", self.final_reads);
        Box::new(transactions.with_lengths(self.lengths.clone()))
    }

    fn for_sweep(&self, rng: &mut SimRng, _options: &mut Options) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(Self { options: self.options.draw(rng), ..self.clone() }))
    }

    fn reuses_address(&self) -> bool {
        true
    }

    fn check(&self, history: &History) -> WorkloadResults {
        txn::check(history, &self.options.consistency_models.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_of_another_shape_is_malformed() {
        let check = |text: &str| read_txn(&raw_text(text));
        for good in ["[]", "null", r#"[["r",1,null],["w","x",[2]]]"#, r#"[["\u0072",1,null]]"#] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in
            ["[null]", "{}", r#"["r",1,2]"#, r#"[["r",1]]"#, r#"[["r",1,2,3]]"#, r#"[["x",1,2]]"#]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    fn raw_text(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }
}
