//! A node for the workload `lin-kv` without state of its own: it calls Maelstrom's service
//! `lin-kv`.
//!
//! Run it under the checker, with real processes:
//!
//! ```sh
//! cargo build --release -p maelstrom-sim --examples
//! target/release/maelstrom-sim test -w lin-kv --bin target/release/examples/lin_kv_proxy \
//!     --node-count 3 --concurrency 2n --time-limit 10 --nemesis partition
//! ```
//!
//! The example shows:
//!
//! * How to call another node or a service: [`Node::rpc`]. The outcome arrives as an event, exactly
//!   once: the reply, an error, or a timeout.
//! * Which error to reply with. The node passes on an error of the service. For example, error 22
//!   means that a compare-and-set had no effect, and that is still true. After a timeout the node
//!   does not know whether the request took effect, so it replies with error 0, which is
//!   indefinite. A definite error could be wrong, and the checker would find that.
//! * How long to wait: less than the client, which waits one second in this workload.

use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, NodeId, Request, RpcResult, runtime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long the service may take. The client times out after one second.
const PATIENCE: Duration = Duration::from_millis(900);

/// The requests of clients. The node forwards them to the service unchanged.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Read { key: Value },
    Write { key: Value, value: Value },
    Cas { key: Value, from: Value, to: Value },
}

/// The replies of the service. The node forwards them to clients unchanged.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the protocol's names")]
enum Answer {
    ReadOk { value: Value },
    WriteOk,
    CasOk,
}

/// The outcome of a call to the service, for a client's request.
struct Answered {
    request: Request,
    result: RpcResult,
}

struct Proxy {
    service: NodeId,
}

impl Proxy {
    fn new() -> Self {
        Self { service: "lin-kv".into() }
    }
}

impl MessageHandler for Proxy {
    type Payload = Payload;
    type Event = Answered;

    fn message(
        &mut self,
        node: &mut Node<Answered>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let request = request.clone();
        node.rpc(&self.service, &payload, PATIENCE, |result| Answered { request, result });
        Ok(())
    }

    fn event(&mut self, node: &mut Node<Answered>, Answered { request, result }: Answered) {
        let answer = result.and_then(|reply| reply.decode::<Answer>());
        node.reply_result(&request, answer);
    }
}

fn main() -> anyhow::Result<()> {
    runtime::run(Proxy::new(), &runtime::Config::default())
}

#[cfg(test)]
mod tests {
    use maelstrom_sim::nemesis::Fault;
    use maelstrom_sim::sweep::{Case, Sweep};
    use maelstrom_sim::workload::LinKv;

    use super::*;

    /// Each seed is a run with other faults. Maelstrom's services never lose a message, and a write
    /// that a service receives twice is not linearizable, so this sweep spares services. After all
    /// faults have ended, every operation must get a reply within one second. A request takes four
    /// hops, so the network must not be too slow.
    #[test]
    fn sweep() {
        Sweep::new(LinKv::default(), Fault::ALL).test_cases("lin-kv-proxy", 5, |mut test| {
            test.options.spare_services = true;
            test.options.latency.mean_ms = test.options.latency.mean_ms.min(20);
            Case::new(test, |_| Proxy::new())
        });
    }
}
