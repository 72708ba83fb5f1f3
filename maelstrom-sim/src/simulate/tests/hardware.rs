//! Tests whole runs with slow, stalled and failing disks.

use super::*;
use crate::history::Process;

/// Persists each text that it echoes, and writes down its recovered records.
struct Keeper(Rc<RefCell<Vec<String>>>);

impl MessageHandler for Keeper {
    type Payload = Payload;
    type Event = ();

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.0.borrow_mut().push(String::from_utf8_lossy(record).into_owned());
        Ok(())
    }

    fn message(
        &mut self,
        node: &mut Node<()>,
        request: &Request,
        payload: Payload,
    ) -> Result<(), Error> {
        if let Payload::Echo { echo } = payload {
            node.persist(&echo);
            node.reply(request, &Payload::EchoOk { echo });
        }
        Ok(())
    }
}

/// Runs a keeper on one node under this schedule. Returns the world, and the keeper's recovered
/// records.
fn run_keeper(schedule: &[(u64, NemesisOp)]) -> (World, Vec<String>) {
    let recovered: Rc<RefCell<Vec<String>>> = Rc::default();
    let mut test = Test::new(Echo::default(), Options::default().with_node_count(1));
    test.options.rate = 20.0;
    test.options.time_limit = Duration::from_secs(20);
    test.options.sync_max = Some(Duration::from_millis(1));
    test.options.trace = true;
    test.options.forgive_late_replies = true;
    let events = schedule.iter().map(|(at, op)| (Duration::from_secs(*at), op.clone()));
    test.options.schedule = Some(events.collect());
    let world = simulate(test, |_| Keeper(Rc::clone(&recovered)));
    assert_eq!(world.failure(), None);
    let recovered = recovered.borrow().clone();
    (world, recovered)
}

/// The same. Returns the keeper's recovered records, its replies with their times in nanoseconds,
/// and the names of the actions of the nemesis.
fn kept(schedule: &[(u64, NemesisOp)]) -> (Vec<String>, Vec<(u64, String)>, Vec<String>) {
    let (world, recovered) = run_keeper(schedule);
    let replies = messages(&world).into_iter().filter(|it| it["body"]["type"] == "echo_ok");
    let reply = |it: Value| (it["time"].as_u64().unwrap(), it["body"]["echo"].to_string());
    let replies = replies.map(reply).collect();
    let ops = world.history().ops().iter().filter(|op| op.process == Process::Nemesis);
    let names = ops.map(|op| op.f.to_owned()).collect();
    (recovered, replies, names)
}

#[test]
fn a_failing_disk_ends_a_node_which_comes_back_after_the_repair_with_all_it_acknowledged() {
    let n0 = || NodeId::from("n0");
    let (recovered, replies, mut names) =
        kept(&[(5, NemesisOp::FailDisk(n0())), (10, NemesisOp::RepairDisk(n0()))]);
    names.dedup();
    assert_eq!(names, ["fail-disk", "crash", "repair-disk", "restart"]);
    // All replies before the repair are from before the fault.
    let before = replies.iter().take_while(|(at, _)| *at < 10_000_000_000).count();
    assert!(before > 20, "{before} of {} replies", replies.len());
    let texts: Vec<&String> = replies.iter().map(|(_, text)| text).collect();
    assert!(recovered.iter().zip(&texts[..before]).all(|(record, text)| record == *text));
    // Besides the acknowledged texts, it may have those of the sync that failed.
    assert!((before..before + 5).contains(&recovered.len()), "{before}, {}", recovered.len());
    assert!(replies.len() > before + 20, "it answers again");
}

#[test]
fn a_node_that_the_nemesis_kills_during_the_fault_is_not_started_by_the_repair_of_its_disk() {
    let n0 = || NodeId::from("n0");
    let names = kept(&[
        (5, NemesisOp::Crash(n0())),
        (6, NemesisOp::FailDisk(n0())),
        (8, NemesisOp::RepairDisk(n0())),
        (10, NemesisOp::Restart(n0())),
    ])
    .2;
    let mut once = names;
    once.dedup();
    assert_eq!(once, ["crash", "fail-disk", "repair-disk", "restart"]);
}

#[test]
fn a_stalled_disk_keeps_all_replies_back_until_it_goes_on() {
    let n0 = || NodeId::from("n0");
    let during = |schedule: &[(u64, NemesisOp)]| kept(schedule).1.len();
    let all = during(&[]);
    let until_the_end = during(&[(5, NemesisOp::StallDisk(n0()))]);
    let stalled = (5, NemesisOp::StallDisk(n0()));
    let resumed = during(&[stalled, (10, NemesisOp::ResumeDisk(n0()))]);
    assert!(until_the_end < all / 2, "{until_the_end} of {all}");
    assert!(resumed > until_the_end + 20, "{resumed}, {until_the_end}");
}

#[test]
fn a_node_comes_back_if_its_disk_goes_on_and_is_repaired_at_the_same_moment() {
    let n0 = || NodeId::from("n0");
    let (_, replies, names) = kept(&[
        (5, NemesisOp::StallDisk(n0())),
        (6, NemesisOp::FailDisk(n0())),
        (8, NemesisOp::ResumeDisk(n0())),
        (8, NemesisOp::RepairDisk(n0())),
    ]);
    let mut once = names;
    once.dedup();
    let all = ["stall-disk", "fail-disk", "resume-disk", "repair-disk", "crash", "restart"];
    assert_eq!(once, all);
    assert!(replies.iter().filter(|(at, _)| *at > 8_000_000_000).count() > 20);
}

/// The world once kept this `init` until something else happened, which took as long as 10 s.
#[test]
fn a_node_that_its_disk_ended_gets_init_at_once() {
    let n0 = || NodeId::from("n0");
    let (world, _) = run_keeper(&[
        (5, NemesisOp::StallDisk(n0())),
        (6, NemesisOp::FailDisk(n0())),
        (8, NemesisOp::ResumeDisk(n0())),
        (8, NemesisOp::RepairDisk(n0())),
    ]);
    let inits = messages(&world).into_iter().filter(|it| it["body"]["type"] == "init");
    let times: Vec<_> =
        inits.map(|it| (it["time"].clone(), it["ends"][0]["time"].clone())).collect();
    assert_eq!(times.len(), 2);
    assert!(times.iter().all(|(sent, delivered)| sent == delivered), "{times:?}");
}
