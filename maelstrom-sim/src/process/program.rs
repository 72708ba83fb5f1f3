//! The program that runs a node, and why it cannot be started.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shebang::Shebang;

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
        let interpreter = Shebang::of(&bin).map(|line| line.interpreter().to_owned());
        if interpreter.as_ref().is_some_and(|interpreter| interpreter.ends_with('\r')) {
            return StartError::CarriageReturn(bin);
        }
        match (error.kind(), interpreter) {
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
        Shebang::of(&self.bin).is_some_and(|line| line.has_carriage_return())
    }

    /// The program that its first line asks `env` for, if it is a script and `env` cannot find that.
    pub(super) fn missing_to_env(&self) -> Option<String> {
        let line = Shebang::of(&self.bin)?;
        let name = line.sought_by_env()?;
        // Nodes run there.
        let temp_dir = std::env::temp_dir();
        let is_there = if name.contains('/') {
            temp_dir.join(name).exists()
        } else {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).any(|dir| temp_dir.join(dir).join(name).exists())
        };
        (!is_there).then(|| name.to_owned())
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
