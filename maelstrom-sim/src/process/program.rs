//! The program that runs a node, and why it cannot be started.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How much of a `#!` line is looked at. Linux reads 256 bytes.
const INTERPRETER_BYTES_MAX: u64 = 512;

/// Why the program cannot be started. No process of it runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such file.
    #[error("cannot find {0}: check --bin, and build the program first")]
    Missing(PathBuf),
    /// It is a folder.
    #[error("cannot start {0}: it is a folder; --bin takes the program itself")]
    Folder(PathBuf),
    /// It may not be executed.
    #[error("cannot start {0}: it is not executable; run `chmod +x` on it")]
    NotExecutable(PathBuf),
    /// It is a script, and there is nothing that its first line names.
    #[error(
        "cannot start {bin}: its first line asks for {interpreter}, which is not there; install \
         that, or correct the line"
    )]
    NoInterpreter {
        /// The script.
        bin: PathBuf,
        /// Its interpreter.
        interpreter: String,
    },
    /// It is a script, and its lines end as on Windows.
    #[error(
        "cannot start {0}: its first line ends in a carriage return; save the file with Unix line \
         ends (LF)"
    )]
    CarriageReturn(PathBuf),
    /// It is neither a program of this system nor a script.
    #[error(
        "cannot start {0}: it is no program of this system; a script needs a first line such as \
         #!/bin/sh"
    )]
    Format(PathBuf),
    /// The folder in which nodes run is not there.
    #[error(
        "cannot start nodes: the temporary folder {0}, in which they run, is not there; create it, \
         or set TMPDIR to a folder"
    )]
    NoTempDir(PathBuf),
    /// Any other reason.
    #[error("cannot start {0}: {1}")]
    Other(PathBuf, io::Error),
}

/// A program that is there, with its arguments.
#[derive(Clone, Debug)]
pub(super) struct Program {
    bin: PathBuf,
    args: Vec<String>,
}

impl Program {
    /// # Errors
    ///
    /// If there is no such file.
    pub(super) fn find(bin: &Path, args: &[String]) -> Result<Self, StartError> {
        let found = bin.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                StartError::Missing(bin.to_owned())
            }
            _ => StartError::Other(bin.to_owned(), error),
        })?;
        if found.is_dir() {
            return Err(StartError::Folder(bin.to_owned()));
        }
        Ok(Self { bin: found, args: args.to_vec() })
    }

    /// How to start it: in the temporary folder, as Maelstrom does.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.bin);
        command.args(&self.args).current_dir(std::env::temp_dir());
        command
    }

    /// Why it could not be started.
    pub(super) fn explain(&self, error: io::Error) -> StartError {
        let (bin, temp_dir) = (self.bin.clone(), std::env::temp_dir());
        if !temp_dir.is_dir() {
            return StartError::NoTempDir(temp_dir);
        }
        if is_not_executable(&bin) {
            return StartError::NotExecutable(bin);
        }
        if self.has_carriage_return() {
            return StartError::CarriageReturn(bin);
        }
        match (error.kind(), self.interpreter()) {
            (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, Some(interpreter)) => {
                StartError::NoInterpreter { bin, interpreter }
            }
            (io::ErrorKind::PermissionDenied, Some(interpreter))
                if !Path::new(&interpreter).is_file() =>
            {
                StartError::NoInterpreter { bin, interpreter }
            }
            _ if is_format_error(&error) => StartError::Format(bin),
            _ => StartError::Other(bin, error),
        }
    }

    /// Whether it is a script whose first line ends in a carriage return. `env` takes such a line and
    /// then finds no program of that name.
    pub(super) fn has_carriage_return(&self) -> bool {
        self.first_line().is_some_and(|line| line.ends_with(b"\r"))
    }

    /// Its interpreter, if it is a script.
    fn interpreter(&self) -> Option<String> {
        let line = String::from_utf8_lossy(&self.first_line()?).into_owned();
        line.split_whitespace().next().map(str::to_owned)
    }

    /// Its first line behind `#!`, if it is a script.
    fn first_line(&self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let file = File::open(&self.bin).ok()?;
        BufReader::new(file.take(INTERPRETER_BYTES_MAX)).read_until(b'\n', &mut line).ok()?;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        line.strip_prefix(b"#!").map(<[u8]>::to_vec)
    }
}

#[cfg(unix)]
fn is_not_executable(bin: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    bin.metadata().is_ok_and(|file| file.permissions().mode() & 0o111 == 0)
}

#[cfg(not(unix))]
fn is_not_executable(_bin: &Path) -> bool {
    false
}

#[cfg(unix)]
fn is_format_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

#[cfg(not(unix))]
fn is_format_error(_error: &io::Error) -> bool {
    false
}
