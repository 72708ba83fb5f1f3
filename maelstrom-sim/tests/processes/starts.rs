//! A program that cannot be started: the message names the cause and the remedy, in one line.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Place;

const ARGS: &str = "-w echo --node-count 1 --time-limit 1";

/// The error of the failed start of `bin`.
#[track_caller]
fn refused(place: &Place, bin: &Path) -> String {
    let stderr = place.run(bin, ARGS).crashed();
    let errors: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("seed ")).collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    errors.concat()
}

#[test]
fn a_missing_file_is_named() {
    let error = refused(&Place::new(), Path::new("target/no-such-node"));
    assert_eq!(
        error,
        "error: cannot find target/no-such-node: check --bin, and build the program first"
    );
}

#[test]
fn a_folder_is_named() {
    let place = Place::new();
    let error = refused(&place, place.0.path());
    assert!(error.contains("it is a folder; --bin takes the program itself"), "{error}");
}

#[test]
fn a_file_that_is_not_executable_is_named() {
    let place = Place::new();
    let bin = place.script("#!/bin/sh\n");
    std::fs::set_permissions(&bin, PermissionsExt::from_mode(0o644)).unwrap();
    let error = refused(&place, &bin);
    assert!(error.contains("it is not executable; run `chmod +x` on it"), "{error}");
}

#[test]
fn a_missing_interpreter_is_named() {
    let place = Place::new();
    for line in ["#! /no/such/python3 -u\n", "#!/no/such/python3 -u\r\n"] {
        let error = refused(&place, &place.script(line));
        assert!(error.contains("its first line asks for /no/such/python3,"), "{error}");
    }
}

#[test]
fn windows_line_ends_are_named() {
    let place = Place::new();
    let error = refused(&place, &place.script("#!/bin/sh\r\nexit\r\n"));
    assert!(error.contains("save the file with Unix line ends"), "{error}");
}

#[test]
fn what_is_no_program_is_named() {
    let place = Place::new();
    let error = refused(&place, &place.script("\u{1}\u{2}\u{3}\n"));
    assert!(error.contains("it is no program of this system"), "{error}");
}

#[test]
fn a_missing_temporary_folder_is_named() {
    let place = Place::new();
    let bin = place.script("#!/bin/sh\n");
    let gone = place.path("gone");
    let run = place.command(&bin, ARGS).env("TMPDIR", &gone).output().unwrap();
    let stderr = super::Finished(run).crashed();
    let folder = format!("the temporary folder {}, in which they run", gone.display());
    assert!(stderr.contains(&folder), "{stderr}");
    assert!(stderr.contains("set TMPDIR"), "{stderr}");
}
