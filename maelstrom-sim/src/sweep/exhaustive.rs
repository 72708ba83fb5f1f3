//! All runs of a tiny test, up to a bound: each of the first messages between servers arrives in
//! time, late or never, in every combination. A test can choose other deliveries.
//!
//! A sweep of seeds tries long runs at random. This finds the faults that need one particular order
//! of a few messages, and shows their absence up to the bound. The search is depth-first over
//! *choices*, one for each message, as in stateless model checking (Godefroid, *Model Checking for
//! Programming Languages using VeriSoft*, 1997): a run follows a given list of choices, and all
//! messages after the list arrive in time. `k` deliveries and `d` messages make at most `k^d` runs.
//! Nothing is pruned, so keep the bound small.
//!
//! The choices count from the moment at which the clients begin. Messages between nodes count, and
//! those between nodes and services, unless [`Options::spare_services`](crate::options::Options::spare_services) exempts them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use maelstrom_core::cli::{LogFormat, init_logging};
use maelstrom_core::{MessageHandler, NodeId};

use super::case::{BUDGET, Case, Finding, Outcome};
use super::folder::Folder;
use super::replay::Replay;
use super::{number_from_env, tell};
use crate::delivery::Delivery;
use crate::test::Test;

/// The deliveries that are tried beside the prompt one, unless told otherwise. A late message is
/// overtaken by all messages of the next quarter of a second.
const OTHERS: [Delivery; 2] = [Delivery::Lost, Delivery::Late(Duration::from_millis(250))];

/// The choice of [`OTHERS`] that makes a message late.
const LATE: usize = 2;

/// A message that is late by so little overtakes an earlier one that is late as above.
const LATE_BY_LESS: Delivery = Delivery::Late(Duration::from_millis(125));

/// A tiny test, and the possible deliveries of its first messages.
///
/// ```
/// use std::time::Duration;
/// use maelstrom_sim::delivery::Delivery;
/// use maelstrom_sim::{Test, options::Options, sweep::Exhaustive, workload};
///
/// let time_limit = Duration::from_millis(300);
/// let options = Options { rate: 10.0, time_limit, ..Options::default().with_node_count(2) };
/// let test = Test::new(workload::Broadcast::default(), options);
/// let others = [Delivery::Lost, Delivery::Twice];
/// let tiny = Exhaustive::new(test).with_deliveries(others).with_depth(4);
/// assert_eq!(tiny.runs_max(), 81);
/// // tiny.test("broadcast-tiny", |_| Broadcast::default());
/// ```
#[derive(Clone, Debug)]
pub struct Exhaustive {
    test: Test,
    /// The choices after the first one, which is a prompt delivery.
    others: Vec<Delivery>,
    /// Whether the last choice is [`LATE_BY_LESS`], which needs a late message before it.
    has_late_orders: bool,
    depth: usize,
}

/// A search that found nothing.
///
/// ```
/// # use maelstrom_core::{Error, MessageHandler, NoEvent, Node, Request};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Deserialize, Serialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Echo { echo: serde_json::Value }, EchoOk { echo: serde_json::Value } }
/// # struct MyNode;
/// # impl MessageHandler for MyNode {
/// #     type Payload = Payload;
/// #     type Event = NoEvent;
/// #     fn message(
/// #         &mut self, node: &mut Node<NoEvent>, from: &Request, payload: Payload,
/// #     ) -> Result<(), Error> {
/// #         if let Payload::Echo { echo } = payload {
/// #             node.reply(from, &Payload::EchoOk { echo });
/// #         }
/// #         Ok(())
/// #     }
/// # }
/// use maelstrom_sim::{Test, options::Options, sweep::{Exhaustive, Explored}, workload::Echo};
///
/// let search = Exhaustive::new(Test::new(Echo::default(), Options::default()));
/// // No echo needs a message between servers, so there is only one run.
/// let explored = search.explore("echo", |_| MyNode).expect("the run ends well");
/// assert_eq!(explored, Explored { runs: 1, whole: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// The number of runs.
    pub runs: u64,
    /// The number of these runs with fewer messages than the bound. No choice is left out there.
    pub whole: u64,
}

impl Exhaustive {
    /// Tries all combinations for the first four messages of this test.
    #[must_use]
    pub fn new(test: Test) -> Self {
        Self { test, others: OTHERS.to_vec(), has_late_orders: false, depth: 4 }
    }

