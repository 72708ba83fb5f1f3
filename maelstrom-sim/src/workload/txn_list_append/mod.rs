//! `txn-list-append`: transactions that read lists and append to them.
//!
//! An append changes only the end of a list, so a list shows the order of its appends. So a history
//! of lists proves much more than one of registers. The lists that transactions read must satisfy
//! the requested consistency models.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::rpc::list;
use super::txn::{Transactions, TxnOptions};
use super::{Field, Generator, Rpc, Schema, Workload};
use crate::checker::WorkloadResults;
use crate::checker::txn;
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// The workload `txn-list-append`. [`TxnOptions`] describes its options.
///
/// ```
/// use maelstrom_sim::workload::{TxnListAppend, TxnOptions, Workload};
///
/// let options = TxnOptions { max_txn_length: 2, ..TxnOptions::default() };
/// let workload = TxnListAppend { options, final_reads: true };
/// assert!(workload.settings().contains(&"--max-txn-length 2".into()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct TxnListAppend {
    /// The keys, the models, and the length of transactions.
    #[command(flatten)]
    pub options: TxnOptions,
    /// Whether every thread reads all recent keys once all faults have ended. All threads must then
    /// read the same lists, with every acknowledged append. Maelstrom's workload has no such final
    /// reads.
    #[arg(skip)]
    pub final_reads: bool,
}

const TXN: Schema =
    Schema { name: r#"a list of ["r", key, list] and ["append", key, element]"#, read: read_txn };

/// Reads a transaction. Like Maelstrom's schema, it sees only the reply; the checker compares the
/// reply with its request. Null counts as an empty list, both for a whole transaction and for a
/// read.
fn read_txn(value: &RawValue) -> Result<Box<RawValue>, String> {
    let value = list(value)?;
    match txn::parse_lists(&value) {
        Some(_) => Ok(value),
        None => Err(format!("is not {}", TXN.name)),
    }
}

const RPCS: &[Rpc] = &[Rpc {
    name: "txn",
    about: "The node runs a transaction over lists: each operation reads one or appends to one.",
    request: &[Field::new(
        "txn",
        TXN,
        r#"[["r",1,null],["append",1,6],["append",2,9]]"#,
        "The operations. Every element that is appended to a key is another one.",
    )],
    reply: &[Field::new(
        "txn",
        TXN,
        r#"[["r",1,[3]],["append",1,6],["append",2,9]]"#,
        "The same operations, each read with the list of its key. Null: nothing was appended.",
    )],
}];

impl Workload for TxnListAppend {
    fn name(&self) -> &'static str {
        "txn-list-append"
    }

    fn about(&self) -> &'static str {
        "Nodes run transactions over a map of lists. All that transactions read and append must \
         be possible under the consistency models that --consistency-models names."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn settings(&self) -> Vec<String> {
        let mut settings = self.options.settings();
        settings.extend(self.final_reads.then(|| "final reads".into()));
        settings
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(Transactions::new(&self.options, "append", self.final_reads))
    }

    fn for_sweep(&self, rng: &mut SimRng, _options: &mut Options) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(Self { options: self.options.draw(rng), ..self.clone() }))
    }

    fn reuses_address(&self) -> bool {
        true
    }

    fn check(&self, history: &History) -> WorkloadResults {
        txn::check_lists(history, &self.options.consistency_models.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::{self, Stream};

    #[test]
    fn clients_append_and_read() {
        let mut generator = TxnListAppend::default().generator(&Options::default());
        let mut rng = rng::stream(1, Stream::Generator);
        let mut fs = BTreeSet::new();
        for _ in 0..100 {
            let txn = generator.next(0, &mut rng).value.unwrap();
            assert!(txn::parse_lists(&txn).is_some(), "{txn}");
            let ops: Vec<(String, u64, Option<u64>)> = serde_json::from_str(txn.get()).unwrap();
            fs.extend(ops.into_iter().map(|(f, _, value)| (f, value.is_some())));
        }
        assert_eq!(fs, BTreeSet::from([("append".into(), true), ("r".into(), false)]));
    }

    #[test]
    fn a_reply_of_another_shape_is_malformed() {
        let check = |text: &str| read_txn(&RawValue::from_string(text.to_owned()).unwrap());
        for good in
            ["[]", "null", r#"[["r",1,null],["r",2,[]],["append","x",[2]]]"#, r#"[["r",1,[null]]]"#]
        {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "[null]",
            "{}",
            r#"[["r",1]]"#,
            r#"[["r",1,2]]"#,
            r#"[["r",1,"[]"]]"#,
            r#"[["r",1,{}]]"#,
            r#"[["w",1,2]]"#,
            r#"[["append",1,2,3]]"#,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
