//! Handles SIGHUP, SIGINT (Ctrl-C), SIGQUIT and SIGTERM. The first signal ends a test in an orderly
//! way, and a second one ends it at once.
//!
//! Each node leads its own process group, so neither Ctrl-C nor the end of a terminal reaches it.
//! The checker must kill the nodes when it ends.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::process::kill_all;

/// A signal that asks this process to end.
///
/// ```
/// use maelstrom_sim::run::{Interrupt, Signal};
///
/// assert_eq!((Signal::Interrupt.name(), Signal::Interrupt.exit_code()), ("SIGINT", 130));
/// assert_eq!(Interrupt::never().received(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: the terminal was closed.
    Hangup,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGQUIT: Ctrl-\\.
    Quit,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hangup => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// The exit code of a process that this signal ended: 128 plus the signal's number.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Hangup => 129,
            Self::Interrupt => 130,
            Self::Quit => 131,
            Self::Terminate => 143,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    received: Option<Signal>,
    ends_at_once: bool,
}

/// Reports whether a signal has arrived that asks for an early end. [`Signal`] shows it in use.
#[derive(Debug, Default)]
pub struct Interrupt(Arc<Mutex<State>>);

impl Interrupt {
    /// An interrupt that never comes. Signals keep their effect.
    #[must_use]
    pub fn never() -> Self {
        Self::default()
    }

    /// Catches SIGHUP, SIGINT, SIGQUIT and SIGTERM from now on, for the whole process.
    ///
    /// A second signal kills all nodes and ends the process at once. A second SIGHUP does not,
    /// because both the shell and the system send one when a terminal is closed.
    ///
    /// On Linux, an ignored SIGHUP stays ignored, as `nohup` requires. Other systems do not report
    /// whether SIGHUP is ignored, so `nohup` has no effect there.
    ///
    /// # Errors
    ///
    /// If the system cannot install the handlers. Signals then keep their effect.
    pub fn catch_signals() -> io::Result<Self> {
        let interrupt = Self::default();
        let state = Arc::clone(&interrupt.0);
        system::catch(move |signal| {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if signal == Signal::Hangup && state.received == Some(Signal::Hangup) {
                return;
            }
            if state.ends_at_once || state.received.is_some() {
                kill_all();
                exit(signal);
            }
            state.received = Some(signal);
        })?;
        Ok(interrupt)
    }

    /// Tells that a test begins: the first signal ends it in an orderly way.
    pub fn begin(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ends_at_once = false;
    }

    /// The signal that asked for an end, if there was one.
    #[must_use]
    pub fn received(&self) -> Option<Signal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).received
    }

    /// Tells that the test is over: from now on the first signal ends the process at once. Returns
    /// the signal that came before.
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

    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;

    use super::Signal;

    pub(super) fn catch(handle: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM])?;
        if !ignores_hangup() {
            signals.add_signal(SIGHUP)?;
        }
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                handle(match signal {
                    SIGHUP => Signal::Hangup,
                    SIGINT => Signal::Interrupt,
                    SIGQUIT => Signal::Quit,
                    _ => Signal::Terminate,
                });
            }
        })?;
        Ok(())
    }

    /// Whether this process ignores SIGHUP. Only Linux reports that.
    fn ignores_hangup() -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // The lowest bit is signal 1, SIGHUP.
        mask.is_some_and(|mask| mask & 1 == 1)
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    use super::Signal;

    /// On this system Ctrl-C reaches the nodes too, and ends all of them.
    pub(super) fn catch(_handle: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
        Ok(())
    }
}
