//! A client floods a node at full speed: with a limit, the node still answers other nodes soon.
//!
//! One thread writes all input, as one network does. It writes requests of the client as fast as
//! the pipe accepts them. In between, it writes a request of another node whenever one is due. The
//! latency of such a request is the time from when it was due to its reply, so it includes the wait
//! for the pipe.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::thread::spawn;
use std::time::{Duration, Instant};

use crate::support::{INIT, command, echo, message};

/// Requests per second that the client may send.
const LIMIT: usize = 10;

/// Number of requests of the other node, and the time between them.
const PEER_REQUESTS: usize = 10;
const PERIOD: Duration = Duration::from_millis(20);

/// The outcome of a flood.
struct Flood {
    /// The latencies of the other node's requests, in ascending order.
    latencies: Vec<Duration>,
    sent: usize,
    taken: usize,
    refused: usize,
    took: Duration,
}

impl Flood {
    fn median(&self) -> Duration {
        self.latencies[self.latencies.len() / 2]
    }
}

/// Floods a node that has these flags.
fn flood(args: &[&str]) -> Flood {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    writeln!(stdin, "{}", message("c0", INIT)).unwrap();
    let begin = Instant::now();
    let writer = spawn(move || {
        let mut due = Vec::new();
        let mut sent = 0;
        while due.len() < PEER_REQUESTS {
            let next = begin + PERIOD * u32::try_from(due.len() + 1).unwrap();
            if Instant::now() >= next {
                let id = due.len() as u64;
                due.push(next);
                writeln!(stdin, "{}", message("n2", &echo(id, "1"))).unwrap();
            } else {
                sent += 1;
                let body = format!(r#"{{"type":"big","msg_id":{sent},"bytes":100000}}"#);
                writeln!(stdin, "{}", message("c1", &body)).unwrap();
            }
        }
        (due, sent)
    });
    let (mut replies, mut taken, mut refused) = (Vec::new(), 0, 0);
    for line in stdout.split(b'\n') {
        let line = line.unwrap();
        let start = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
        replies.extend(start.contains(r#""dest":"n2""#).then(Instant::now));
        taken += usize::from(start.contains("big_ok"));
        refused += usize::from(start.contains(r#""code":11"#));
    }
    let took = begin.elapsed();
    assert!(child.wait().unwrap().success());
    let (due, sent) = writer.join().unwrap();
    assert_eq!(replies.len(), PEER_REQUESTS, "every request of the other node is answered");
    let mut latencies: Vec<Duration> =
        replies.iter().zip(&due).map(|(reply, due)| *reply - *due).collect();
    latencies.sort();
    Flood { latencies, sent, taken, refused, took }
}

#[test]
fn a_node_that_a_client_floods_answers_other_nodes_soon_if_the_client_has_a_limit() {
    let open = flood(&[]);
    let limit = LIMIT.to_string();
    let limited = flood(&["--max-client-requests-per-second", &limit]);
    for (name, flood) in [("without", &open), ("with", &limited)] {
        println!(
            "{name} a limit: {} requests, {} refused; a node waits {:?} (median), {:?} (longest)",
            flood.sent,
            flood.refused,
            flood.median(),
            flood.latencies.last().unwrap(),
        );
    }
    assert_eq!((open.taken, open.refused), (open.sent, 0));
    assert_eq!(limited.taken + limited.refused, limited.sent);
    let seconds = usize::try_from(limited.took.as_secs()).unwrap() + 1;
    assert!(limited.taken <= LIMIT * (seconds + 1), "{} were taken", limited.taken);
    assert!(limited.refused > 0, "nothing was refused");
    // On an idle machine the first is a tenth of the second, but other tests run at the same time.
    assert!(limited.median() < open.median());
}
