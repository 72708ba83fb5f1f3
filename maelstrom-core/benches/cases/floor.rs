//! The floors: serde_json reads the line into flat structs that borrow from it, and writes the
//! reply from such a struct.

use std::hint::black_box;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{COUNT, ECHO, READ, Run, SEND, broadcast_line, fail, gossip_line, thousand};

#[derive(Deserialize, Serialize)]
struct Flat<'a, B> {
    #[serde(borrow)]
    src: &'a str,
    dest: &'a str,
    body: B,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    msg_id: Option<u64>,
    #[serde(borrow)]
    echo: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    key: Option<&'a str>,
    msg: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct GossipBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    msg_id: Option<u64>,
    values: Vec<u64>,
}

#[derive(Serialize)]
struct Reply<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    in_reply_to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    echo: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a [u64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a RawValue>,
}

fn read<'a, T: Deserialize<'a>>(line: &'a str) -> T {
    match serde_json::from_slice(line.as_bytes()) {
        Ok(flat) => flat,
        Err(error) => fail(&format!("{error}: {line}")),
    }
}

/// Writes a line. Returns its length.
fn write(out: &mut Vec<u8>, value: &impl Serialize) -> usize {
    out.clear();
    if serde_json::to_writer(&mut *out, value).is_err() {
        fail("no JSON form");
    }
    out.push(b'\n');
    black_box(out).len()
}

/// Reads a request, and writes the reply that `answer` fills in.
fn answer<'a>(
    line: &'a str,
    out: &mut Vec<u8>,
    kind: &'a str,
    fill: impl FnOnce(&Body<'a>, &mut Reply<'a>),
) -> usize {
    let request: Flat<'_, Body<'_>> = read(line);
    black_box((request.body.kind, request.body.message));
    let mut body = Reply {
        kind,
        in_reply_to: request.body.msg_id,
        echo: None,
        offset: None,
        values: None,
        messages: None,
    };
    fill(&request.body, &mut body);
    write(out, &Flat { src: request.dest, dest: request.src, body })
}

pub(super) fn echo() -> Run {
    let mut out = Vec::new();
    Box::new(move || {
        answer(black_box(ECHO), &mut out, "echo_ok", |request, reply| reply.echo = request.echo)
    })
}

pub(super) fn gossip() -> Run {
    let line = gossip_line();
    Box::new(move || {
        let flat: Flat<'_, GossipBody<'_>> = read(black_box(&line));
        black_box((flat.src, flat.dest, flat.body.kind, flat.body.msg_id));
        black_box(flat.body.values).len()
    })
}

pub(super) fn encode() -> Run {
    let (mut out, numbers) = (Vec::new(), thousand());
    Box::new(move || {
        answer(black_box(COUNT), &mut out, "count_ok", |_, reply| {
            reply.values = Some(black_box(&numbers));
        })
    })
}

/// Keeps the message in a list.
pub(super) fn kafka_send() -> Run {
    let (mut out, mut log) = (Vec::new(), Vec::<Box<RawValue>>::new());
    Box::new(move || {
        answer(black_box(SEND), &mut out, "send_ok", |request, reply| {
            black_box(request.key);
            reply.offset = Some(log.len());
            log.extend(request.msg.map(ToOwned::to_owned));
        })
    })
}

/// Copies the text of all values.
pub(super) fn broadcast_read() -> Run {
    let mut out = Vec::new();
    let Ok(text) = serde_json::value::to_raw_value(&thousand()) else { fail("no JSON form") };
    Box::new(move || {
        answer(black_box(READ), &mut out, "read_ok", |_, reply| {
            reply.messages = Some(black_box(&text));
        })
    })
}

/// Keeps the values in a list, writes it as one line, and reads that line.
pub(super) fn broadcast_batch() -> Run {
    let (mut out, mut batch, mut next_value) = (Vec::new(), Vec::new(), 0_u64);
    Box::new(move || {
        let mut values = Vec::<u64>::new();
        for _ in 0..1_000 {
            let line = broadcast_line(next_value);
            next_value = next_value.saturating_add(1);
            answer(&line, &mut out, "broadcast_ok", |request, _| {
                values.extend(request.message.and_then(|value| value.get().parse::<u64>().ok()));
            });
        }
        let body = Reply {
            kind: "gossip",
            in_reply_to: None,
            echo: None,
            offset: None,
            values: Some(&values),
            messages: None,
        };
        write(&mut batch, &Flat { src: "n1", dest: "n2", body });
        let Ok(text) = std::str::from_utf8(&batch) else { fail("not UTF-8") };
        let flat: Flat<'_, GossipBody<'_>> = read(text);
        black_box(flat.body.values).len()
    })
}
