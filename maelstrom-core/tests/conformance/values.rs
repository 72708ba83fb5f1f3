//! Values: an echoed value comes back unchanged, to the last digit.

use crate::support::{Process, echo, echo_ok, reply};

#[test]
fn integers_of_64_bits_keep_all_their_digits() {
    let process = Process::started();
    for (unsigned, signed) in
        [(u64::MAX, i64::MIN), (u64::MAX - 1, i64::MAX), ((1 << 53) + 1, -(1 << 53) - 1), (0, -1)]
    {
        let values = format!(
            r#""unsigned":{unsigned},"signed":{signed},"list":[{unsigned},9007199254740993,18446744073709551615],"text":"""#
        );
        process.expect(
            &format!(r#"{{"type":"typed","msg_id":{unsigned},{values}}}"#),
            &format!(r#"{{"type":"typed_ok","in_reply_to":{unsigned},{values}}}"#),
        );
    }
}

#[test]
fn message_ids_of_64_bits_are_kept() {
    let process = Process::started();
    for id in [0, (1 << 53) + 1, i64::MAX as u64 + 1, u64::MAX] {
        process.expect(&echo(id, "1"), &echo_ok(id, "1"));
        process.send("c1", &format!(r#"{{"type":"unheard_of","msg_id":{id}}}"#));
        process.expect_error(id, 10);
    }
}

#[test]
fn an_echoed_number_comes_back_byte_for_byte() {
    let process = Process::started();
    for number in [
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        "1234567890123456789012345678901234567890",
        "-1234567890123456789012345678901234567890",
        "0.1000000000000000055511151231257827021181583404541015625",
        "1e400",
        "-0",
        "-0.0",
        "1.0",
        "1E+2",
        "1e-7",
    ] {
        process.expect(&echo(1, number), &echo_ok(1, number));
    }
}

#[test]
fn an_echoed_value_of_10_000_levels_comes_back_byte_for_byte() {
    const LEVELS: usize = 10_000;
    let arrays = "[".repeat(LEVELS) + &"]".repeat(LEVELS);
    let objects = r#"{"a":"#.repeat(LEVELS) + "1" + &"}".repeat(LEVELS);
    let process = Process::started();
    for value in [&arrays, &objects] {
        process.expect(&echo(1, value), &echo_ok(1, value));
    }
    // Such a value is harmless in other places, too.
    for field in ["ms", "extra"] {
        process.send("c1", &format!(r#"{{"type":"later","msg_id":1,"ms":0,"{field}":{objects}}}"#));
        match field {
            "extra" => assert_eq!(process.next(), reply(r#"{"type":"later_ok","in_reply_to":1}"#)),
            _ => drop(process.expect_error(1, 12)),
        }
    }
    process.send_line(&arrays);
    process.send_line(&"[".repeat(LEVELS));
    process.send_line(&format!(r#"{{"src":{arrays},"dest":"n1","body":{{}}}}"#));
    process.send("c1", &arrays);
    process.expect_nothing_else();
}

#[test]
fn an_echoed_text_comes_back_byte_for_byte() {
    let process = Process::started();
    for text in [
        r#""""#,
        r#""\u0000""#,
        r#""\"\\\/\b\f\n\r\t""#,
        r#""\u00e4\u00E4ä""#,
        r#""\ud83e\udd80""#,
        r#""\ud83e""#,
        r#""🦀 👩‍👩‍👧‍👦 e\u0301 é ﷽ 𝔘""#,
        "\"\u{7f}\u{80}\u{2028}\u{2029}\u{feff}\u{fffd}\u{10ffff}\"",
        r#""{\"type\":\"echo\"}\n""#,
    ] {
        process.expect(&echo(1, text), &echo_ok(1, text));
    }
}

#[test]
fn an_echoed_object_keeps_its_order_its_spaces_and_its_repeated_keys() {
    let process = Process::started();
    for value in [
        r#"{"b":1,"a":2,"b":3,"":{}}"#,
        "{ \"a\" :\t[ 1 , 2 ] }",
        r#"[null,true,false,[],{}]"#,
        r#"{"type":"init","msg_id":7,"in_reply_to":1}"#,
        "null",
    ] {
        process.expect(&echo(1, value), &echo_ok(1, value));
    }
}

#[test]
fn a_text_that_the_handler_decodes_means_the_same_when_it_comes_back() {
    let process = Process::started();
    for (text, meaning) in [
        (r#""\u0000\u001f""#, "\0\u{1f}"),
        (r#""\ud83e\udd80🦀""#, "🦀🦀"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
    ] {
        process.send(
            "c1",
            &format!(
                r#"{{"type":"typed","msg_id":1,"unsigned":1,"signed":1,"list":[],"text":{text}}}"#
            ),
        );
        assert_eq!(process.next_json()["body"]["text"], meaning);
    }
}
