//! The floor of the processes: a loop that reads a line with serde_json, writes a reply, and
//! flushes when there is no more input.
//!
//! ```text
//! bench-processes floor [pad BYTES] [sync FILE]
//! ```
//!
//! With `pad`, replies are as long as those of the node. With `sync`, the requests are on disk
//! before their replies leave.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

#[derive(Deserialize, Serialize)]
struct Flat<'a, B> {
    #[serde(borrow)]
    src: &'a str,
    dest: &'a str,
    body: B,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    msg_id: Option<u64>,
    #[serde(borrow)]
    echo: Option<&'a RawValue>,
    #[serde(borrow)]
    txn: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Reply<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    in_reply_to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pad: Option<&'a RawValue>,
}

/// Replies until the input ends.
pub(crate) fn run(args: &[String]) -> io::Result<()> {
    let option = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at.checked_add(1)?)
    };
    let length = option("pad").and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
    let pad = RawValue::from_string(format!("\"{}\"", "x".repeat(length)))?;
    let pad = Some(&*pad).filter(|_| length > 0);
    let mut log = option("sync").map(File::create).transpose()?;
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let (mut line, mut out, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    let mut stdout = io::stdout().lock();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let flat: Flat<'_, Request<'_>> = serde_json::from_slice(&line)?;
        let kind = match flat.body.kind {
            "echo" => "echo_ok",
            "txn" => "txn_ok",
            _ => "done_ok",
        };
        let (in_reply_to, echo, txn) = (flat.body.msg_id, flat.body.echo, flat.body.txn);
        let body = Reply { kind, in_reply_to, echo, txn, pad };
        serde_json::to_writer(&mut out, &Flat { src: flat.dest, dest: flat.src, body })?;
        out.push(b'\n');
        if log.is_some() {
            requests.extend_from_slice(&line);
        }
        if input.buffer().is_empty() || out.len() > 1 << 16 {
            if let Some(file) = &mut log {
                file.write_all(&requests)?;
                file.sync_data()?;
                requests.clear();
            }
            // Not through the line buffer of the standard library.
            stdout.write_all(&out)?;
            stdout.flush()?;
            out.clear();
        }
    }
}
