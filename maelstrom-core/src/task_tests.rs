//! A handler whose requests are tasks, driven line by line.

use serde::{Deserialize, Serialize};

use super::*;
use crate::{Clock, MessageHandler, Output, RawNode, Request};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    /// Adds to a counter in `lin-kv`.
    Add {
        delta: u64,
    },
    /// Calls two peers at once.
    Both,
    /// Calls a peer and does not wait for the answer, again and again.
    Impatient,
    /// A task of another kind.
    Other,
    /// Waits for nothing.
    Nothing,
    /// Waits for something that never comes.
    Forever,
    /// Waits for a random time.
    Random,
    AddOk,
    Told {
        text: String,
    },
}

#[derive(Default)]
struct Handler {
    tasks: Tasks<(Request, Result<Payload, RpcError>)>,
    /// Tasks of another kind.
    others: Tasks<Request>,
}

async fn add(steps: &Steps, delta: u64) -> Result<Payload, RpcError> {
    let kv = KvClient::lin_kv(ms(500));
    loop {
        let old: u64 = steps.read(&kv, "sum").await?.unwrap_or(0);
        if steps.cas(&kv, "sum", old, old.saturating_add(delta), true).await? == Cas::Swapped {
            return Ok(Payload::AddOk);
        }
        steps.sleep(ms(10)).await;
    }
}

