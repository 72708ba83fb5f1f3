//! Tests with folders that several tests share: the data folder of nodes, and the store.

use std::path::Path;
use std::process::Command;

use super::{Finished, NODE, Place};

const ARGS: &str = "-w echo --node-count 1 --rate 20 --time-limit 1";

#[test]
fn a_data_folder_in_use_is_named_first_and_there_is_no_verdict() {
    let place = Place::new();
    // The output with which the nodes of this project exit in this case.
    let bin = place.script(
        "#!/bin/sh\nread -r line\n\
         echo 'Error: data/n0/records.redb: in use by another process' >&2\n\
         echo 'Stack backtrace:' >&2\n\
         for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do\n\
         printf '   %s: main\\n        at main.rs\\n' $i >&2\ndone\nexit 1\n",
    );
    let stderr = place.run(&bin, ARGS).crashed();
    let error = stderr.lines().skip_while(|line| !line.starts_with("error: ")).nth(1);
    assert!(error.unwrap().starts_with("Another process uses its data folder."), "{stderr}");
}

#[test]
fn a_data_folder_that_is_not_empty_is_named_in_a_warning() {
    let place = Place::new();
    let warnings = |data_dir: &Path| {
        let mut command = place.command(Path::new("/bin/sh"), ARGS);
        let output = command.args(["--", "-c", "exit 1", "--data-dir"]).arg(data_dir).output();
        let stderr = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
        let warnings = stderr.lines().filter(|line| line.starts_with("warning: "));
        warnings.map(str::to_owned).collect::<Vec<_>>()
    };
    let data = place.path("data");
    assert_eq!(warnings(&data), [""; 0]);
    std::fs::create_dir_all(data.join("n0")).unwrap();
    let text = format!(
        "warning: {} is not empty: nodes begin with data that an earlier run left; remove it for a \
         fresh run",
        data.display()
    );
    assert_eq!(warnings(&data), std::slice::from_ref(&text));
    // A relative path is relative to the temporary folder, in which nodes run.
    let temp_dir = std::env::temp_dir();
    if let Ok(relative) = data.strip_prefix(&temp_dir) {
        assert_eq!(warnings(relative), [text]);
    }
}

#[test]
fn a_store_that_is_a_dangling_link_is_named() {
    let place = Place::new();
    std::os::unix::fs::symlink("/no/such/store", place.path("store")).unwrap();
    let stderr = place.run(Path::new(NODE), ARGS).crashed();
    let why = "cannot create store/echo: store is a link to /no/such/store, which is not there";
    assert!(stderr.contains(why), "{stderr}");
}

#[test]
fn a_file_in_the_store_that_is_no_link_stays_and_the_test_runs() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("store/current")).unwrap();
    std::fs::write(place.path("store/latest"), "precious").unwrap();
    let run = place.run(Path::new(NODE), ARGS);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let stderr = run.stderr();
    let results = stderr.lines().find_map(|line| line.split_once(", results in "));
    let dir = results.unwrap().1;
    assert!(place.path(dir).join("results.json").is_file(), "{dir}");
    let warnings: Vec<&str> = stderr.lines().filter(|line| line.starts_with("warning")).collect();
    let warning = |link: &str| {
        format!(
            "warning: {link} does not point to this run, {dir}: it is no symbolic link; move it \
             away to have one"
        )
    };
    assert_eq!(warnings, [warning("store/current"), warning("store/latest")]);
    assert_eq!(std::fs::read_to_string(place.path("store/latest")).unwrap(), "precious");
    assert!(place.path("store/echo/latest/results.json").is_file(), "its own link is made");
}

#[test]
fn two_tests_at_once_do_not_get_into_each_others_way() {
    let place = Place::new();
    let runs = [1, 2, 3].map(|_| place.start(Path::new(NODE), ARGS));
    for run in runs {
        let run = super::Finished::of(run);
        assert_eq!(run.code(), Some(0), "{}", run.stderr());
        assert!(!run.stderr().contains("warning"), "{}", run.stderr());
    }
}

