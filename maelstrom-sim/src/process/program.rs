//! The program of the nodes, and the reasons for which it cannot be started.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::shebang::{self, Shebang};

/// The reason why the program cannot be started. None of its processes runs.
/// [`ProcessOptions`](super::ProcessOptions) shows it in use.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file does not exist.
    #[error("cannot find {0}: check --bin, and build the program first")]
    Missing(PathBuf),
    /// It is a folder.
    #[error("cannot start {0}: it is a folder; --bin takes the program itself")]
    Folder(PathBuf),
    /// It is a pipe, a socket or a device.
    #[error("cannot start {0}: it is no regular file")]
    NotAFile(PathBuf),
    /// This user has no permission to execute it.
    #[error("cannot start {bin}: permission denied: {why}")]
    Forbidden {
        /// The program.
        bin: PathBuf,
        /// The missing permission, and the remedy.
        why: String,
    },
    /// It has no permission to be executed.
    #[error("cannot start {0}: it is not executable; run `chmod +x` on it")]
    NotExecutable(PathBuf),
    /// It is a script, and its interpreter does not exist.
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
    /// It is a script, and its interpreter is no program, or is not executable.
    #[error(
        "cannot start {bin}: its first line asks for {interpreter}, which {why}; correct the line"
    )]
    NoProgram {
        /// The script.
        bin: PathBuf,
        /// Its interpreter.
        interpreter: String,
        /// The reason.
        why: &'static str,
    },
    /// It is a script, and its first line names no interpreter.
    #[error(
        "cannot start {0}: its first line names no program behind #!; it must be one such as \
         #!/bin/sh"
    )]
    EmptyShebang(PathBuf),
    /// It is a script that begins with a byte order mark.
    #[error(
        "cannot start {0}: it begins with a byte order mark, which hides the #!; save the file as \
         UTF-8 without one"
    )]
    ByteOrderMark(PathBuf),
    /// It is a script with line ends as on Windows.
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
    /// The folder in which nodes run does not exist.
    #[error(
        "cannot start nodes: the temporary folder {0}, in which they run, is not there; create it, \
         or set TMPDIR to a folder"
    )]
    NoTempDir(PathBuf),
    /// Any other reason.
    #[error("cannot start {0}: {1}")]
    Other(PathBuf, io::Error),
}

/// An existing program, with its arguments.
#[derive(Clone, Debug)]
pub(super) struct Program {
    bin: PathBuf,
    args: Vec<String>,
}

impl Program {
    /// # Errors
    ///
    /// If the file does not exist or is not a regular file.
    pub(super) fn find(bin: &Path, args: &[String]) -> Result<Self, StartError> {
        let found = bin.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                StartError::Missing(bin.to_owned())
            }
            _ => forbidden_or_other(bin.to_owned(), error),
        })?;
        if found.is_dir() {
            return Err(StartError::Folder(bin.to_owned()));
        }
        // Checked before anything opens the file, because opening a named pipe would block.
        if !found.is_file() {
            return Err(StartError::NotAFile(bin.to_owned()));
        }
        Ok(Self { bin: found, args: args.to_vec() })
    }

    /// The command that starts it, in the temporary folder as in Maelstrom.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.bin);
        command.args(&self.args).current_dir(std::env::temp_dir());
        command
    }

    /// Explains why the program could not be started.
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
            (_, Some(interpreter)) if interpreter.is_empty() => StartError::EmptyShebang(bin),
            (io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, Some(interpreter)) => {
                StartError::NoInterpreter { bin, interpreter }
            }
            (io::ErrorKind::PermissionDenied, Some(interpreter)) => {
                let path = Path::new(&interpreter);
                if !path.exists() {
                    StartError::NoInterpreter { bin, interpreter }
                } else if let Some(why) = no_program(path) {
                    StartError::NoProgram { bin, interpreter, why }
                } else {
                    forbidden_or_other(bin, error)
                }
            }
            _ if is_format_error(&error) && shebang::is_behind_bom(&bin) => {
                StartError::ByteOrderMark(bin)
            }
            _ if is_format_error(&error) => StartError::Format(bin),
            _ => forbidden_or_other(bin, error),
        }
    }

    /// Whether it is a script whose first line ends in a carriage return. `env` accepts such a
    /// line, but then finds no program with that name.
    pub(super) fn has_carriage_return(&self) -> bool {
        Shebang::of(&self.bin).is_some_and(|line| line.has_carriage_return())
    }

    /// The program that the first line of a script passes to `env`, if `env` cannot find it.
    pub(super) fn missing_to_env(&self) -> Option<String> {
        let line = Shebang::of(&self.bin)?;
        let name = line.sought_by_env()?;
        // Nodes run in this folder.
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

/// The reason why no script can have this existing interpreter, if there is one.
fn no_program(interpreter: &Path) -> Option<&'static str> {
    if interpreter.is_dir() {
        Some("is a folder")
    } else if !interpreter.is_file() {
        Some("is no regular file")
    } else {
        is_not_executable(interpreter).then_some("is not executable")
    }
}

/// The error for a program that this user may not execute, if the missing permission is known.
fn forbidden_or_other(bin: PathBuf, error: io::Error) -> StartError {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    match if is_denied { missing_permission(&bin) } else { None } {
        Some(why) => StartError::Forbidden { bin, why },
        None => StartError::Other(bin, error),
    }
}

/// Describes the permission that this user lacks, and the remedy.
fn missing_permission(bin: &Path) -> Option<String> {
    let path = std::path::absolute(bin).ok()?;
    let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
    folders.reverse();
    let is_closed = |folder: &&Path| {
        let inside = folder.join(".").metadata();
        inside.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    match folders.into_iter().find(is_closed) {
        Some(folder) => Some(format!(
            "this user may not enter the folder {}; run `chmod +x` on it",
            folder.display()
        )),
        None => missing_mode(bin).map(|mode| {
            format!("its mode {mode:o} lets only some users execute it; run `chmod a+rx` on it")
        }),
    }
}

/// The mode of a file that some users may not execute.
#[cfg(unix)]
fn missing_mode(bin: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = bin.metadata().ok()?.permissions().mode() & 0o777;
    (mode & 0o111 != 0o111).then_some(mode)
}

#[cfg(not(unix))]
fn missing_mode(_bin: &Path) -> Option<u32> {
    None
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
