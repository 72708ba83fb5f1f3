//! Ctrl-C and SIGTERM: the first one ends a test in order, a second one ends it at once.
//!
//! Nodes are in process groups of their own, so Ctrl-C on a terminal does not reach them: whoever
//! ends the test has to kill them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::process::kill_all;

/// A signal that asks this process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code of a process that it ended: 128 and the signal's number.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    received: Option<Signal>,
    ends_at_once: bool,
}

/// Tells whether a signal asked for an early end.
#[derive(Debug, Default)]
pub struct Interrupt(Arc<Mutex<State>>);

impl Interrupt {
    /// One that never comes: signals do what they did before.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Catches SIGINT and SIGTERM from now on, for the whole process.
    ///
    /// A second signal kills all nodes and ends the process at once.
    ///
    /// # Errors
    ///
    /// If the system cannot do that. Signals then do what they did before.
    pub fn catch_signals() -> io::Result<Self> {
        let interrupt = Self::default();
        let state = Arc::clone(&interrupt.0);
        system::catch(move |signal| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.ends_at_once || state.received.is_some() {
                kill_all();
                exit(signal);
            }
            state.received = Some(signal);
        })?;
        Ok(interrupt)
    }

    /// A test begins: the first signal ends it in order.
    pub fn begin(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ends_at_once = false;
    }

    /// The signal that asked for the end, if one did.
    #[must_use]
    pub fn received(&self) -> Option<Signal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).received
    }

    /// The test is over: from now on the first signal ends the process at once. Returns the one that
    /// came before.
    pub fn end_at_once(&self) -> Option<Signal> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.ends_at_once = true;
        state.received
    }
}

fn exit(signal: Signal) -> ! {
    std::process::exit(signal.exit_code().into())
}

#[cfg(unix)]
mod system {
    use std::io;

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    use super::Signal;

    pub(super) fn catch(handle: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                handle(if signal == SIGINT { Signal::Interrupt } else { Signal::Terminate });
            }
        })?;
        Ok(())
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use super::Signal;

    /// Here Ctrl-C reaches the nodes, too, and ends all of them.
    pub(super) fn catch(_handle: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
        Ok(())
    }
}
