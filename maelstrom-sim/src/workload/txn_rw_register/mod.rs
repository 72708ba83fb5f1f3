//! `txn-rw-register`: transactions of reads and writes over a small set of keys that are replaced
//! one by one; what they saw must fit the consistency models that were asked for.
//!
//! The generator is that of Elle (`elle.txn/wr-txns`, version 0.2.2): of the keys in use, each is
//! twice as likely as the one before it; a key that has been written often enough gives way to a
//! new one. Every value that is written to a key is another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::rpc::list;
use super::{Field, FinalOps, Generator, Invocation, Keys, RequestBody, Rpc, Schema, Workload};
use crate::arguments::{list_items, whole};
use crate::checker::WorkloadResults;
use crate::checker::txn::{self, Model};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

/// How many keys, the newest ones, a final transaction reads.
const FINAL_KEYS_MAX: u64 = 128;

/// The consistency models of a test.
pub type Models = Vec<Model>;

/// The workload `txn-rw-register`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct TxnRwRegister {
    /// The keys of the registers.
    #[command(flatten)]
    pub keys: Keys,
    /// The consistency models to check for, separated by commas.
    #[arg(long, value_name = "MODELS", value_parser = models,
        default_value = "strict-serializable")]
    pub consistency_models: Models,
    /// The most operations in a transaction.
    #[arg(long, value_name = "INT", default_value_t = 4,
        value_parser = whole::<usize>(1..=1_000))]
    pub max_txn_length: usize,
    /// Whether every thread reads all recent keys at the end, when all faults are over: then all
    /// must see the same. Maelstrom's workload has no such end.
    #[arg(skip)]
    pub final_reads: bool,
}

impl Default for TxnRwRegister {
    /// Maelstrom's defaults.
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            consistency_models: vec![Model::StrictSerializable],
            max_txn_length: 4,
            final_reads: false,
        }
    }
}

impl TxnRwRegister {
    /// The strongest model that a node can keep while it stays available whatever happens, for
    /// replicas that converge.
    #[must_use]
    pub fn strongest_available() -> Self {
        let consistency_models = vec![Model::CausalCerone];
        Self { consistency_models, final_reads: true, ..Self::default() }
    }
}

/// The models of a list. Commas separate them, with spaces around the commas or without.
fn models(text: &str) -> Result<Models, String> {
    list_items(text).into_iter().map(model).collect()
}

fn model(name: &str) -> Result<Model, String> {
    <Model as clap::ValueEnum>::from_str(name, false).map_err(|_| {
        let names: Vec<&str> = Model::ALL.iter().map(|model| model.name()).collect();
        format!("{name:?} is none of {}", names.join(", "))
    })
}

/// What the clients do.
#[derive(Debug)]
struct Transactions {
    max_length: usize,
    final_reads: bool,
    max_writes_per_key: u64,
    /// The keys in use. A later place is a likelier one.
    keys: Vec<u64>,
    next_key: u64,
    /// The next value of each key that has been written and is in use.
    next_values: BTreeMap<u64, u64>,
}

impl Transactions {
    fn new(workload: &TxnRwRegister) -> Self {
        let keys: Vec<u64> = (0..workload.keys.key_count.into()).collect();
        let next_key = keys.len() as u64;
        Self {
            max_length: workload.max_txn_length.max(1),
            final_reads: workload.final_reads,
            max_writes_per_key: workload.keys.max_writes_per_key,
            keys,
            next_key,
            next_values: BTreeMap::new(),
        }
    }

    /// A place among the keys: the last one half of the time, and so on.
    fn place(&self, rng: &mut SimRng) -> usize {
        let mut place = self.keys.len().saturating_sub(1);
        loop {
            // The chance of place i is 2^i / (2^n - 1): a fair coin for each, thrown anew if all
            // of them say no.
            if rng.random_bool(0.5) {
                return place;
            }
            place = place.checked_sub(1).unwrap_or(self.keys.len().saturating_sub(1));
        }
    }

    fn micro_op(&mut self, rng: &mut SimRng) -> Value {
        let write = rng.random_bool(0.5);
        loop {
            let place = self.place(rng);
            let Some(key) = self.keys.get_mut(place) else {
                return Value::Null;
            };
            if !write {
                return json!(["r", *key, null]);
            }
            let value = self.next_values.entry(*key).or_insert(1);
            if *value <= self.max_writes_per_key {
                *value += 1;
                return json!(["w", *key, *value - 1]);
            }
            self.next_values.remove(key);
            *key = self.next_key;
            self.next_key += 1;
        }
    }
}

