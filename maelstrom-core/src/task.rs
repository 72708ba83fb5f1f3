//! Tasks: sequences of calls, each written as one `async` block.
//!
//! A handler is a state machine. If a call needs the result of another one, the handler has to
//! handle an event for each step. A task writes the same steps in a straight line. It stays
//! deterministic, because it can wait for [`Steps`] only: calls and timers of the [`Node`]. There
//! is no executor and no thread. The handler owns its [`Tasks`]. When a step ends, the handler gets
//! an event, a [`Wake`], and passes it on to the tasks.
//!
//! ```
//! use std::time::Duration;
//!
//! use maelstrom_core::service::{Cas, KvClient};
//! use maelstrom_core::task::{Steps, Tasks, Wake};
//! use maelstrom_core::{Error, MessageHandler, Node, Request, RpcError};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! #[serde(rename_all = "snake_case")]
//! enum Payload {
//!     Add { delta: u64 },
//!     AddOk,
//! }
//!
//! /// A counter in `lin-kv`.
//! #[derive(Default)]
//! struct Counter {
//!     adds: Tasks<(Request, Result<(), RpcError>)>,
//! }
//!
//! async fn add(steps: &Steps, delta: u64) -> Result<(), RpcError> {
//!     let kv = KvClient::lin_kv(Duration::from_millis(500));
//!     loop {
//!         let old: Option<u64> = steps.read(&kv, "sum").await?;
//!         let (old, new) = (old.unwrap_or(0), old.unwrap_or(0) + delta);
//!         if steps.cas(&kv, "sum", old, new, true).await? == Cas::Swapped {
//!             return Ok(());
//!         }
//!         steps.sleep(Duration::from_millis(10)).await;
//!     }
//! }
//!
//! impl MessageHandler for Counter {
//!     type Payload = Payload;
//!     type Event = Wake;
//!
//!     fn message(&mut self, node: &mut Node<Wake>, request: &Request, payload: Payload) -> Result<(), Error> {
//!         if let Payload::Add { delta } = payload {
//!             let request = request.clone();
//!             self.adds.spawn(node, |steps| async move { (request, add(&steps, delta).await) })?;
//!         }
//!         Ok(())
//!     }
//!
//!     fn event(&mut self, node: &mut Node<Wake>, wake: Wake) {
//!         if let Some((request, added)) = self.adds.wake(node, wake) {
//!             node.reply_result(&request, added.map(|()| Payload::AddOk));
//!         }
//!     }
//! }
//! ```
//!
//! # Invariants
//!
//! * A task cannot touch the handler's state. It returns a result, and the handler acts on it.
//!   Other messages come between two steps, so the state may have changed since the task began.
//! * Each step ends exactly once, as [`Node::rpc`] and [`Node::set_timer`] promise. So a task that
//!   waits for steps only is always resumed. A task that waits for anything else is dropped, with
//!   an error in the log.
//! * Tasks do not survive a restart of their node.
//! * Events that a task logs name the request in whose span the task began: see
//!   [module `trace`](crate::trace).

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::RngExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tracing::{Span, error};

use crate::body::{self, Ids};
use crate::error::Error;
use crate::message::NodeId;
use crate::node::Node;
use crate::rpc::{RpcError, RpcResult};
use crate::service::{Cas, KvClient};
use crate::trace;

/// Maximum number of tasks of a [`Tasks`] that run at the same time.
pub const TASKS_MAX: usize = if cfg!(test) { 1 << 8 } else { 1 << 16 };

/// The end of a step of a task. The handler passes it to [`Tasks::wake`]. A handler with several
/// [`Tasks`] first asks each of them whether it [owns](Tasks::owns) the wake. The example
/// of [`Tasks`] shows it in use.
#[derive(Debug)]
pub struct Wake {
    task: u64,
    step: u64,
    result: Option<RpcResult>,
}

/// The tasks of a handler, each with a result of type `T`.
///
/// A node that answers one second late:
///
/// ```
/// # use std::time::Duration;
/// # use maelstrom_core::task::{Tasks, Wake};
/// # use maelstrom_core::{Clock, Error, MessageHandler, Node, RawNode, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Ping, Pong }
/// #[derive(Default)]
/// struct Late(Tasks<Request>);
///
/// impl MessageHandler for Late {
/// #   type Payload = Payload;
///     type Event = Wake;
///     // …
///     fn message(
///         &mut self, node: &mut Node<Wake>, request: &Request, _: Payload,
///     ) -> Result<(), Error> {
///         let request = request.clone();
///         self.0.spawn(node, |steps| async move {
///             steps.sleep(Duration::from_secs(1)).await;
///             request
///         })
///     }
///
///     fn event(&mut self, node: &mut Node<Wake>, wake: Wake) {
///         if let Some(request) = self.0.wake(node, wake) {
///             node.reply(&request, &Payload::Pong);
///         }
///     }
/// }
/// # let mut node = RawNode::new(Late::default(), [7; 32], false);
/// # let mut handle = |body: serde_json::Value| {
/// #     let line = serde_json::json!({"src": "c1", "dest": "n1", "body": body}).to_string();
/// #     node.handle_line(Clock::default(), line.as_bytes());
/// # };
/// # use serde_json::json;
/// # handle(json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]}));
/// # handle(json!({"type": "ping", "msg_id": 2}));
/// # let mut answers_at = |millis| {
/// #     let monotonic = Duration::from_millis(millis);
/// #     node.handle_timeout(Clock { monotonic, ..Clock::default() });
/// #     node.poll_lines().map(|lines| String::from_utf8(lines).unwrap()).unwrap_or_default()
/// # };
/// # assert!(![0, 999].into_iter().any(|millis| answers_at(millis).contains("pong")));
/// # assert!(answers_at(1_000).contains("pong"));
/// # assert!(node.handler().0.is_empty());
/// ```
pub struct Tasks<T> {
    /// Each key is a number that no other task of this node has.
    running: BTreeMap<u64, Running<T>>,
}