    /// Tries all combinations for so many messages.
    #[must_use]
    pub fn with_depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// Tries these deliveries beside the prompt one. The default: a message is lost, or a quarter
    /// of a second late.
    #[must_use]
    pub fn with_deliveries(mut self, others: impl IntoIterator<Item = Delivery>) -> Self {
        self.others = others.into_iter().collect();
        self.has_late_orders = false;
        self
    }

    /// Tries the default deliveries, and both orders of two late messages. Without this, late
    /// messages arrive in the order in which they were sent. Nine messages then take 131,328 runs
    /// instead of 19,683.
    #[must_use]
    pub fn with_late_orders(mut self) -> Self {
        self.others = OTHERS.into_iter().chain([LATE_BY_LESS]).collect();
        self.has_late_orders = true;
        self
    }

    /// The number of deliveries for each message.
    fn kinds(&self) -> usize {
        self.others.len().saturating_add(1)
    }

    /// The most runs that this can take.
    #[must_use]
    pub fn runs_max(&self) -> u64 {
        let depth = u32::try_from(self.depth).unwrap_or(u32::MAX);
        (self.kinds() as u64).saturating_pow(depth)
    }

    /// Tries all combinations, on all processors.
    ///
    /// # Errors
    ///
    /// The first finding, made simpler: each choice without which the same kind of finding stays is
    /// a prompt delivery again.
    pub fn explore<H: MessageHandler>(
        &self,
        name: &str,
        build: impl Fn(&NodeId) -> H + Sync,
    ) -> Result<Explored, Box<Finding>> {
        self.explored(name, &build).map_err(|(_, finding)| finding)
    }

    /// As [`explore`](Self::explore). A finding comes with its combination.
    fn explored<H: MessageHandler>(
        &self,
        name: &str,
        build: &(impl Fn(&NodeId) -> H + Sync),
    ) -> Result<Explored, Found> {
        let replay = Replay::here();
        let run = |choices: &[usize]| self.run(name, choices, &replay, build);
        self.search(&run).map_err(|(choices, finding)| self.simplest(choices, finding, &run))
    }

    /// [Explores](Self::explore) as a test of a handler, unless an environment variable says
    /// otherwise:
    ///
    /// * `DEPTH=n` tries all combinations for the first n messages, and prints how many runs that
    ///   took.
    /// * `CHOICES=021` runs that combination alone, with the nodes' log on stderr (`RUST_LOG`) and
    ///   the files of the run in `store/simulation/`. Each digit is the number of a delivery.
    ///
    /// A finding leaves the same files. Their [report](crate::report::Report) lists the deliveries
    /// that led to it.
    ///
    /// # Panics
    ///
    /// With the finding, if there is one, or if an environment variable is invalid.
    #[expect(clippy::panic, reason = "this is how a test fails")]
    pub fn test<H: MessageHandler>(&self, name: &str, build: impl Fn(&NodeId) -> H + Sync) {
        if let Some(choices) = self.choices_from_env() {
            init_logging(LogFormat::Text);
            match self.case(&choices, &build).replay(name, &folder(name, &choices)) {
                Ok(text) => tell(&text),
                Err(text) => panic!("{text}"),
            }
            return;
        }
        let asked = number_from_env("DEPTH");
        let depth = asked.and_then(|depth| usize::try_from(depth).ok()).unwrap_or(self.depth);
        match self.clone().with_depth(depth).explored(name, &build) {
            Ok(Explored { runs, whole }) if asked.is_some() => tell(&format!(
                "{name}: all {runs} combinations of {} deliveries of the first {depth} messages are \
                 well; in {whole} of them there were fewer messages\n",
                self.kinds()
            )),
            Ok(_) => {}
            Err((choices, finding)) => {
                let report = if finding.kind.is_over_budget() {
                    String::new()
                } else {
                    self.case(&choices, &build).keep(name, &folder(name, &choices))
                };
                panic!("{}{report}", finding.text)
            }
        }
    }

    #[expect(clippy::panic, reason = "this is how a test fails")]
    fn choices_from_env(&self) -> Option<Vec<usize>> {
        let text = std::env::var("CHOICES").ok().filter(|text| !text.is_empty())?;
        let digit = |c: char| {
            let number = usize::try_from(c.to_digit(10)?).ok()?;
            (number < self.kinds()).then_some(number)
        };
        match text.chars().map(digit).collect() {
            Some(choices) => Some(choices),
            None => panic!("CHOICES must be digits below {}, not {text:?}", self.kinds()),
        }
    }

