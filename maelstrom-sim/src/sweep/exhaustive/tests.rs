//! Exhaustive runs: each combination of deliveries runs once, and a replay repeats it.

use maelstrom_core::{Error, Node, Request};
use serde::{Deserialize, Serialize};

use super::*;
use crate::options::Options;
use crate::workload::Echo;

/// The node that gets the first echo sends notes 1, 2 and 3 to the other one.
#[derive(Default)]
struct Notes {
    has_sent: bool,
    seen: Vec<u64>,
    /// The notes, in the order of their arrival, that make the node panic.
    deadly: &'static [u64],
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Echo { echo: serde_json::Value },
    EchoOk { echo: serde_json::Value },
    Note { number: u64 },
}

impl MessageHandler for Notes {
    type Payload = Payload;
    type Event = ();

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        match payload {
            Payload::Echo { echo } => {
                node.reply(request, &Payload::EchoOk { echo });
                if !std::mem::replace(&mut self.has_sent, true) {
                    (1..=3).for_each(|number| node.send(&"n1".into(), &Payload::Note { number }));
                }
            }
            Payload::Note { number } => {
                self.seen.push(number);
                assert_ne!(self.seen, self.deadly, "a deadly order");
            }
            Payload::EchoOk { .. } => {}
        }
        Ok(())
    }
}

/// One client, of the first node.
fn tiny() -> Exhaustive {
    let options = Options { rate: 10.0, time_limit: Duration::from_secs(1), ..Options::default() };
    let options = Options { concurrency: 1, ..options.with_node_count(2) };
    Exhaustive::new(Test::new(Echo::default(), options))
}

fn notes(deadly: &'static [u64]) -> impl Fn(&NodeId) -> Notes + Sync {
    move |_| Notes { deadly, ..Notes::default() }
}

#[test]
fn each_combination_of_three_messages_is_run_once() {
    for (depth, runs, whole) in [(0, 1, 0), (1, 3, 0), (2, 9, 0), (3, 27, 0), (4, 27, 27)] {
        let explored = tiny().with_depth(depth).explore("tiny", notes(&[9])).unwrap();
        assert_eq!(explored, Explored { runs, whole }, "{depth}");
    }
    let explored = tiny().with_deliveries([Delivery::Twice]).explore("tiny", notes(&[9])).unwrap();
    assert_eq!(explored, Explored { runs: 8, whole: 8 });
}

#[test]
fn two_late_messages_arrive_in_both_orders_if_asked() {
    assert!(tiny().explore("tiny", notes(&[3, 2, 1])).is_ok());
    let both = tiny().with_late_orders();
    let finding = both.explore("tiny", notes(&[3, 2, 1])).unwrap_err();
    assert!(finding.text.contains("CHOICES=23 "), "{}", finding.text);
    // Of the 64 combinations, those count whose message that is late by less follows a late one.
    let explored = both.with_depth(3).explore("tiny", notes(&[9])).unwrap();
    assert_eq!(explored, Explored { runs: 36, whole: 0 });
}

#[test]
fn a_fault_that_needs_one_order_is_found_and_its_choices_are_named() {
    for (deadly, choices) in [(&[2, 3, 1], "2"), (&[1, 3, 2], "02"), (&[3, 1, 2], "22")] {
        let finding = tiny().explore("tiny", notes(deadly)).unwrap_err();
        assert!(finding.text.contains("a deadly order"), "{}", finding.text);
        assert!(finding.text.contains(&format!("CHOICES={choices} ")), "{}", finding.text);
    }
    let twice = tiny().with_deliveries([Delivery::Twice]);
    let finding = twice.explore("tiny", notes(&[1, 2, 2])).unwrap_err();
    assert!(finding.text.contains("CHOICES=01 "), "{}", finding.text);
    assert!(twice.explore("tiny", notes(&[2])).is_ok());
}

#[test]
fn a_replay_has_the_messages_of_its_choices() {
    let mut test = tiny().case(&[2, 0, 1], &notes(&[9])).test;
    let late = Delivery::Late(Duration::from_millis(250));
    assert_eq!(test.options.deliveries, [late, Delivery::Prompt, Delivery::Lost]);
    test.options.trace = true;
    let world = crate::simulate::simulate(test, notes(&[9]));
    let servers = world.net_stats().servers;
    assert_eq!((servers.sent, servers.received, world.choices_made()), (3, 2, 3));
}

/// Set in a process in which an exhaustive test fails.
const FAILS: &str = "MAELSTROM_SIM_TEST_EXHAUSTIVE_FAILS";

/// The process that the next test starts runs this.
#[test]
fn fails_on_request() {
    if std::env::var_os(FAILS).is_some() {
        tiny().test("tiny", notes(&[1, 3, 2]));
    }
}

/// Runs a process in `folder` in which the test fails.
#[expect(clippy::disallowed_methods, reason = "the test keeps files in its working directory")]
fn output_in(folder: &std::path::Path, variables: &[(&str, &str)]) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let name = "sweep::exhaustive::tests::fails_on_request";
    command.args([name, "--exact", "--nocapture"]).current_dir(folder).env(FAILS, "1");
    command.env_remove("DEPTH").env_remove("CHOICES").envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_finding_leaves_a_report_of_the_order_that_led_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = output_in(folder.path(), &[]);
    let run = folder.path().join("store/simulation/tiny-02");
    let page = run.join("report.html").canonicalize().unwrap();
    assert!(text.contains(&format!("\nA report of it is in {}", page.display())), "{text}");
    let html = std::fs::read_to_string(&page).unwrap();
    let (_, table) = html.split_once("The order of delivery").unwrap();
    let (table, _) = table.split_once("</table>").unwrap();
    let rows: Vec<&str> = table.split("<tr>").skip(2).collect();
    let parts = [
        ["in time", "(no. 1)", "&quot;number&quot;:1}"],
        ["late by 250ms", "(no. 3)", "&quot;number&quot;:2}"],
        ["in time", "(no. 2)", "&quot;number&quot;:3}"],
    ];
    assert_eq!(rows.len(), parts.len(), "{table}");
    for (row, parts) in rows.iter().zip(parts) {
        assert!(parts.iter().all(|part| row.contains(part)), "{row}");
    }
    let command = std::fs::read_to_string(run.join("replay.txt")).unwrap();
    assert!(command.contains("CHOICES=02 "), "{command}");

    std::fs::remove_file(&page).unwrap();
    let text = output_in(folder.path(), &[("CHOICES", "02")]);
    assert!(text.contains("a deadly order") && page.exists(), "{text}");
}
