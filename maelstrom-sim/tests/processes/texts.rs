//! Tests texts of nodes: however long they are and whatever they contain, a person sees one line.

use super::{Finished, Place};

/// A Python node that runs `odd` at the first request after `init`. `reply(body)` answers the
/// request; `say(line)` prints any line.
fn run(place: &Place, workload: &str, odd: &str) -> Finished {
    let text = format!(
        r#"#!/usr/bin/env python3
import json, sys

def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()

def send(dest, body):
    message = {{"src": me, "dest": dest, "body": body}}
    say(json.dumps(message, ensure_ascii=False))

def reply(body):
    send(request["src"], dict(body, in_reply_to=request["body"]["msg_id"]))

for line in sys.stdin:
    request = json.loads(line)
    if request["body"]["type"] == "init":
        me = request["body"]["node_id"]
        reply({{"type": "init_ok"}})
        continue
{odd}
"#
    );
    place.run(&place.script(&text), &format!("-w {workload} --node-count 1 --time-limit 1"))
}

/// Asserts that stdout and stderr are short and contain no control characters.
#[track_caller]
fn assert_calm(run: &Finished) -> String {
    let text = run.stdout() + &run.stderr();
    assert!(text.len() < 20_000, "{} bytes", text.len());
    let is_obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(is_obeyed), "{text:?}");
    text
}

#[test]
fn a_long_text_is_cut_wherever_it_appears() {
    let cases = [
        ("echo", r#"reply({"type": "echo_ok", "echo": "x" * 100_000})"#, "echos were refused"),
        ("echo", r#"reply({"type": "echo_ok", "echo": 1, "y" * 100_000: 1})"#, "has no place"),
        ("echo", r#"reply({"type": "error", "code": 11, "text": "z" * 100_000})"#, "zzz…"),
        ("echo", r#"send("c" * 100_000, {"type": "x"})"#, "there is no ccc"),
        ("echo", r#"send("lin-kv", {"type": "k" * 100_000})"#, "requests of type `kkk"),
        ("echo", r#"say(json.dumps("t" * 100_000))"#, "not a message (invalid type"),
        ("echo", r#"say(json.dumps({"src": me, "dest": me, "u" * 100_000: 1}))"#, "field `uuu"),
        ("unique-ids", r#"reply({"type": "generate_ok", "id": "i" * 100_000})"#, "the id \"iii"),
        (
            "g-set",
            r#"reply({"type": "read_ok", "value": [*range(99), "v" * 100_000]} if request["body"]["type"] == "read" else {"type": "add_ok"})"#,
            "nobody added it",
        ),
        ("g-set", r#"reply({"type": "o" * 100_000})"#, "type is not `"),
    ];
    let threads = cases.map(|(workload, odd, part)| {
        let script = format!("    {odd}");
        let thread = std::thread::spawn(move || {
            let place = Place::new();
            let finished = run(&place, workload, &script);
            (assert_calm(&finished), place)
        });
        (thread, odd, part)
    });
    for (thread, odd, part) in threads {
        let (text, place) = thread.join().unwrap();
        assert!(text.contains(part), "{odd}\n{text}");
        let results = std::fs::read(place.path("store/latest/results.json")).unwrap();
        assert!(results.len() < 200_000, "{odd}: {} bytes of results", results.len());
    }
}

#[test]
fn a_terminal_obeys_no_text_of_a_node() {
    let odd = r#""a\u001b[2Jb\u202ec\u0000\u009b""#;
    let init_refused = format!(
        r#"#!/bin/sh
read -r line
printf '\033[2Jstderr\033[1mbold\n' >&2
echo '{{"src":"n0","dest":"c0","body":{{"type":"error","text":{odd},"in_reply_to":1}}}}'
cat >/dev/null
"#
    );
    let place = Place::new();
    let bin = place.script(&init_refused);
    let text = assert_calm(&place.run(&bin, "-w echo --node-count 1 --time-limit 1 --log-stderr"));
    assert!(text.contains(r"\u{1b}[2Jstderrbold"), "{text}");
    for odd in [
        r#"    reply({"type": "echo_ok", "echo": "\x1b[2J\u202e\x9b"})"#,
        r#"    reply({"type": "error", "code": 11, "text": "\x1b[2J\u202e\x9b\n"})"#,
        r#"    say("\x1b[2J\0\u202e\x9b")"#,
        r#"    send("\x1b[2J\u202e\x9b", {"type": "\x1b[2J\u202e\x9b"})"#,
        r#"    send("lin-kv", {"type": "\x1b[2J\u202e\x9b"})"#,
    ] {
        let text = assert_calm(&run(&place, "echo", odd));
        assert!(text.contains(r"\u{202e}"), "{odd}\n{text}");
    }
}