impl Generator for Transactions {
    fn next(&mut self, _process: u64, rng: &mut SimRng) -> Invocation {
        let length = rng.random_range(1..=self.max_length);
        let txn: Vec<Value> = (0..length).map(|_| self.micro_op(rng)).collect();
        Invocation::new("txn", &json!(txn))
    }

    fn final_ops(&self) -> FinalOps {
        if !self.final_reads {
            return FinalOps::None;
        }
        let keys = self.next_key.saturating_sub(FINAL_KEYS_MAX)..self.next_key;
        let reads: Vec<Value> = keys.map(|key| json!(["r", key, null])).collect();
        FinalOps::Once(Invocation::new("txn", &json!(reads)))
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        RequestBody::new("txn", [("txn", op.argument())])
    }
}

const TXN: Schema =
    Schema { name: r#"a list of ["r", key, value] and ["w", key, value]"#, read: read_txn };

/// Like Maelstrom's schema, this sees the reply alone; whether it belongs to its request is for the
/// checker to see.
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
        "Nodes run transactions over a map of registers. What transactions read and write must be \
         possible under the consistency models that --consistency-models names."
    }

    fn rpcs(&self) -> &'static [Rpc] {
        RPCS
    }

    fn generator(&self, _options: &Options) -> Box<dyn Generator> {
        Box::new(Transactions::new(self))
    }

    fn for_sweep(&self, rng: &mut SimRng, _options: &mut Options) -> Option<Arc<dyn Workload>> {
        Some(Arc::new(Self { keys: Keys::draw(rng), ..self.clone() }))
    }

    fn keeps_client(&self) -> bool {
        true
    }

    fn check(&self, history: &History) -> WorkloadResults {
        txn::check(history, &self.consistency_models.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::{self, Stream};

    fn generated(max_writes_per_key: u64, count: usize) -> Vec<Vec<(String, u64, Option<u64>)>> {
        let keys = Keys { max_writes_per_key, ..Keys::default() };
        let mut generator = Transactions::new(&TxnRwRegister { keys, ..TxnRwRegister::default() });
        let mut rng = rng::stream(1, Stream::Generator);
        let ops = std::iter::repeat_with(|| generator.next(0, &mut rng).value.unwrap());
        ops.take(count).map(|value| serde_json::from_str(value.get()).unwrap()).collect()
    }

    #[test]
    fn every_write_of_a_key_has_another_value_and_a_key_has_so_many_writes_at_most() {
        let txns = generated(3, 2_000);
        let mut written = BTreeSet::new();
        for (f, key, value) in txns.into_iter().flatten() {
            match f.as_str() {
                "w" => assert!(written.insert((key, value.unwrap()))),
                _ => assert_eq!((f.as_str(), value), ("r", None)),
            }
        }
        assert!(written.iter().all(|(_, value)| (1..=3).contains(value)));
        assert!(written.iter().any(|(key, _)| *key > 100));
    }

    #[test]
    fn transactions_have_all_lengths_up_to_the_longest_and_later_keys_are_twice_as_likely() {
        let txns = generated(u64::MAX, 20_000);
        let lengths: BTreeSet<usize> = txns.iter().map(Vec::len).collect();
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
        let mut counts = [0.0; 10];
        for (_, key, _) in txns.iter().flatten() {
            counts[usize::try_from(*key).unwrap()] += 1.0;
        }
        for pair in counts[4..].windows(2) {
            assert!((1.7..2.3).contains(&(pair[1] / pair[0])), "{counts:?}");
        }
    }

    #[test]
    fn models_are_named_with_or_without_spaces_around_the_commas() {
        assert_eq!(models(" read-atomic "), Ok(vec![Model::ReadAtomic]));
        let both = Ok(vec![Model::Serializable, Model::ReadAtomic]);
        for text in ["serializable,read-atomic", "serializable , read-atomic , "] {
            assert_eq!(models(text), both, "{text:?}");
        }
        for text in ["serialisable", "", ",serializable"] {
            assert!(models(text).unwrap_err().contains("causal-cerone"), "{text:?}");
        }
    }

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
