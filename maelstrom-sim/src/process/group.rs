//! The process group of a node: the program, and all processes that it starts.
//!
//! A node is often a script that starts the real program as its child. So signals go to the whole
//! group. A program that moves to another group (a daemon, a shell with job control) escapes.
//!
//! # Invariants
//!
//! * A group receives signals only until its leader is reaped. Until then the system gives the
//!   group's id to no other process.
//! * [`kill_all`] reaches every group whose leader is not reaped yet, from any thread.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How often to poll whether a process has exited.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// A process group and the process that leads it.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
    status: Option<ExitStatus>,
}

impl Group {
    /// Starts a process as the leader of a new group.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        Ok(Self { leader: system::spawn(command)?, status: None })
    }

    /// The leader, for its pipes.
    pub(super) const fn leader(&mut self) -> &mut Child {
        &mut self.leader
    }

    /// Pauses or resumes all processes of the group.
    pub(super) fn set_paused(&self, is_paused: bool) -> io::Result<()> {
        if self.status.is_some() { Ok(()) } else { system::set_paused(&self.leader, is_paused) }
    }

    /// Whether the leader has exited.
    pub(super) fn has_exited(&mut self) -> bool {
        self.status.is_some() || system::has_exited(&mut self.leader)
    }

    /// Waits until the leader exits by itself, kills the rest of the group, and returns the exit
    /// status. `None`: the leader did not exit within `patience`, or was killed before.
    pub(super) fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + patience;
        while !self.has_exited() {
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(POLL_EVERY);
        }
        self.kill();
        self.status
    }

    /// Sends SIGKILL to all processes of the group, even paused ones, and reaps the leader.
    pub(super) fn kill(&mut self) {
        if self.status.is_some() {
            return;
        }
        system::kill(&mut self.leader);
        self.status = self.leader.wait().ok();
    }
}

/// Sends SIGKILL to all groups, for an immediate end.
///
/// ```
/// # use std::time::Duration;
/// # use maelstrom_sim::options::node_names;
/// # use maelstrom_sim::process::{ProcessEvent, ProcessOptions, Processes};
/// # if cfg!(unix) {
/// # let folder = tempfile::tempdir()?;
/// # let (bin, log_dir) = ("/bin/cat".into(), folder.path().join("node-logs"));
/// # let options = ProcessOptions { bin, args: Vec::new(), log_dir, log_stderr: false };
/// let processes = Processes::start(&options, &node_names(1))?;
/// maelstrom_sim::process::kill_all();
/// let event = processes.next_event(Duration::from_secs(60));
/// assert!(matches!(event, Some(ProcessEvent::Closed(_))));
/// # }
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn kill_all() {
    system::kill_all();
}

/// From now on a panic kills all groups. If a panic aborts the process, no destructor runs, so
/// destructors cannot do it.
///
/// ```
/// # use std::time::Duration;
/// # use maelstrom_sim::options::node_names;
/// # use maelstrom_sim::process::{ProcessEvent, ProcessOptions, Processes};
/// # if cfg!(unix) {
/// # let folder = tempfile::tempdir()?;
/// # let (bin, log_dir) = ("/bin/cat".into(), folder.path().join("node-logs"));
/// # let options = ProcessOptions { bin, args: Vec::new(), log_dir, log_stderr: false };
/// maelstrom_sim::process::kill_all_on_panic();
/// let processes = Processes::start(&options, &node_names(1))?;
/// std::thread::spawn(|| panic!("a bug")).join().expect_err("it panics");
/// let event = processes.next_event(Duration::from_secs(60));
/// assert!(matches!(event, Some(ProcessEvent::Closed(_))));
/// # }
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn kill_all_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        kill_all();
        before(info);
    }));
}

#[cfg(unix)]
mod system {
    use std::collections::BTreeSet;
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use rustix::process::{
        Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
    };

    /// The groups whose leaders are not reaped yet.
    static LIVE: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

    fn live() -> MutexGuard<'static, BTreeSet<i32>> {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        // Holds the lock, so that `kill_all` does not miss a process that is just starting.
        let mut live = live();
        let child = command.process_group(0).spawn()?;
        live.insert(Pid::from_child(&child).as_raw_pid());
        Ok(child)
    }

    pub(super) fn set_paused(leader: &Child, is_paused: bool) -> io::Result<()> {
        let signal = if is_paused { Signal::STOP } else { Signal::CONT };
        Ok(kill_process_group(Pid::from_child(leader), signal)?)
    }

    /// Whether the leader has exited. Does not reap it.
    pub(super) fn has_exited(leader: &mut Child) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(Pid::from_child(leader)), options);
        // An error means that the child does not exist any more.
        !matches!(status, Ok(None))
    }

    pub(super) fn kill(leader: &mut Child) {
        let id = Pid::from_child(leader);
        let mut live = live();
        if live.remove(&id.as_raw_pid()) {
            // Fails on some systems if all processes of the group have exited.
            kill_process_group(id, Signal::KILL).ok();
            // Reaches a leader that has left its own group.
            kill_process(id, Signal::KILL).ok();
        }
    }

    pub(super) fn kill_all() {
        for id in live().iter().copied().filter_map(Pid::from_raw) {
            kill_process_group(id, Signal::KILL).ok();
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;
    use std::process::{Child, Command};

    pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
        command.spawn()
    }

    pub(super) fn set_paused(_leader: &Child, _is_paused: bool) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system cannot pause processes"))
    }

    pub(super) fn has_exited(leader: &mut Child) -> bool {
        !matches!(leader.try_wait(), Ok(None))
    }

    pub(super) fn kill(leader: &mut Child) {
        leader.kill().ok();
    }

    pub(super) fn kill_all() {}
}
