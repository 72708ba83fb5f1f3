//! A node for the workload `txn-list-append`: serializable transactions over lists. They
//! compare-and-set one immutable root in the service `lin-kv`. After the Datomic chapter of
//! Maelstrom's guide.
//!
//! Run it under the checker, with real processes:
//!
//! ```sh
//! cargo build --release -p maelstrom-sim --examples
//! target/release/maelstrom-sim test -w txn-list-append --bin target/release/examples/list_append \
//!     --node-count 3 --concurrency 2n --time-limit 10 --rate 50 --nemesis partition
//! ```
//!
//! # How a transaction runs
//!
//! The root maps each key to the name of its list. A list with a name never changes: a longer list
//! gets a new name. A transaction runs in four steps:
//!
//! 1. It reads the root.
//! 2. It reads the lists that it needs.
//! 3. It writes the new lists under new names.
//! 4. It sets the root from the old value to the new one with a compare-and-set.
//!
//! If the root has changed in the meantime, nobody can have seen the new lists, and the transaction
//! runs again. The compare-and-set is the moment at which the transaction takes effect. A read-only
//! transaction takes effect when it reads the root. So transactions are strictly serializable.
//!
//! The example shows how to write successive steps as one `async` block ([`maelstrom_core::task`]),
//! and which errors are definite. Before the compare-and-set is sent, the transaction has no
//! effect, so error 11 is true. After that, a timeout becomes error 0.

use std::collections::BTreeMap;
use std::time::Duration;

use maelstrom_core::rand::Rng;
use maelstrom_core::service::{Cas, KvClient};
use maelstrom_core::task::{Steps, Tasks, Wake};
use maelstrom_core::{Error, MessageHandler, Node, Request, RpcError, runtime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How long the service may take for a step.
const STEP: Duration = Duration::from_secs(1);

/// No attempt begins after this time. The client times out after 5 s.
const ATTEMPTS: Duration = Duration::from_secs(2);

/// The longest wait of a transaction after a conflict.
const BACK_OFF: Duration = Duration::from_millis(50);

/// An operation: its function, key and value. `["r", key, null]` or `["append", key, element]`.
type Operation = (String, Value, Value);

/// The name of each key's list.
type Root = BTreeMap<String, String>;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Txn { txn: Vec<Operation> },
    TxnOk { txn: Vec<Operation> },
}

/// One attempt to run a transaction, with its reads and writes so far.
struct Attempt<'a> {
    steps: &'a Steps,
    kv: &'a KvClient,
    old: Root,
    new: Root,
    /// The lists that the attempt knows, by key.
    lists: BTreeMap<String, Vec<Value>>,
}

impl Attempt<'_> {
    async fn list(&mut self, key: &str) -> Result<&mut Vec<Value>, RpcError> {
        if !self.lists.contains_key(key) {
            let list = match self.old.get(key) {
                // The attempt that set the root wrote this list first.
                Some(name) => self.steps.read(self.kv, name).await?.unwrap_or_default(),
                None => Vec::new(),
            };
            self.lists.insert(key.to_owned(), list);
        }
        Ok(self.lists.entry(key.to_owned()).or_default())
    }

    /// Runs the operations, and writes the new lists. `name` is the prefix of their names.
    async fn run(&mut self, txn: &[Operation], name: &str) -> Result<Vec<Operation>, RpcError> {
        let mut done = Vec::new();
        for (f, key, value) in txn {
            let text = key.to_string();
            let list = self.list(&text).await?;
            if f == "r" {
                // A key without appends reads as null.
                let value = if list.is_empty() { Value::Null } else { json!(list) };
                done.push((f.clone(), key.clone(), value));
            } else {
                list.push(value.clone());
                self.new.insert(text.clone(), format!("{name}-{text}"));
                done.push((f.clone(), key.clone(), value.clone()));
            }
        }
        for (key, name) in &self.new {
            if self.old.get(key) != Some(name) {
                self.steps.write(self.kv, name, self.lists.get(key)).await?;
            }
        }
        Ok(done)
    }
}

/// Runs a transaction until it succeeds.
async fn transact(steps: &Steps, txn: &[Operation], name: &str) -> Result<Payload, Error> {
    let kv = KvClient::lin_kv(STEP);
    let nothing_happened = |error: RpcError| Error::temporarily_unavailable(error.to_string());
    let begun = steps.now();
    let mut attempts = 0_u64;
    while steps.now().saturating_sub(begun) < ATTEMPTS {
        attempts = attempts.saturating_add(1);
        let root: Option<Root> = steps.read(&kv, "root").await.map_err(nothing_happened)?;
        let old = root.unwrap_or_default();
        let (new, lists) = (old.clone(), BTreeMap::new());
        let mut attempt = Attempt { steps, kv: &kv, old, new, lists };
        let done = attempt.run(txn, &format!("{name}-{attempts}")).await;
        let done = done.map_err(nothing_happened)?;
        let Attempt { old, new, .. } = attempt;
        if old == new {
            return Ok(Payload::TxnOk { txn: done });
        }
        if steps.cas(&kv, "root", old, new, true).await? == Cas::Swapped {
            return Ok(Payload::TxnOk { txn: done });
        }
        steps.sleep_up_to(BACK_OFF).await;
    }
    Err(Error::txn_conflict("other transactions were faster, again and again"))
}

#[derive(Default)]
struct ListAppend {
    /// A number for this life of the node.
    life: u64,
    transactions: u64,
    tasks: Tasks<(Request, Result<Payload, Error>)>,
}

impl MessageHandler for ListAppend {
    type Payload = Payload;
    type Event = Wake;

    fn started(&mut self, node: &mut Node<Wake>) {
        self.life = node.rng().next_u64();
    }

    fn message(
        &mut self,
        node: &mut Node<Wake>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let Payload::Txn { txn } = payload else { return Ok(()) };
        if let Some((f, ..)) = txn.iter().find(|(f, ..)| !["r", "append"].contains(&f.as_str())) {
            return Err(Error::malformed_request(format!("there is no operation {f}")));
        }
        self.transactions = self.transactions.saturating_add(1);
        let name = format!("{}-{:x}-{}", node.id(), self.life, self.transactions);
        let request = request.clone();
        self.tasks.spawn(node, |steps| async move {
            let result = transact(&steps, &txn, &name).await;
            (request, result)
        })
    }

    fn event(&mut self, node: &mut Node<Wake>, wake: Wake) {
        if let Some((request, result)) = self.tasks.wake(node, wake) {
            node.reply_result(&request, result);
        }
    }
}

fn main() -> anyhow::Result<()> {
    runtime::run(ListAppend::default(), &runtime::Config::default())
}

#[cfg(test)]
mod tests {
    use maelstrom_sim::nemesis::Fault;
    use maelstrom_sim::sweep::{Case, Sweep};
    use maelstrom_sim::workload::TxnListAppend;

    use super::*;

    /// Maelstrom's services never lose a message, so this sweep spares services. A compare-and-set
    /// that a service receives twice may report a failure although it succeeded. The final
    /// transaction of each thread reads up to 128 lists, one after the other, within 5 s, so the
    /// network must not be too slow.
    #[test]
    fn sweep() {
        let workload = TxnListAppend { final_reads: true, ..TxnListAppend::default() };
        Sweep::new(workload, Fault::ALL).test_cases("list-append", 5, |mut test| {
            test.options.spare_services = true;
            test.options.latency.mean_ms = test.options.latency.mean_ms.min(10);
            Case::new(test, |_| ListAppend::default())
        });
    }
}