struct Running<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    steps: Steps,
    /// Number of its steps that have begun and not ended.
    open: u64,
    /// The span in which the task began: that of its request.
    span: Span,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self { running: BTreeMap::new() }
    }
}

impl<T> fmt::Debug for Tasks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

impl<T> Tasks<T> {
    /// Begins a task. `begin` makes it from the steps that it can take. The task does not run yet.
    /// After the handler has returned, the node delivers a [`Wake`], and the task first runs in
    /// [`wake`](Self::wake). So every task ends in `wake`, even a task that waits for nothing.
    ///
    /// # Errors
    ///
    /// Error 11 if [`TASKS_MAX`] tasks are running. The task then does not begin.
    pub fn spawn<E, F>(
        &mut self,
        node: &mut Node<E>,
        begin: impl FnOnce(Steps) -> F,
    ) -> Result<(), Error>
    where
        E: From<Wake>,
        F: Future<Output = T> + 'static,
    {
        if self.running.len() >= TASKS_MAX {
            return Err(Error::temporarily_unavailable("too many tasks are running"));
        }
        let steps = Steps::default();
        steps.0.borrow_mut().now = node.now();
        let future: Pin<Box<dyn Future<Output = T>>> = Box::pin(begin(steps.clone()));
        let task = node.next_task();
        let span = if trace::is_enabled() { Span::current() } else { Span::none() };
        self.running.insert(task, Running { future, steps, open: 1, span });
        // The task begins with an event, so that its end always comes in one.
        node.set_timer(Duration::ZERO, Wake { task, step: u64::MAX, result: None }.into());
        Ok(())
    }

    /// Resumes the task whose step has ended. Returns the task's result if the task has ended.
    pub fn wake<E: From<Wake>>(&mut self, node: &mut Node<E>, wake: Wake) -> Option<T> {
        let Wake { task, step, result } = wake;
        let running = self.running.get_mut(&task)?;
        let _span = running.span.clone().entered();
        running.open = running.open.saturating_sub(1);
        running.steps.ended(step, result, node.now());
        if let Poll::Ready(result) = running.go_on() {
            self.running.remove(&task);
            return Some(result);
        }
        running.begin_steps(task, node);
        if running.open == 0 {
            error!("a task waits for something that is no step of it, and was dropped");
            self.running.remove(&task);
        }
        None
    }

    /// True if the wake is for one of these tasks.
    #[must_use]
    pub fn owns(&self, wake: &Wake) -> bool {
        self.running.contains_key(&wake.task)
    }

    /// How many tasks are running.
    #[must_use]
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// True if no task is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

impl<T> Running<T> {
    fn go_on(&mut self) -> Poll<T> {
        // The waker does nothing: only `wake` polls the task, after each step that has ended.
        self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Lets the node begin the steps that the task has asked for.
    fn begin_steps<E: From<Wake>>(&mut self, task: u64, node: &mut Node<E>) {
        while let Some((step, asked)) = self.steps.next_asked() {
            self.open = self.open.saturating_add(1);
            match asked {
                Asked::Sleep(time) => {
                    node.set_timer(time, Wake { task, step, result: None }.into())
                }
                Asked::SleepUpTo(most) => {
                    let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
                    let time = Duration::from_nanos(node.rng().random_range(0..=nanos));
                    node.set_timer(time, Wake { task, step, result: None }.into());
                }
                Asked::Call { dest, body, timeout } => {
                    node.rpc(&dest, &body, timeout, move |result| {
                        Wake { task, step, result: Some(result) }.into()
                    });
                }
            }
        }
    }
}

/// The fields of a request, including its type.
type Body = BTreeMap<String, Box<RawValue>>;

/// A task's request to its node.
#[derive(Debug)]
enum Asked {
    Call { dest: NodeId, body: Body, timeout: Duration },
    Sleep(Duration),
    SleepUpTo(Duration),
}

/// The steps that a task can take. Cheap to clone. The [module's example](self) shows calls of a
/// service, and the example of [`Tasks`] shows a pause.
#[derive(Clone, Debug, Default)]
pub struct Steps(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    now: Duration,
    next: u64,
    asked: VecDeque<(u64, Asked)>,
    /// The steps that the task waits for, with the wakers of their futures.
    waiting: BTreeMap<u64, Waker>,
    /// The steps that have ended and that their futures have not seen yet, with the outcomes of
    /// calls.
    ended: BTreeMap<u64, Option<RpcResult>>,
}

/// A step as a future. If the task drops it, its outcome is discarded.
struct Step {
    steps: Steps,
    asked: Option<Asked>,
    number: u64,
}

impl Future for Step {
    type Output = Option<RpcResult>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let steps = self.steps.clone();
        let mut state = steps.0.borrow_mut();
        if let Some(asked) = self.asked.take() {
            self.number = state.next;
            state.next = self.number.wrapping_add(1);
            state.asked.push_back((self.number, asked));
        } else if let Some(result) = state.ended.remove(&self.number) {
            return Poll::Ready(result);
        }
        state.waiting.insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.asked.is_none() {
            let mut state = self.steps.0.borrow_mut();
            state.waiting.remove(&self.number);
            state.ended.remove(&self.number);
        }
    }
}

impl Steps {
    /// Monotonic time, as [`Node::now`] tells it.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.borrow().now
    }