#[test]
fn a_bad_verdict_on_nodes_that_began_with_an_earlier_runs_data_is_none() {
    let place = Place::new();
    // Simulates a node that fails because of the data of an earlier run.
    let bin = place.script(&format!(
        "#!/bin/sh\n\
         if mkdir \"$2/n0\"; then exec {NODE}; fi\n\
         if mkdir \"$2/second\"; then exec {NODE}; fi\n\
         exec {NODE} --fault lying-echo\n"
    ));
    let data = place.path("data");
    std::fs::create_dir(&data).unwrap();
    let run = || {
        let mut command = place.command(&bin, ARGS);
        super::Finished(command.args(["--", "--data-dir"]).arg(&data).output().unwrap())
    };
    let first = run();
    assert_eq!(first.code(), Some(0), "{}", first.stderr());
    let second = run();
    assert_eq!(second.code(), Some(0), "a valid test stays valid: {}", second.stderr());
    let stderr = run().crashed();
    let text = format!(
        "error: there is no verdict: the nodes began with data that an earlier run left in {}, \
         which may be why the test is not valid; remove that folder and run the test again",
        data.display()
    );
    assert_eq!(stderr.lines().last(), Some(text.as_str()), "{stderr}");
}

/// Runs `maelstrom-sim replay` of a folder, from another folder than that of the run.
fn replay(folder: &Path) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"));
    command.current_dir(std::env::temp_dir()).arg("replay").arg(folder);
    Finished(command.output().unwrap())
}

#[test]
fn a_run_leaves_its_report_and_a_log_for_shiviz_and_its_folder_replays() {
    let place = Place::new();
    let run = place.run(Path::new(NODE), &format!("{ARGS} --trace"));
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let folder = |link: &str| std::fs::canonicalize(place.path(link)).unwrap();
    let first = folder("store/latest");
    let text = |file: &str| std::fs::read_to_string(first.join(file)).unwrap();
    let page = text("report.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("maelstrom-sim test"), "{page}");
    assert!(text("shiviz.log").contains("echo_ok"));

    let again = replay(&first);
    assert_eq!(again.code(), Some(0), "{}", again.stderr());
    let second = folder("store/latest");
    assert_ne!(first, second);
    for file in ["report.html", "shiviz.log", "results.json"] {
        assert!(second.join(file).is_file(), "{file}");
    }
    let seed = |run: &Path| {
        let text = std::fs::read_to_string(run.join("command.json")).unwrap();
        text.split_once("--seed").unwrap().1.to_owned()
    };
    assert_eq!(seed(&first), seed(&second));
}

#[test]
fn a_replay_without_a_folder_repeats_the_run_that_began_last() {
    let place = Place::new();
    let run = place.run(Path::new(NODE), ARGS);
    assert_eq!(run.code(), Some(0), "{}", run.stderr());
    let args = "-w unique-ids --node-count 1 --rate 20 --time-limit 1 --seed 77";
    place.run(&place.script("#!/bin/sh\nexit 3\n"), args).crashed();
    let again = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_maelstrom-sim"));
        Finished(command.current_dir(&place.0).arg("replay").output().unwrap()).stderr()
    };
    let crashed = again();
    assert!(crashed.contains("seed 77, results in store/unique-ids/"), "{crashed}");
    std::fs::remove_file(place.path("store/current")).unwrap();
    let finished = again();
    assert!(finished.contains(", results in store/echo/"), "{finished}");
}

#[test]
fn a_replay_of_a_run_of_a_sweep_prints_its_command() {
    let place = Place::new();
    let run = place.path("store/simulation/echo-42");
    std::fs::create_dir_all(&run).unwrap();
    let refused = replay(&run);
    assert_eq!(refused.code(), Some(255), "{}", refused.stderr());
    assert!(refused.stderr().contains("there is no command.json"), "{}", refused.stderr());
    std::fs::write(run.join("replay.txt"), "cd '/x' && SEED=42 cargo test sweep\n").unwrap();
    let printed = replay(&run);
    assert_eq!(printed.code(), Some(254), "{}", printed.stderr());
    assert_eq!(printed.stdout(), "cd '/x' && SEED=42 cargo test sweep\n");
    assert!(printed.stderr().contains("only a test of that crate"), "{}", printed.stderr());
}
