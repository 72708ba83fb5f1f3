//! The process's stdin and stdout, as fast as what they are allows.
//!
//! tokio reads and writes them on a thread of its own, which costs two switches of threads for a
//! lone message. Maelstrom gives a node two pipes, and those can be waited for. To read them without
//! blocking they are opened anew: `O_NONBLOCK` belongs to the open file, and whoever started the
//! node may hold the same one.
//!
//! The invariant: whatever stdin and stdout are, they are served; what is no pipe, or cannot be
//! opened again, goes through tokio's thread.

#![expect(clippy::disallowed_methods, reason = "this is where the driver's I/O comes from")]

use tokio::io::{AsyncRead, AsyncWrite};

/// What stdin says.
pub(crate) fn input() -> Box<dyn AsyncRead + Unpin> {
    #[cfg(target_os = "linux")]
    if let Ok(pipe) = pipes::input() {
        return Box::new(pipe);
    }
    Box::new(tokio::io::stdin())
}

/// What goes to stdout.
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

    /// Opening something else than a pipe could have effects.
    fn check(path: &str) -> io::Result<()> {
        let is_pipe = std::fs::metadata(path)?.file_type().is_fifo();
        if is_pipe { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
    }
}