    /// Waits for this time.
    pub async fn sleep(&self, time: Duration) {
        self.take(Asked::Sleep(time)).await;
    }

    /// Waits for a random time of at most `most`. Use it before a retry, so that two nodes whose
    /// attempts collided probably try again at different times.
    pub async fn sleep_up_to(&self, most: Duration) {
        self.take(Asked::SleepUpTo(most)).await;
    }

    /// Calls another node or a service, as [`Node::rpc`] does.
    ///
    /// # Errors
    ///
    /// As for [`Node::rpc`]: the other side's error, no reply in time, too many calls, or a body
    /// without a JSON form.
    pub async fn rpc<B: Serialize + ?Sized>(
        &self,
        dest: &NodeId,
        body: &B,
        timeout: Duration,
    ) -> RpcResult {
        let body = encode(body).map_err(|error| RpcError::NoJsonForm(error.to_string()))?;
        let asked = Asked::Call { dest: dest.clone(), body, timeout };
        self.take(asked).await.unwrap_or(Err(RpcError::Timeout))
    }

    /// Reads `key` of a service, as [`KvClient::read`] does. `None`: the key does not exist.
    ///
    /// # Errors
    ///
    /// If the service does not answer in time, or if it answers with an error other than 20.
    pub async fn read<V: DeserializeOwned>(
        &self,
        kv: &KvClient,
        key: impl Serialize,
    ) -> Result<Option<V>, RpcError> {
        let result = self.rpc(kv.service(), &KvClient::read_request(key), kv.timeout()).await;
        KvClient::read_result(result)
    }

    /// Sets `key` of a service to `value`, as [`KvClient::write`] does.
    ///
    /// # Errors
    ///
    /// If the service does not answer in time, or if it answers with an error.
    pub async fn write(
        &self,
        kv: &KvClient,
        key: impl Serialize,
        value: impl Serialize,
    ) -> Result<(), RpcError> {
        let request = KvClient::write_request(key, value);
        KvClient::write_result(self.rpc(kv.service(), &request, kv.timeout()).await)
    }

    /// Sets `key` of a service to `to` if it is `from`, as [`KvClient::cas`] does.
    ///
    /// # Errors
    ///
    /// If the service does not answer in time, or if it answers with an error other than 20 and 22.
    pub async fn cas<V: Serialize>(
        &self,
        kv: &KvClient,
        key: impl Serialize,
        from: V,
        to: V,
        create_if_not_exists: bool,
    ) -> Result<Cas, RpcError> {
        let request = KvClient::cas_request(key, from, to, create_if_not_exists);
        KvClient::cas_result(self.rpc(kv.service(), &request, kv.timeout()).await)
    }

    /// Asks for a step, and waits until it has ended.
    fn take(&self, asked: Asked) -> Step {
        Step { steps: self.clone(), asked: Some(asked), number: 0 }
    }

    fn next_asked(&self) -> Option<(u64, Asked)> {
        self.0.borrow_mut().asked.pop_front()
    }

    fn ended(&self, step: u64, result: Option<RpcResult>, now: Duration) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.now = now;
            let waker = state.waiting.remove(&step);
            if waker.is_some() {
                state.ended.insert(step, result);
            }
            waker
        };
        // A future that joins many others may poll only those that were woken, so wake the step's
        // own waker.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The fields of a body, as [`Node::rpc`] writes them.
fn encode<B: Serialize + ?Sized>(body: &B) -> serde_json::Result<Body> {
    let mut bytes = Vec::new();
    body::encode(&mut bytes, Ids::default(), body)?;
    serde_json::from_slice(&bytes)
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
