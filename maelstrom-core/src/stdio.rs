//! The process's stdin and stdout, read and written as efficiently as their type allows.
//!
//! tokio reads and writes them on a separate thread, which costs a lone message two thread
//! switches. Maelstrom gives a node two pipes, and a process can wait for pipes without a thread.
//! To read them without blocking, this module opens them again: `O_NONBLOCK` belongs to the open
//! file, which the process that started the node may share.
//!
//! The invariant: stdin and stdout work whatever their type. If one is no pipe, or cannot be opened
//! again, tokio's thread serves it. On systems other than Linux, that thread always serves them.

#![expect(clippy::disallowed_methods, reason = "this is where the driver's I/O comes from")]

use tokio::io::{AsyncRead, AsyncWrite};

/// The input of the process.
pub(crate) fn input() -> Box<dyn AsyncRead + Unpin> {
    #[cfg(target_os = "linux")]
    if let Ok(pipe) = pipes::input() {
        return Box::new(pipe);
    }
    Box::new(tokio::io::stdin())
}

/// The output of the process.
pub(crate) fn output() -> Box<dyn AsyncWrite + Unpin> {
    #[cfg(target_os = "linux")]
    if let Ok(pipe) = pipes::output() {
        return Box::new(pipe);
    }
    Box::new(tokio::io::stdout())
}

#[cfg(target_os = "linux")]
mod pipes {
    use std::io;
    use std::os::unix::fs::FileTypeExt;

    use tokio::net::unix::pipe::{OpenOptions, Receiver, Sender};

    const STDIN: &str = "/proc/self/fd/0";
    const STDOUT: &str = "/proc/self/fd/1";

    pub(super) fn input() -> io::Result<Receiver> {
        check(STDIN)?;
        OpenOptions::new().open_receiver(STDIN)
    }

    pub(super) fn output() -> io::Result<Sender> {
        check(STDOUT)?;
        OpenOptions::new().open_sender(STDOUT)
    }

    /// Refuses anything but a pipe: opening other files could have side effects.
    fn check(path: &str) -> io::Result<()> {
        let is_pipe = std::fs::metadata(path)?.file_type().is_fifo();
        if is_pipe { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }
}
