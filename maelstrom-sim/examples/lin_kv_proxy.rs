//! A node for the workload `lin-kv` that keeps nothing itself: it asks Maelstrom's service `lin-kv`.
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
//! * A call to another node or a service: [`Node::rpc`]. Its outcome comes back as an event, exactly
//!   once: the reply, an error, or a timeout.
//! * Which error to answer with. An error of the service is passed on: error 22 means that a
//!   compare-and-set did nothing, and that is still true. After a timeout nobody knows whether the
//!   service did it, so the answer is error 0, which is indefinite. A definite error would be a lie, and
//!   the checker would find it.
//! * How long to wait: less than the client does, which waits a second in this workload.

use std::time::Duration;

use maelstrom_core::{Error, MessageHandler, Node, NodeId, Request, RpcResult, runtime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long the service may take. The client gives up after a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// The requests of clients. The node sends them on to the service as they are.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Read { key: Value },
    Write { key: Value, value: Value },
    Cas { key: Value, from: Value, to: Value },
}

/// The replies of the service. The node sends them on to clients as they are.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the protocol's names")]
enum Answer {
    ReadOk { value: Value },
    WriteOk,
    CasOk,
}

/// The service's answer to a client's request has come, or none in time.
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

    /// Each seed is another run with other faults. Services never lose a message in Maelstrom, and a
    /// write that is delivered twice to one is no longer linearizable: so they are spared.
    /// When all faults are over, every operation must get an answer within a second. It takes four hops, so
    /// the network is not too slow.
    #[test]
    fn sweep() {
        Sweep::new(LinKv::default(), Fault::ALL).test_cases("lin-kv-proxy", 5, |mut test| {
            test.options.spare_services = true;
            test.options.latency.mean_ms = test.options.latency.mean_ms.min(20);
            Case::new(test, |_| Proxy::new())
        });
    }
}
