//! Tests that smaller runs are found, described, stored and replayed.

use std::path::Path;
use std::process::Output;

use super::*;

/// Set in a process in which a sweep fails. Names the bug of the node.
const FAILS: &str = "MAELSTROM_SIM_TEST_FAILS";

/// A sweep in which a broken node fails, with many irrelevant faults.
fn failing() -> Sweep {
    echo(&[Fault::Partition, Fault::Loss, Fault::Duplication, Fault::Slow, Fault::Clock])
}

/// A seed with many nodes and faults.
fn large_seed() -> u64 {
    let fits = |seed: &u64| {
        let options = failing().test_for(*seed).options;
        options.nodes.len() > 3 && options.nemesis.len() > 2
    };
    (0..).find(fits).unwrap()
}

fn shrunk(wrong: Wrong) -> (Finding, Shrunk) {
    let (sweep, limit) = (failing(), Duration::from_secs(60));
    let finding = *sweep.run(large_seed(), |_| Echo(wrong)).unwrap_err();
    let case = |test| Case::new(test, move |_: &NodeId| Echo(wrong));
    let shrunk = sweep.shrink("echo", &finding, limit, case).unwrap();
    (finding, shrunk)
}

#[test]
fn a_smaller_run_shows_the_same_with_a_tenth_of_the_messages_and_runs_again_from_its_file() {
    for wrong in [Wrong::Answer, Wrong::Panic, Wrong::Address] {
        let (finding, shrunk) = shrunk(wrong);
        let (before, after) = (shrunk.case.before, shrunk.case.after);
        assert!(after.messages * 10 <= before.messages, "{before}; {after}");
        assert!(before.faults > 5 && after.faults == 0 && after.nodes == 1, "{before}; {after}");
        assert!(after.operations <= 2, "{after}");
        assert_eq!((&shrunk.finding.kind, shrunk.finding.size), (&finding.kind, after));

        let folder = tempfile::tempdir().unwrap();
        let path = shrunk.case.write(folder.path()).unwrap();
        let saved = SavedCase::read(&path).unwrap();
        assert_eq!(saved, shrunk.case);
        let case = |test| Case::new(test, move |_: &NodeId| Echo(wrong));
        let again = failing().changed(saved.seed, &saved.changes, case);
        let again = *again.run("echo").unwrap_err();
        assert_eq!((again.kind, again.size), (finding.kind, after));
    }
}

#[test]
fn a_search_gives_the_same_run_every_time_and_none_without_time() {
    let (finding, first) = shrunk(Wrong::Answer);
    assert_eq!(first.case, shrunk(Wrong::Answer).1.case);
    let case = |test| Case::new(test, move |_: &NodeId| Echo(Wrong::Answer));
    assert!(failing().shrink("echo", &finding, Duration::ZERO, case).is_none());
}

#[test]
fn a_case_keeps_the_nodes_that_it_asks_for() {
    let case = |Test { workload, options }| {
        let nodes = options.nodes.len().max(3);
        let test = Test { workload, options: options.with_node_count(nodes) };
        let first = test.options.nodes[2].clone();
        Case::new(test, move |id: &NodeId| {
            Echo(if *id == first { Wrong::Answer } else { Wrong::Nothing })
        })
    };
    let finding = *case(failing().test_for(large_seed())).run("echo").unwrap_err();
    let smaller = failing().shrink("echo", &finding, Duration::from_secs(60), case).unwrap();
    assert_eq!(smaller.case.after.nodes, 3);
    assert_eq!(smaller.finding.kind, finding.kind);
}

#[test]
fn only_the_operations_that_are_asked_for_begin_and_are_the_same_ones() {
    let run = |operations: Option<&[u64]>| {
        let mut test = echo(&[]).test_for(3);
        test.options.operations = operations.map(|kept| kept.iter().copied().collect());
        let world = simulate(test, |_| Echo(Wrong::Nothing));
        let begun = world.history().client_ops().filter(|op| op.invocation.is_none());
        // A free client may begin one earlier.
        let begun = begun.map(|op| op.value.as_ref().unwrap().get().to_owned());
        (begun.collect::<Vec<_>>(), world.operations_drawn())
    };
    let (all, drawn) = run(None);
    assert_eq!((all.len() as u64, run(Some(&[])).0.len()), (drawn, 0));
    let (some, still_drawn) = run(Some(&[0, 7, 8, 1_000_000]));
    assert_eq!(some, [all[0].clone(), all[7].clone(), all[8].clone()]);
    assert!(still_drawn >= drawn);
}