/// The replies of n2 and n3 in this order, whichever comes first.
async fn both(steps: &Steps) -> Result<Payload, RpcError> {
    let (n2, n3) = ("n2".into(), "n3".into());
    let mut calls: Vec<Pin<Box<dyn Future<Output = RpcResult> + '_>>> = vec![
        Box::pin(steps.rpc(&n2, &Payload::Nothing, ms(100))),
        Box::pin(steps.rpc(&n3, &Payload::Nothing, ms(100))),
    ];
    let mut results: Vec<Option<RpcResult>> = vec![None, None];
    std::future::poll_fn(|context| {
        for (call, result) in calls.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(ready) = call.as_mut().poll(context)
            {
                *result = Some(ready);
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let text = |result: &Option<RpcResult>| match result {
        Some(Ok(reply)) => reply.src().to_string(),
        Some(Err(error)) => error.to_string(),
        None => "nothing".into(),
    };
    Ok(Payload::Told { text: results.iter().map(text).collect::<Vec<_>>().join(", ") })
}

async fn told(steps: &Steps, payload: Payload) -> Result<Payload, RpcError> {
    match payload {
        Payload::Add { delta } => add(steps, delta).await,
        Payload::Both => both(steps).await,
        Payload::Impatient => {
            let peer = "n2".into();
            for _ in 0..10 {
                let mut call = Box::pin(steps.rpc(&peer, &Payload::Nothing, ms(5)));
                std::future::poll_fn(|context| {
                    drop(call.as_mut().poll(context));
                    Poll::Ready(())
                })
                .await;
                drop(call);
                steps.sleep(ms(10)).await;
            }
            let left = steps.0.borrow().ended.len();
            Ok(Payload::Told { text: left.to_string() })
        }
        Payload::Forever => std::future::pending().await,
        Payload::Random => {
            steps.sleep_up_to(ms(100)).await;
            Ok(Payload::Told { text: format!("{:?}", steps.now()) })
        }
        _ => Ok(Payload::Told { text: "at once".into() }),
    }
}

impl MessageHandler for Handler {
    type Payload = Payload;
    type Event = Wake;

    fn message(
        &mut self,
        node: &mut Node<Wake>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let request = request.clone();
        if let Payload::Other = payload {
            return self.others.spawn(node, |steps| async move {
                steps.sleep(ms(1)).await;
                request
            });
        }
        self.tasks.spawn(node, |steps| async move { (request, told(&steps, payload).await) })
    }

    fn event(&mut self, node: &mut Node<Wake>, wake: Wake) {
        if self.others.owns(&wake) {
            if let Some(request) = self.others.wake(node, wake) {
                node.reply(&request, &Payload::Told { text: "other".into() });
            }
        } else if let Some((request, result)) = self.tasks.wake(node, wake) {
            node.reply_result(&request, result);
        }
    }
}

struct Driver {
    node: RawNode<Handler>,
    now: Duration,
}

impl Driver {
    fn new(seed: u8) -> Self {
        let node = RawNode::new(Handler::default(), [seed; 32], false);
        let mut driver = Self { node, now: ms(0) };
        driver
            .say("c1", r#"{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2","n3"]}"#);
        driver
    }

    /// Passes a message to the node. Returns the bodies of its output lines.
    fn say(&mut self, src: &str, body: &str) -> Vec<serde_json::Value> {
        let line = format!(r#"{{"src":"{src}","dest":"n1","body":{body}}}"#);
        let clock = Clock { monotonic: self.now, wall: self.now };
        self.node.handle_line(clock, line.as_bytes());
        self.at(self.now)
    }

    /// Lets time pass until `at`. Returns the bodies of the node's output lines.
    fn at(&mut self, at: Duration) -> Vec<serde_json::Value> {
        let mut said = Vec::new();
        while let Some(due) = self.node.poll_timeout().filter(|due| *due <= at) {
            self.now = due.max(self.now);
            self.node.handle_timeout(Clock { monotonic: self.now, wall: self.now });
        }
        self.now = at.max(self.now);
        while let Some(output) = self.node.poll_output() {
            let Output::Lines(lines) = output else { panic!("no records here") };
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let message: serde_json::Value = serde_json::from_slice(line).unwrap();
                said.push(message["body"].clone());
            }
        }
        said
    }
}

/// A reply to `asked`, from a service or a peer.
fn answer(asked: &serde_json::Value, fields: &str) -> String {
    format!(r#"{{"in_reply_to":{},{fields}}}"#, asked["msg_id"])
}

#[test]
fn steps_follow_each_other_until_the_task_ends() {
    let mut driver = Driver::new(1);
    let asked = driver.say("c1", r#"{"type":"add","msg_id":2,"delta":3}"#);
    assert_eq!(
        (asked.len(), &asked[0]["type"], &asked[0]["key"]),
        (1, &"read".into(), &"sum".into())
    );
    let missing = answer(&asked[0], r#""type":"error","code":20"#);
    let asked = driver.say("lin-kv", &missing);
    assert_eq!((&asked[0]["from"], &asked[0]["to"]), (&0.into(), &3.into()));
    let mismatch = answer(&asked[0], r#""type":"error","code":22"#);
    assert_eq!(driver.say("lin-kv", &mismatch), [] as [serde_json::Value; 0], "it waits");
    let asked = driver.at(ms(10));
    assert_eq!(asked[0]["type"], "read");
    let asked = driver.say("lin-kv", &answer(&asked[0], r#""type":"read_ok","value":5"#));
    assert_eq!((&asked[0]["from"], &asked[0]["to"]), (&5.into(), &8.into()));
    let replies = driver.say("lin-kv", &answer(&asked[0], r#""type":"cas_ok""#));
    assert_eq!((replies.len(), &replies[0]["type"]), (1, &"add_ok".into()));
    assert_eq!(replies[0]["in_reply_to"], 2);
    assert!(driver.node.handler().tasks.is_empty());
}

#[test]
fn an_error_of_a_step_is_the_tasks_to_handle() {
    let mut driver = Driver::new(1);
    driver.say("c1", r#"{"type":"add","msg_id":2,"delta":3}"#);
    let replies = driver.at(ms(500));
    assert_eq!((&replies[0]["type"], &replies[0]["code"]), (&"error".into(), &0.into()));
    assert!(driver.node.handler().tasks.is_empty());
}

#[test]
fn steps_at_once_may_end_in_any_order() {
    for first in [0, 1] {
        let mut driver = Driver::new(1);
        let asked = driver.say("c1", r#"{"type":"both","msg_id":2}"#);
        let reply = |at: usize| answer(&asked[at], r#""type":"told","text":"""#);
        let names = ["n2", "n3"];
        assert_eq!(driver.say(names[first], &reply(first)).len(), 0);
        let replies = driver.say(names[1 - first], &reply(1 - first));
        assert_eq!(replies[0]["text"], "n2, n3");
    }
}

#[test]
fn tasks_do_not_get_each_others_results() {
    let mut driver = Driver::new(1);
    let first = driver.say("c1", r#"{"type":"add","msg_id":2,"delta":1}"#);
    let second = driver.say("c2", r#"{"type":"add","msg_id":2,"delta":20}"#);
    let asked = driver.say("lin-kv", &answer(&second[0], r#""type":"read_ok","value":100"#));
    assert_eq!(asked[0]["to"], 120);
    let asked = driver.say("lin-kv", &answer(&first[0], r#""type":"read_ok","value":7"#));
    assert_eq!(asked[0]["to"], 8);
    assert_eq!(driver.node.handler().tasks.len(), 2);
}

#[test]
fn several_kinds_of_tasks_know_their_own_wakes() {
    let mut driver = Driver::new(1);
    let asked = driver.say("c1", r#"{"type":"add","msg_id":2,"delta":1}"#);
    assert!(driver.say("c1", r#"{"type":"other","msg_id":3}"#).is_empty());
    assert_eq!(driver.at(ms(1))[0]["text"], "other");
    let asked = driver.say("lin-kv", &answer(&asked[0], r#""type":"read_ok","value":7"#));
    assert_eq!(asked[0]["to"], 8);
}

#[test]
fn the_end_of_a_step_that_nobody_waits_for_is_forgotten() {
    let mut driver = Driver::new(1);
    driver.say("c1", r#"{"type":"impatient","msg_id":2}"#);
    let said = driver.at(ms(200));
    let told = said.iter().find(|body| body["type"] == "told").unwrap();
    assert_eq!(told["text"], "0");
}

#[test]
fn a_step_wakes_the_tasks_that_wait_for_it() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Count(AtomicU32);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (steps, count) = (Steps::default(), Arc::new(Count(AtomicU32::new(0))));
    let waker = Waker::from(Arc::clone(&count));
    let mut context = Context::from_waker(&waker);
    let mut sleep = Box::pin(steps.sleep(ms(1)));
    assert!(sleep.as_mut().poll(&mut context).is_pending());
    let (step, _) = steps.next_asked().unwrap();
    steps.ended(step, None, ms(1));
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert!(sleep.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_task_that_waits_for_nothing_ends_with_an_event() {
    let replies = Driver::new(1).say("c1", r#"{"type":"nothing","msg_id":2}"#);
    assert_eq!(replies[0]["text"], "at once");
}

#[test]
fn a_task_that_waits_for_anything_else_is_dropped() {
    let mut driver = Driver::new(1);
    assert!(driver.say("c1", r#"{"type":"forever","msg_id":2}"#).is_empty());
    assert!(driver.node.handler().tasks.is_empty());
}

#[test]
fn a_random_wait_depends_on_the_seed_alone() {
    let wait = |seed| {
        let mut driver = Driver::new(seed);
        driver.say("c1", r#"{"type":"random","msg_id":2}"#);
        driver.at(ms(100))[0]["text"].to_string()
    };
    assert_eq!(wait(1), wait(1));
    assert_ne!(wait(1), wait(2));
}

#[test]
fn one_task_too_many_is_refused() {
    let mut driver = Driver::new(1);
    for msg_id in 2..2 + TASKS_MAX {
        assert!(driver.node.handler().tasks.len() < TASKS_MAX);
        driver.say("c1", &format!(r#"{{"type":"add","msg_id":{msg_id},"delta":1}}"#));
    }
    let refused = driver.say("c1", r#"{"type":"add","msg_id":1,"delta":1}"#);
    assert_eq!(refused[0]["code"], 11);
}
