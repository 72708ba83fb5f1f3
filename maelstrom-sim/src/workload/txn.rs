//! The common parts of the workloads with transactions: their options and their generator.
//!
//! The generator is Elle's (`elle.txn/wr-txns`, version 0.2.2). Each key in use is twice as likely
//! as the one before it. A key that was written often enough is replaced by a new one. All values
//! written to a key differ.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::{FinalOps, Generator, Invocation, Keys, RequestBody, numbered};
use crate::arguments::{list_items, whole};
use crate::checker::txn::Model;
use crate::rng::SimRng;

/// How many of the newest keys a final transaction reads.
const FINAL_KEYS_MAX: u64 = 128;

/// The consistency models of a test. [`TxnOptions`] shows it in use.
pub type Models = Vec<Model>;

/// The options of workloads with transactions.
///
/// ```
/// use maelstrom_sim::checker::txn::Model;
/// use maelstrom_sim::workload::{Keys, TxnOptions, TxnRwRegister, Workload};
///
/// let keys = Keys { key_count: 2, ..Keys::default() };
/// let consistency_models = vec![Model::ReadAtomic, Model::CausalCerone];
/// let options = TxnOptions { keys, consistency_models, ..TxnOptions::default() };
/// let workload = TxnRwRegister { options, ..TxnRwRegister::default() };
/// assert_eq!(workload.name(), "txn-rw-register");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct TxnOptions {
    /// The keys that transactions read and write.
    #[command(flatten)]
    pub keys: Keys,
    /// The consistency models to check for, separated by commas.
    #[arg(long, value_name = "MODELS", value_parser = models,
        default_value = "strict-serializable")]
    pub consistency_models: Models,
    /// The most operations in a transaction.
    #[arg(long, value_name = "INT", default_value_t = 4,
        value_parser = whole::<usize>(1..=10_000))]
    pub max_txn_length: usize,
}

impl Default for TxnOptions {
    /// Maelstrom's defaults.
    fn default() -> Self {
        let consistency_models = vec![Model::StrictSerializable];
        Self { keys: Keys::default(), consistency_models, max_txn_length: 4 }
    }
}

impl TxnOptions {
    /// The flags that set these options.
    pub(super) fn settings(&self) -> Vec<String> {
        let Self { keys, consistency_models, max_txn_length } = self;
        let models: Vec<&str> = consistency_models.iter().map(|model| model.name()).collect();
        let mut settings = vec![format!("--consistency-models {}", models.join(","))];
        settings.extend(keys.settings());
        settings.push(format!("--max-txn-length {max_txn_length}"));
        settings
    }

    /// The options of one run of a sweep.
    pub(super) fn draw(&self, rng: &mut SimRng) -> Self {
        Self { keys: Keys::draw(rng), ..self.clone() }
    }
}

/// Parses a comma-separated list of models.
fn models(text: &str) -> Result<Models, String> {
    list_items(text).into_iter().map(model).collect()
}

fn model(name: &str) -> Result<Model, String> {
    <Model as clap::ValueEnum>::from_str(name, false).map_err(|_| {
        let names: Vec<&str> = Model::ALL.iter().map(|model| model.name()).collect();
        format!("{name:?} is none of {}", names.join(", "))
    })
}

/// Generates the operations of the clients.
#[derive(Debug)]
pub(super) struct Transactions {
    /// The name of the operation that writes.
    write: &'static str,
    max_length: usize,
    final_reads: bool,
    max_writes_per_key: u64,
    /// The lengths of the values as JSON, in bytes. Empty: the values are numbers.
    lengths: Vec<usize>,
    /// The keys in use. Later ones are likelier.
    keys: Vec<u64>,
    next_key: u64,
    /// The next value of each key in use that was written.
    next_values: BTreeMap<u64, u64>,
}

impl Transactions {
    /// Generates transactions whose writes have this name, with final reads if `final_reads`.
    pub(super) fn new(options: &TxnOptions, write: &'static str, final_reads: bool) -> Self {
        let keys: Vec<u64> = (0..u64::from(options.keys.key_count)).collect();
        let next_key = keys.len() as u64;
        Self {
            write,
            max_length: options.max_txn_length.max(1),
            final_reads,
            max_writes_per_key: options.keys.max_writes_per_key,
            lengths: Vec::new(),
            keys,
            next_key,
            next_values: BTreeMap::new(),
        }
    }

    /// Makes the values strings with these lengths as JSON.
    pub(super) fn with_lengths(self, lengths: Vec<usize>) -> Self {
        Self { lengths, ..self }
    }

    /// Draws the index of a key: the last one half of the time, the one before it a quarter, and so
    /// on.
    fn place(&self, rng: &mut SimRng) -> usize {
        let mut place = self.keys.len().saturating_sub(1);
        loop {
            // Index i has the probability 2^i / (2^n - 1). Tosses a coin for each index, and starts
            // over if all coins fail.
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
                let written = numbered(*value - 1, self.lengths.choose(rng));
                return json!([self.write, *key, written]);
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::{self, Stream};

    fn generated(max_writes_per_key: u64, count: usize) -> Vec<Vec<(String, u64, Option<u64>)>> {
        let keys = Keys { max_writes_per_key, ..Keys::default() };
        let options = TxnOptions { keys, ..TxnOptions::default() };
        let mut generator = Transactions::new(&options, "w", false);
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
}