/// The process that `output_of` starts runs this: a sweep that fails if the variable is set.
#[test]
fn fails_on_request() {
    let Ok(which) = std::env::var(FAILS) else { return };
    let node = |_: &NodeId| Echo(Wrong::Panic);
    match &*which {
        "plain" => failing().test(1, node),
        "hardware" => echo(&[Fault::Drift]).test(1, node),
        "named" => failing().named("calm").test(1, node),
        _ => failing().test_seeds("echo", [large_seed()], |test| Case::new(test, node)),
    }
}

/// Runs a process in `folder` in which a sweep fails, with this environment variable.
fn output_of(folder: &Path, variable: (&str, &str)) -> (bool, String) {
    let name = "sweep::tests::smaller::fails_on_request";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]).current_dir(folder);
    for other in ["SEED", "SEEDS", "SHRINK", "CASE"] {
        command.env_remove(other);
    }
    let Output { status, stdout, stderr } =
        command.env(FAILS, "1").env(variable.0, variable.1).output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (status.success(), text.concat())
}

#[test]
fn a_test_that_fails_tells_of_the_smaller_run_first_and_keeps_it_and_it_replays() {
    let (folder, seed) = (tempfile::tempdir().unwrap(), large_seed());
    let (is_ok, text) = output_of(folder.path(), ("SHRINK", ""));
    let path = folder.path().join(format!("store/shrunk/echo-{seed}.json"));
    let page = path.with_extension("").join("report.html");
    let parts = [
        "I have had enough",
        "\n1 node, operations per second: ",
        &format!("\nA report of it is in {}\n", page.canonicalize().unwrap().display()),
        "shows the same (panic: I have had enough)",
        "\nbefore: ",
        "\nafter:  ",
        &format!("The smaller run is in {}: ", path.canonicalize().unwrap().display()),
        "copy it to tests/regressions/",
        "CASE='",
        "The run of the seed itself:\n",
        &format!("SEED={seed} RUST_LOG=debug cargo test"),
    ];
    let mut rest = text.as_str();
    for part in parts {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} in {text}")).1;
    }
    // The panics of the candidates are not printed, only that of the seed and that of the test.
    assert!(!is_ok && text.matches(" panicked at ").count() <= 3, "{text}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("I have had enough") && html.contains("CASE="), "{html}");

    let (is_ok, text) = output_of(folder.path(), ("CASE", path.to_str().unwrap()));
    assert!(!is_ok && text.contains("I have had enough"), "{text}");
    assert!(folder.path().join(format!("store/simulation/echo-{seed}/history.jsonl")).exists());
}

#[test]
fn without_a_search_the_run_of_the_seed_itself_is_kept() {
    let (folder, seed) = (tempfile::tempdir().unwrap(), large_seed());
    let (is_ok, text) = output_of(folder.path(), ("SHRINK", "0"));
    assert!(!is_ok && text.contains("I have had enough"), "{text}");
    let (store, run) = (folder.path().join("store"), format!("simulation/echo-{seed}"));
    assert!(!text.contains("before: ") && !store.join("shrunk").exists(), "{text}");
    let page = store.join(&run).join("report.html").canonicalize().unwrap();
    assert!(text.contains(&format!("\nA report of it is in {}", page.display())), "{text}");
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("I have had enough"), "{html}");
    let command = std::fs::read_to_string(store.join(&run).join("replay.txt")).unwrap();
    assert!(command.contains(&format!("SEED={seed} ")) && command.ends_with(" --exact\n"));
    for file in ["schedule.txt", "history.jsonl", "messages.jsonl", "events.jsonl", "shiviz.log"] {
        assert!(store.join(&run).join(file).is_file(), "{file}");
    }
}

