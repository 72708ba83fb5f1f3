//! Lines: the node skips a line that is not a message, and serves the next one.

use crate::support::{Process, echo, echo_ok, message, reply};

/// The default limit on a line: 16 MiB, without its newline.
const LINE_BYTES_MAX: usize = 16 << 20;

/// A value that makes the line of an echo request with this id exactly `line_bytes` long.
fn filling(msg_id: u64, line_bytes: usize) -> String {
    let rest = message("c1", &echo(msg_id, "\"\"")).len();
    format!("\"{}\"", "a".repeat(line_bytes - rest))
}

#[test]
fn lines_that_are_not_messages_are_skipped_and_logged() {
    let bad = [
        "hello",
        "{",
        "}",
        "{}",
        "[]",
        "null",
        "17",
        "\"a text\"",
        r#"{"src":"c1","dest":"n1","body":{"type":"echo","msg_id":1,"echo":}}"#,
        r#"{"src":"c1","dest":"n1","body":{"type":"echo","msg_id":1,"echo":1}} and more"#,
        r#"{"src":"c1","dest":"n1","body":{"type":"echo","msg_id":1,"echo":01}}"#,
        r#"{"src":"c1","dest":"n1","body":{"type":"echo","msg_id":1,"echo":NaN}}"#,
        r#"{'src':'c1','dest':'n1','body':{'type':'echo','msg_id':1,'echo':1}}"#,
        r#"["c1","n1",{"type":"echo","msg_id":1,"echo":1}]"#,
        "\u{feff}{}",
        "\0",
        "🦀",
    ];
    let process = Process::started();
    for line in bad {
        process.send_line(line);
        process.expect_nothing_else();
    }
    let ended = process.finish();
    ended.expect_no_more_lines();
    let warnings = ended.stderr.matches("not a message").count();
    assert_eq!(warnings, bad.len(), "{}", ended.stderr);
}

#[test]
fn a_message_without_src_dest_or_body_is_skipped() {
    let process = Process::started();
    let body = echo(1, "1");
    process.send_line(&format!(r#"{{"dest":"n1","body":{body}}}"#));
    process.send_line(&format!(r#"{{"src":"c1","body":{body}}}"#));
    process.send_line(r#"{"src":"c1","dest":"n1"}"#);
    process.send_line(&format!(r#"{{"src":null,"dest":"n1","body":{body}}}"#));
    process.send_line(&format!(r#"{{"src":"c1","dest":1,"body":{body}}}"#));
    process.expect_nothing_else();
}

#[test]
fn a_line_that_is_not_utf8_is_skipped_and_the_next_one_is_served() {
    let process = Process::started();
    let bad: [&[u8]; 4] = [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf0\x9f\xa6"];
    for bytes in bad {
        let (head, tail) =
            (r#"{"src":"c1","dest":"n1","body":{"type":"echo","msg_id":1,"echo":""#, "\"}}\n");
        process.send_bytes([head.as_bytes(), bytes, tail.as_bytes()].concat());
        process.expect_nothing_else();
    }
    let ended = process.finish();
    ended.expect_no_more_lines();
    assert_eq!(ended.stderr.matches("not UTF-8").count(), bad.len());
}

#[test]
fn empty_and_blank_lines_are_nothing() {
    let process = Process::started();
    process.send_bytes("\n\n \n\t\n\r\n  \r\n\n");
    process.expect_nothing_else();
    let ended = process.finish();
    ended.expect_no_more_lines();
    assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
}

#[test]
fn lines_that_end_in_crlf_and_spaces_around_a_message_are_fine() {
    let process = Process::started();
    let line = message("c1", &echo(1, "1"));
    process.send_bytes(format!("{line}\r\n \t{line} \n{line}\r\n"));
    for _ in 0..3 {
        assert_eq!(process.next(), reply(&echo_ok(1, "1")));
    }
    process.expect_nothing_else();
}

#[test]
fn a_line_of_16_mib_is_served_and_one_of_a_byte_more_is_skipped() {
    let process = Process::started();
    let (fits, too_long) = (filling(1, LINE_BYTES_MAX), filling(2, LINE_BYTES_MAX + 1));
    process.send("c1", &echo(1, &fits));
    process.send("c1", &echo(2, &too_long));
    process.send("c1", &echo(3, "3"));
    assert!(process.next() == reply(&echo_ok(1, &fits)));
    assert_eq!(process.next(), reply(&echo_ok(3, "3")));
    let ended = process.finish();
    ended.expect_no_more_lines();
    assert!(ended.stderr.contains("longer than"), "{}", ended.stderr);
}

#[test]
fn the_limit_on_lines_is_a_flag() {
    let process = Process::started_with(&["--max-line-bytes", "200"]);
    for _ in 0..3 {
        process.send("c1", &echo(1, &filling(1, 201)));
        process.expect(&echo(2, &filling(2, 200)), &echo_ok(2, &filling(2, 200)));
    }
    process.send_bytes(message("c1", &echo(4, &filling(4, 201))));
    let ended = process.finish();
    ended.expect_no_more_lines();
    for words in ["--max-line-bytes", "limit_bytes=200"] {
        assert_eq!(ended.stderr.matches(words).count(), 4, "{}", ended.stderr);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_line_over_the_limit_is_not_kept_in_memory() {
    let process = Process::started_with(&["--max-line-bytes", "100000"]);
    let before = process.memory_peak();
    for _ in 0..64 {
        process.send_bytes(vec![b'a'; 1 << 20]);
    }
    process.send_bytes("\n");
    process.expect_nothing_else();
    let grown = process.memory_peak() - before;
    assert!(grown < 8 << 20, "grew by {grown} bytes");
}

#[test]
fn a_message_may_come_byte_by_byte_and_lines_may_come_in_any_pieces() {
    let process = Process::started();
    let lines: String = (1..=3).map(|id| message("c1", &echo(id, "\"ä🦀\"")) + "\n").collect();
    for byte in lines.bytes() {
        process.send_bytes([byte]);
    }
    for id in 1..=3 {
        assert_eq!(process.next(), reply(&echo_ok(id, "\"ä🦀\"")));
    }
    process.expect_nothing_else();
}
