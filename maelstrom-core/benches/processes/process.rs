//! A process that answers lines, and its cost.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The time that some requests took.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    /// From the first request to the last reply.
    pub(crate) wall: Duration,
    /// The processor time of the process. Zero where the system does not tell it.
    pub(crate) cpu: Duration,
}

/// A running process.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts a node that is alone, and waits for its first reply: the one to `init`.
    pub(crate) fn start(program: &Path, args: &[String]) -> io::Result<Self> {
        Self::start_among(program, args, r#"["n1"]"#)
    }

    /// Starts a node among others, as `node_ids` names them.
    pub(crate) fn start_among(program: &Path, args: &[String], node_ids: &str) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        let stdout = BufReader::with_capacity(1 << 16, stdout);
        let mut process = Self { child, stdin, stdout };
        let init = format!(
            r#"{{"src":"c0","dest":"n1","body":{{"type":"init","msg_id":1,"node_id":"n1","node_ids":{node_ids}}}}}"#
        );
        process.ask(format!("{init}\n").as_bytes()).map_err(|error| {
            io::Error::other(format!("{} {args:?} does not start: {error}", program.display()))
        })?;
        Ok(process)
    }

    /// Writes lines, and returns the next line that comes.
    pub(crate) fn ask(&mut self, line: &[u8]) -> io::Result<String> {
        self.stdin.write_all(line)?;
        self.read()
    }

    /// The next line.
    pub(crate) fn read(&mut self) -> io::Result<String> {
        let mut reply = String::new();
        if self.stdout.read_line(&mut reply)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(reply)
    }

    /// Sends all lines, without waiting, and waits for as many replies.
    pub(crate) fn bulk(&mut self, lines: &[String]) -> io::Result<Cost> {
        let text = lines.concat();
        let (begin, cpu) = (Instant::now(), self.cpu());
        let (stdin, stdout) = (&mut self.stdin, &mut self.stdout);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| stdin.write_all(text.as_bytes()));
            let (mut replies, mut buffer) = (0, vec![0; 1 << 16]);
            while replies < lines.len() {
                let count = stdout.read(&mut buffer)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                replies += buffer.iter().take(count).filter(|byte| **byte == b'\n').count();
            }
            writer.join().unwrap_or_else(|_| Err(io::Error::other("the writer panicked")))
        })?;
        Ok(Cost { wall: begin.elapsed(), cpu: self.cpu().saturating_sub(cpu) })
    }

    /// Sends each line when the reply to the one before has come.
    pub(crate) fn ping_pong(&mut self, lines: &[String]) -> io::Result<Cost> {
        let (begin, cpu) = (Instant::now(), self.cpu());
        for line in lines {
            self.ask(line.as_bytes())?;
        }
        Ok(Cost { wall: begin.elapsed(), cpu: self.cpu().saturating_sub(cpu) })
    }

    /// Ends the input, and waits until the process ends.
    pub(crate) fn end(self) -> io::Result<()> {
        let Self { mut child, stdin, stdout } = self;
        drop((stdin, stdout));
        child.wait().map(drop)
    }

    /// The processor time of all threads so far, as Linux tells it.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.child.id()));
        let Ok(tasks) = fs::read_dir(tasks) else { return Duration::ZERO };
        let nanos = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }
}