    /// The test in which the first messages are delivered so.
    fn case<'b, H: MessageHandler, F: Fn(&NodeId) -> H>(
        &self,
        choices: &[usize],
        build: &'b F,
    ) -> Case<impl FnMut(&NodeId) -> H + use<'b, H, F>> {
        let mut test = self.test.clone();
        let other = |choice: usize| self.others.get(choice.checked_sub(1)?).copied();
        let delivery = |choice: &usize| other(*choice).unwrap_or(Delivery::Prompt);
        test.options.deliveries = choices.iter().map(delivery).collect();
        let about = format!("The first messages between servers: {:?}", test.options.deliveries);
        Case { test, about, build: |id: &NodeId| build(id) }
    }

    fn run<H: MessageHandler>(
        &self,
        name: &str,
        choices: &[usize],
        replay: &Replay,
        build: &(impl Fn(&NodeId) -> H + Sync),
    ) -> Outcome {
        let again = replay.again(&format!("CHOICES={}", digits(choices)));
        self.case(choices, build).run_within(name, BUDGET, again)
    }
}

/// A combination with a finding.
type Found = (Vec<usize>, Box<Finding>);

impl Exhaustive {
    fn search(&self, run: &(impl Fn(&[usize]) -> Outcome + Sync)) -> Result<Explored, Found> {
        let queue: Mutex<VecDeque<Vec<usize>>> = Mutex::new([Vec::new()].into());
        // A thread that runs a combination may add more of them to the queue.
        let (busy, runs, whole) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let found: Mutex<Option<Found>> = Mutex::new(None);
        let is_over = AtomicBool::new(false);
        let work = || {
            while !is_over.load(Ordering::SeqCst) {
                let next = {
                    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                    let next = queue.pop_back();
                    if next.is_some() {
                        busy.fetch_add(1, Ordering::SeqCst);
                    } else if busy.load(Ordering::SeqCst) == 0 {
                        return;
                    }
                    next
                };
                let Some(choices) = next else {
                    std::thread::yield_now();
                    continue;
                };
                runs.fetch_add(1, Ordering::SeqCst);
                match run(&choices) {
                    Ok((world, _)) => {
                        let sent = usize::try_from(world.choices_made()).unwrap_or(usize::MAX);
                        whole.fetch_add(u64::from(sent < self.depth), Ordering::SeqCst);
                        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                        queue.extend(self.longer(&choices, sent.min(self.depth)));
                    }
                    Err(finding) => {
                        is_over.store(true, Ordering::SeqCst);
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.get_or_insert((choices, finding));
                    }
                }
                busy.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
        match found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(found) => Err(found),
            None => Ok(Explored { runs: runs.into_inner(), whole: whole.into_inner() }),
        }
    }

    /// The combinations that differ from this one in one message after its own choices and before
    /// `end`. That message was prompt, so each combination comes once.
    fn longer(&self, choices: &[usize], end: usize) -> impl Iterator<Item = Vec<usize>> {
        let may_overtake = !self.has_late_orders || choices.contains(&LATE);
        let others = 1..self.kinds().saturating_sub(usize::from(!may_overtake));
        (choices.len()..end).flat_map(move |at| {
            let choices = choices.to_vec();
            others.clone().map(move |other| {
                let prompt = std::iter::repeat_n(0, at.saturating_sub(choices.len()));
                choices.iter().copied().chain(prompt).chain([other]).collect()
            })
        })
    }

    /// Takes back each choice without which the same kind of finding stays.
    fn simplest(
        &self,
        mut choices: Vec<usize>,
        mut finding: Box<Finding>,
        run: &impl Fn(&[usize]) -> Outcome,
    ) -> Found {
        for at in 0..choices.len() {
            let mut fewer = choices.clone();
            match fewer.get_mut(at) {
                Some(choice) if *choice != 0 => *choice = 0,
                _ => continue,
            }
            while fewer.last() == Some(&0) {
                fewer.pop();
            }
            if let Err(found) = run(&fewer)
                && found.kind == finding.kind
            {
                (choices, finding) = (fewer, found);
            }
        }
        (choices, finding)
    }
}

/// The folder for the files of a combination.
fn folder(name: &str, choices: &[usize]) -> Folder {
    let digits = digits(choices);
    let again = Replay::here().command(&format!("CHOICES={digits}"));
    Folder::new(name, ("choices", digits), again)
}

fn digits(choices: &[usize]) -> String {
    let text: String = choices.iter().map(ToString::to_string).collect();
    if text.is_empty() { "0".into() } else { text }
}

#[cfg(test)]
mod tests;
