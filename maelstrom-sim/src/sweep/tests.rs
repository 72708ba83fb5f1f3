//! Tests sweeps with very simple nodes.

use std::process::Command;
use std::sync::Arc;

use maelstrom_core::{Error, Node, Request};
use rand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::case::{BUDGET, watch};
use super::replay::Watchdog;
use super::*;
use crate::simulate::{Budget, Running, program, simulate_within};
use crate::workload::{self, Broadcast, GCounter, UniqueIds};

/// The bug of an echo node.
#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    Nothing,
    /// It replies with another text.
    Answer,
    /// It sends to an address that does not exist.
    Address,
    /// It depends on a value that comes neither from the seed nor from its input.
    Random,
    /// It panics at its first echo after 3 s.
    Panic,
    /// It never returns from its first echo.
    Hang,
    /// It sends messages to all nodes, itself included, for each message that it receives.
    Storm,
}

struct Echo(Wrong);

/// State outside of the handler, which no handler should read.
static OUTSIDE: AtomicU64 = AtomicU64::new(0);

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo { echo: Value },
    EchoOk { echo: Value },
    Generate,
    GenerateOk { id: u64 },
    Note { text: u64 },
}

impl MessageHandler for Echo {
    type Payload = Payload;
    type Event = ();

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        let echo = match payload {
            Payload::Echo { echo } => echo,
            Payload::Generate => {
                let id = node.rng().next_u64();
                node.reply(request, &Payload::GenerateOk { id });
                node.send(&"n99".into(), &Payload::Note { text: 0 });
                return Ok(());
            }
            _ if self.0 == Wrong::Storm => {
                for id in node.node_ids().to_vec() {
                    node.send(&id, &Payload::Note { text: 0 });
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        if self.0 == Wrong::Hang {
            loop {
                std::thread::yield_now();
            }
        }
        assert!(self.0 != Wrong::Panic || node.now().as_secs() < 3, "I have had enough");
        let echo = if self.0 == Wrong::Answer { Value::Null } else { echo };
        node.reply(request, &Payload::EchoOk { echo });
        let text =
            if self.0 == Wrong::Random { OUTSIDE.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let to = if self.0 == Wrong::Address { "n99".into() } else { node.id().clone() };
        node.send(&to, &Payload::Note { text });
        Ok(())
    }
}

fn echo(faults: &[Fault]) -> Sweep {
    Sweep::new(workload::Echo::default(), faults.iter().copied())
}

#[test]
fn each_seed_switches_about_half_of_the_faults_on_and_they_are_counted() {
    let sweep = echo(&[Fault::Loss, Fault::Clock]);
    let summary = sweep.run_all(0..30, |_| Echo(Wrong::Nothing), |_| {}).unwrap();
    assert_eq!(summary.seeds, 30);
    assert!(summary.operations > 30 * 50 && summary.messages > 2 * summary.operations);
    let on = |fault: Fault| summary.faults.get(&fault).copied().unwrap_or(0);
    assert!((9..21).contains(&on(Fault::Loss)) && (9..21).contains(&on(Fault::Clock)));
    assert!((2..15).contains(&summary.faultless));
    assert_eq!(summary.faults.len(), 2);
    let both = on(Fault::Loss) + on(Fault::Clock) + summary.faultless - 30;
    let counted = (0..30).filter(|seed| sweep.test_for(*seed).options.nemesis.len() == 2).count();
    assert_eq!(both, counted as u64);

    let table = summary.table("echo");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let cell = |name: &str| rows[2][rows[0].iter().position(|cell| *cell == name).unwrap()];
    assert_eq!((cell("workload"), cell("seeds"), cell("crash")), ("echo", "30", "0"));
    assert_eq!(cell("loss"), on(Fault::Loss).to_string());
    assert_eq!(cell("no fault"), summary.faultless.to_string());
}

#[test]
fn whatever_goes_wrong_is_a_finding() {
    let echo = || echo(&[]);
    for (sweep, wrong, said) in [
        (echo(), Wrong::Answer, "Analysis invalid!"),
        (echo(), Wrong::Address, "n0 said: there is no n99 in the network"),
        (echo(), Wrong::Panic, "n0 panicked after 3."),
        (echo(), Wrong::Panic, "I have had enough"),
        // Without replies there is no wrong id, so the only finding is the silence.
        (
            Sweep::new(UniqueIds::default(), []),
            Wrong::Nothing,
            "n0 said: there is no n99 in the network",
        ),
        // This node does not know the request `topology`.
        (
            Sweep::new(Broadcast::default(), []),
            Wrong::Nothing,
            "n0 did not accept the workload's set-up",
        ),
    ] {
        let finding = sweep.run(3, |_| Echo(wrong)).unwrap_err();
        assert!(finding.text.contains(said), "{}", finding.text);
        // The command works wherever this test runs.
        let again = "SEED=3 RUST_LOG=debug cargo test -p maelstrom-sim \
                     sweep::tests::whatever_goes_wrong_is_a_finding -- --exact";
        assert!(finding.text.contains(again), "{}", finding.text);
    }
}

#[test]
fn nodes_that_answer_each_other_for_ever_end_the_run_and_are_named() {
    let Test { workload, options } = echo(&[]).test_for(3);
    let options = Options { latency: Latency::default(), ..options.with_node_count(2) };
    let text =
        simulate(Test { workload, options }, |_| Echo(Wrong::Storm)).failure().unwrap().to_string();
    let said = "nodes answer each other for ever while no time passes, after ";
    assert!(text.starts_with(said) && text.ends_with(" messages"), "{text}");
}

#[test]
fn a_panic_of_one_seed_is_the_finding_of_a_whole_sweep() {
    let finding = echo(&[]).run_all(0..4, |_| Echo(Wrong::Panic), |_| {}).unwrap_err();
    for part in ["seed 0: n", " panicked after 3.", "What the nemesis does:", "SEED=0 "] {
        assert!(finding.text.contains(part), "{}", finding.text);
    }
}

#[test]
#[should_panic(expected = "I have had enough")]
fn a_panic_outside_of_a_sweep_goes_on() {
    simulate(echo(&[]).test_for(3), |_| Echo(Wrong::Panic));
}

#[test]
fn a_seed_that_takes_too_much_is_given_up_and_the_busiest_node_is_named() {
    let budget = |messages, millis| Budget { messages, time: Duration::from_millis(millis) };
    let run = |budget| {
        simulate_within(budget, &Running::default(), echo(&[]).test_for(3), &mut |_, seed| {
            program(Echo(Wrong::Nothing), seed)
        })
    };
    assert_eq!(run(budget(u64::MAX, 600_000)).failure(), None);
    for small in [budget(100, 600_000), budget(u64::MAX, 0)] {
        let text = run(small).failure().unwrap().to_string();
        assert!(text.starts_with("given up after ") && text.contains(" of them from n"), "{text}");
    }
}

/// A counter for a single node.
struct Counter {
    sum: u64,
    /// Whether it accepts any request.
    takes: bool,
    /// The time from which it stays silent.
    until: Duration,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Count {
    Add { delta: u64 },
    AddOk,
    Read,
    ReadOk { value: u64 },
}

impl MessageHandler for Counter {
    type Payload = Count;
    type Event = ();

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Count,
    ) -> Result<(), Error> {
        let answer = match payload {
            Count::Add { delta } if self.takes => {
                self.sum += delta;
                Count::AddOk
            }
            Count::Read => Count::ReadOk { value: self.sum },
            _ => return Err(Error::temporarily_unavailable("not now, not ever")),
        };
        if node.now() < self.until {
            node.reply(request, &answer);
        }
        Ok(())
    }
}

/// The finding of a sweep with or without faults. The faults have no effect on a counter.
fn counted(with_fault: bool, takes: bool, until_s: u64) -> Option<String> {
    let until = Duration::from_secs(until_s);
    let sweep = Sweep::new(GCounter::default(), [Fault::Clock]);
    let fits = |seed: &u64| {
        let options = sweep.test_for(*seed).options;
        options.nodes.len() == 1 && options.nemesis.is_empty() != with_fault
    };
    let seed = (0..).find(fits).unwrap();
    let result = sweep.run(seed, |_| Counter { sum: 0, takes, until });
    result.err().map(|finding| finding.text)
}

#[test]
fn silence_when_all_faults_are_over_is_a_finding() {
    for with_fault in [true, false] {
        assert_eq!(counted(with_fault, true, 60), None);
        let text = counted(with_fault, true, 25).unwrap();
        assert!(
            text.contains("when all faults were over, read of process 0: net-timeout"),
            "{text}"
        );
    }
}

#[test]
fn only_faults_excuse_a_test_in_which_nothing_succeeded() {
    assert_eq!(counted(true, false, 60), None);
    let text = counted(false, false, 60).unwrap();
    assert!(text.contains("Analysis invalid"), "{text}");
}

#[test]
fn a_case_may_change_the_test_of_its_seed_and_its_finding_says_so() {
    let case = |wrong| {
        move |Test { workload, options }| Case {
            about: format!("seed {} with two nodes", options.seed),
            test: Test { workload, options: options.with_node_count(2) },
            build: move |_: &NodeId| Echo(wrong),
        }
    };
    let summary = echo(&[]).run_cases("pairs", 0..5, case(Wrong::Nothing), |_| {}).0;
    assert_eq!(summary.seeds, 5);
    let finding = echo(&[]).run_cases("pairs", 3..5, case(Wrong::Answer), |_| {}).1.unwrap();
    for part in ["pairs, seed 3: ", "2 nodes", "seed 3 with two nodes", "SEED=3 "] {
        assert!(finding.text.contains(part), "{}", finding.text);
    }
}

#[test]
fn silence_may_be_forgiven() {
    let until = Duration::from_secs(25);
    let run = |forgive_silence| {
        let sweep = Sweep::new(GCounter::default(), [Fault::Clock]);
        let fits = |seed: &u64| {
            let options = sweep.test_for(*seed).options;
            options.nodes.len() == 1 && !options.nemesis.is_empty()
        };
        let seed = (0..).find(fits).unwrap();
        let case = |mut test: Test| {
            test.options.forgive_silence = forgive_silence;
            Case::new(test, |_| Counter { sum: 0, takes: true, until })
        };
        sweep.run_cases("counter", seed..seed + 1, case, |_| {}).1.is_none()
    };
    assert_eq!((run(false), run(true)), (false, true));
}

#[test]
fn a_sweep_stops_at_its_first_finding_and_tells_the_smallest_seed() {
    let runs = AtomicU64::new(0);
    let done = |_| {
        runs.fetch_add(1, Ordering::Relaxed);
    };
    let finding = echo(&[]).run_all(7..5_000, |_| Echo(Wrong::Answer), done).unwrap_err();
    assert_eq!(finding.seed, 7);
    assert!(runs.into_inner() < 1_000);
}

#[test]
fn a_handler_that_keeps_to_its_input_gives_the_same_run_again() {
    echo(&[]).test_determinism(0..3, |_| Echo(Wrong::Nothing));
}

#[test]
#[should_panic(expected = "echo, seed 0: the messages of two runs differ")]
fn a_handler_that_does_not_is_found() {
    echo(&[]).test_determinism(0..3, |_| Echo(Wrong::Random));
}

#[test]
fn a_replay_keeps_schedule_history_messages_and_events() {
    let store = tempfile::tempdir().unwrap();
    let sweep = echo(&[Fault::Clock]);
    let seed = (0..).find(|seed| !sweep.test_for(*seed).options.nemesis.is_empty()).unwrap();
    let replay = |wrong| {
        let mut folder = Folder::new("echo", ("seed", seed), String::new());
        folder.dir = store.path().join(&folder.dir);
        Case::new(sweep.test_for(seed), |_| Echo(wrong)).replay("echo", &folder)
    };
    assert!(replay(Wrong::Answer).unwrap_err().contains("Analysis invalid!"));
    assert!(replay(Wrong::Panic).unwrap_err().contains(" panicked after 3."), "a panic, too");
    let text = replay(Wrong::Nothing).unwrap();
    let dir = store.path().join(format!("store/simulation/echo-{seed}"));
    assert!(text.contains(&dir.canonicalize().unwrap().display().to_string()), "{text}");
    let file = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert!(file("schedule.txt").contains("clock n"));
    for (name, field) in [("history.jsonl", "process"), ("messages.jsonl", "body")] {
        let file = file(name);
        let mut lines = file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert!(lines.all(|line| line[field] != Value::Null), "{name}");
    }
    assert!(file("events.jsonl").contains(r#""nemesis":{"clock":["n"#));
}

/// Set in the process in which a seed hangs.
const HANGS: &str = "MAELSTROM_SIM_TEST_HANGS";

#[test]
fn a_handler_that_never_returns_ends_the_process_and_is_named() {
    if std::env::var_os(HANGS).is_some() {
        let (options, patience) = (echo(&[]).test_for(3).options, Duration::from_millis(300));
        let watchdog = watch(patience, "echo", (&options, "about"), "again".into());
        simulate_within(BUDGET, &watchdog.running, echo(&[]).test_for(3), &mut |_, seed| {
            program(Echo(Wrong::Hang), seed)
        });
        return;
    }
    let name = "sweep::tests::a_handler_that_never_returns_ends_the_process_and_is_named";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([name, "--exact", "--nocapture"]).env(HANGS, "1").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101), "{stderr}");
    let (start, end) =
        ("echo, seed 3: the handler of n0, called after ", " has not returned for 300ms\n");
    assert!(stderr.contains(start) && stderr.contains(end), "{stderr}");
    let (plan, again) = stderr.split_once("\nabout\nWhat the nemesis does:\n").unwrap();
    assert!(
        plan.contains(" node, operations per second: ") && again.trim_end().ends_with("\nagain"),
        "{stderr}"
    );
}

#[test]
fn a_watch_ends_with_its_seed() {
    let watchdog = Watchdog::begin(Duration::from_millis(50), "echo, seed 3".into(), String::new);
    let running = Arc::downgrade(&watchdog.running);
    drop(watchdog);
    while running.upgrade().is_some() {
        std::thread::yield_now();
    }
}

mod smaller;