#[test]
fn sweeps_of_one_workload_keep_their_files_apart() {
    let folder = tempfile::tempdir().unwrap();
    for (which, name) in [("plain", "echo"), ("hardware", "echo-hardware"), ("named", "calm")] {
        let (is_ok, text) = output_of(folder.path(), (FAILS, which));
        assert!(!is_ok && text.contains(&format!("{name}, seed 0: ")), "{text}");
        let run = folder.path().join(format!("store/shrunk/{name}-0"));
        assert!(run.join("report.html").is_file(), "{text}");
        let case = SavedCase::read(&run.with_extension("json")).unwrap();
        assert_eq!(case.sweep, name);
    }
    assert_eq!(std::fs::read_dir(folder.path().join("store/shrunk")).unwrap().count(), 6);
}

#[test]
fn a_smaller_run_is_told_even_if_it_cannot_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("store"), "a file").unwrap();
    let (is_ok, text) = output_of(folder.path(), ("SHRINK", ""));
    assert!(!is_ok && text.contains("\nafter:  "), "{text}");
    assert!(text.contains("The smaller run could not be kept in store/shrunk/: "), "{text}");
    assert!(text.contains("The run of the seed itself:\n"), "{text}");
}

/// The text of the panic with which the regressions of a folder fail, if they do.
fn regressions(folder: &Path, wrong: Wrong) -> Option<String> {
    let run = || failing().test_regressions(folder, |_| Echo(wrong));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    result.err().map(|panic| crate::simulate::text_of(&panic))
}

#[test]
fn every_file_of_a_folder_runs_and_a_finding_of_any_fails() {
    let folder = tempfile::tempdir().unwrap();
    assert!(regressions(folder.path(), Wrong::Answer).unwrap().contains("there is no *.json in"));
    // The folder of another sweep, which this test would silently leave out.
    let inner = folder.path().join("echo-hardware");
    std::fs::create_dir(&inner).unwrap();
    assert!(
        regressions(folder.path(), Wrong::Answer).unwrap().contains("no test would run its files")
    );
    std::fs::remove_dir(inner).unwrap();
    let (_, shrunk) = shrunk(Wrong::Answer);
    let first = shrunk.case.write(folder.path()).unwrap();
    let second = folder.path().join("second.json");
    std::fs::copy(&first, &second).unwrap();
    std::fs::write(folder.path().join("README.md"), "not a case").unwrap();
    assert_eq!(regressions(folder.path(), Wrong::Nothing), None);
    let text = regressions(folder.path(), Wrong::Answer).unwrap();
    for part in [&*first.to_string_lossy(), "second.json", "Analysis invalid!", "CASE='"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_run_that_tells_nothing_passes_unless_its_finding_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (_, Shrunk { mut case, .. }) = shrunk(Wrong::Answer);
    case.changes.operations = Some([].into());
    case.write(folder.path()).unwrap();
    assert_eq!(regressions(folder.path(), Wrong::Answer), None);
    case.finding = Kind::new("unknown", "no operation succeeded");
    case.write(folder.path()).unwrap();
    let text = regressions(folder.path(), Wrong::Answer).unwrap();
    assert!(text.contains("no operation succeeded"), "{text}");
}

#[test]
fn files_and_folders_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let said = |wrong: &str| {
        let text = regressions(folder.path(), Wrong::Nothing).unwrap();
        assert!(text.contains("echo-1.json") && text.contains(wrong), "{text}");
    };
    let path = folder.path().join("echo-1.json");
    std::fs::write(&path, "{").unwrap();
    said("holds no case of a sweep: EOF");
    let (_, Shrunk { case, .. }) = shrunk(Wrong::Answer);
    let mut json = serde_json::to_value(&case).unwrap();
    json["changes"]["nodse"] = 3.into();
    std::fs::write(&path, json.to_string()).unwrap();
    said("unknown field `nodse`");
    json["changes"].as_object_mut().unwrap().remove("nodse");
    json["sweep"] = "pairs".into();
    std::fs::write(&path, json.to_string()).unwrap();
    said("is of the sweep pairs, not of echo");
    json["sweep"] = "echo".into();
    json["drawn"] = "9 nodes".into();
    std::fs::write(&path, json.to_string()).unwrap();
    said("the sweep draws something else for seed 0 than when this file was made");
    let nowhere = folder.path().join("nowhere");
    assert!(regressions(&nowhere, Wrong::Nothing).unwrap().contains("nowhere"));
}
