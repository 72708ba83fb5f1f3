//! Tests programs that cannot be started: the message names the cause and the remedy in one line.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::Place;

const ARGS: &str = "-w echo --node-count 1 --time-limit 1";

/// The error message when `bin` fails to start.
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
fn an_interpreter_that_is_no_program_is_named() {
    let place = Place::new();
    for (line, why) in [
        ("#!/\n", "asks for /, which is a folder; correct the line"),
        ("#!/etc/passwd\n", "asks for /etc/passwd, which is not executable"),
        ("#!/dev/null\n", "asks for /dev/null, which is no regular file"),
    ] {
        let error = refused(&place, &place.script(line));
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn windows_line_ends_are_named() {
    let place = Place::new();
    let error = refused(&place, &place.script("#!/bin/sh\r\nexit\r\n"));
    assert!(error.contains("save the file with Unix line ends"), "{error}");
}

#[test]
fn a_file_that_is_no_program_is_named() {
    let place = Place::new();
    let error = refused(&place, &place.script("\u{1}\u{2}\u{3}\n"));
    assert!(error.contains("it is no program of this system"), "{error}");
}

#[test]
fn a_pipe_is_named_and_not_read() {
    let place = Place::new();
    let bin = place.path("pipe");
    let made = Command::new("mkfifo").args(["-m", "755"]).arg(&bin).status();
    assert!(made.unwrap().success());
    let mut child = place.start(&bin, ARGS);
    super::wait_until("it does not wait for a writer", || child.try_wait().unwrap().is_some());
    let stderr = super::Finished::of(child).crashed();
    assert!(stderr.contains("it is no regular file"), "{stderr}");
}

#[test]
fn a_byte_order_mark_is_named() {
    let place = Place::new();
    let error = refused(&place, &place.script("\u{feff}#!/bin/sh\nexit\n"));
    assert!(error.contains("it begins with a byte order mark, which hides the #!"), "{error}");
}

#[test]
fn a_first_line_that_names_nothing_is_named() {
    let place = Place::new();
    for line in ["#!", "#!\n", "#! \t\n"] {
        let error = refused(&place, &place.script(line));
        assert!(error.contains("its first line names no program behind #!"), "{error}");
    }
}

#[test]
fn a_permission_that_only_others_have_is_named() {
    let place = Place::new();
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let folder = place.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let bin = folder.join("node");
    std::fs::write(&bin, "#!/bin/sh\n").unwrap();
    let set_mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let error = || {
        let mut command = place.command(&bin, ARGS);
        if is_root {
            // Root may do everything, so the test runs as another user.
            command.uid(65_534).gid(65_534);
        }
        super::Finished(command.output().unwrap()).crashed()
    };
    set_mode(place.0.path(), 0o777);
    let mode = if is_root { 0o744 } else { 0o655 };
    set_mode(&bin, mode);
    let stderr = error();
    let why = format!("permission denied: its mode {mode:o} lets only some users execute it");
    assert!(stderr.contains(&why), "{stderr}");
    set_mode(&bin, 0o755);
    set_mode(&folder, 0o644);
    let stderr = error();
    set_mode(&folder, 0o755);
    let why = format!("permission denied: this user may not enter the folder {}", folder.display());
    assert!(stderr.contains(&why), "{stderr}");
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
