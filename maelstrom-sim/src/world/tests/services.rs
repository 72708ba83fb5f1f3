//! Nodes that call services.

use super::*;

#[test]
fn each_kind_of_request_that_no_service_understands_is_told_once() {
    let mut world = started();
    for kind in ["no", "no", "nothing", "no"] {
        let body = json!({ "type": kind, "msg_id": 1 });
        let line = json!({ "src": "n0", "dest": "lin-kv", "body": body });
        world.node_said(JOIN_TIME, &"n0".into(), line.to_string().as_bytes());
    }
    let news = std::iter::from_fn(|| world.poll_action()).filter_map(|action| match action {
        Action::Tell(News::BadRequest { node, why }) => Some((node, why)),
        _ => None,
    });
    let news: Vec<(NodeId, String)> = news.collect();
    assert_eq!(news.len(), 2, "{news:?}");
    let why = "lin-kv: it knows no requests of type `no`: {";
    assert!(news[0].0.as_ref() == "n0" && news[0].1.starts_with(why), "{news:?}");
}

/// Counts by compare-and-set in `lin-kv`. Reports how often the service confirmed a swap, and how
/// often a swap may have happened.
#[derive(Default)]
struct Swapper {
    value: u64,
    done: u64,
    unknown: u64,
    /// Whether this swap may have happened already.
    maybe: bool,
}

impl MessageHandler for Swapper {
    type Payload = Payload;
    type Event = Result<Cas, RpcError>;

    fn started(&mut self, node: &mut Node<Self::Event>) {
        let client = KvClient::lin_kv(ms(500));
        client.cas(node, "k", self.value, self.value + 1, true, |result| result);
    }

    fn event(&mut self, node: &mut Node<Self::Event>, result: Self::Event) {
        match result {
            Ok(Cas::Swapped) => self.done += 1,
            Ok(Cas::Mismatch) => {
                assert!(self.maybe, "it happened, though it certainly had not");
                self.unknown += 1;
            }
            Ok(Cas::Missing) => panic!("the first one creates it"),
            Err(error) => {
                self.maybe |= !error.is_definite();
                return self.started(node);
            }
        }
        self.value += 1;
        self.maybe = false;
        self.started(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Self::Event>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Topology { .. } => node.reply(request, &Reply::TopologyOk),
            Payload::Broadcast { .. } => node.reply(request, &Reply::BroadcastOk),
            _ => node.reply(request, &Reply::ReadOk { messages: vec![self.done, self.unknown] }),
        }
        Ok(())
    }
}

#[test]
fn services_that_answer_with_errors_do_so_definitely_only_where_nothing_happened() {
    let mut options = options();
    options.nodes = vec!["n0".into()];
    options.latency.mean_ms = 10;
    options.nemesis.insert(Fault::Services);
    options.nemesis_interval = Duration::from_secs(2);
    let world = simulate(broadcast(options), |_| Swapper::default());
    let last = ends(&world, OpType::Ok).into_iter().rev().find(|op| op.f == "read").unwrap();
    let counts: Vec<u64> = serde_json::from_str(last.value.as_ref().unwrap().get()).unwrap();
    assert!(counts[0] > 100, "most of them happen: {counts:?}");
    assert!(counts[1] > 0, "some that may have happened had: {counts:?}");
}
