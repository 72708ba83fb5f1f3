//! Checks that the first cause of a verdict names the processes, the key and the offsets that prove
//! it.

use super::*;

/// Clients 3 and 4 have sent 1 and 2, and client 2 has read both.
const READ: &str = r#"
    1 3 ok send ["a",[0,1]]
    2 4 ok send ["a",[1,2]]
    3 2 ok poll {"a":[[0,1],[1,2]]}
"#;

#[track_caller]
fn headline(text: &str, expected: &str) {
    let cause = check(&history(text), &[]).cause.unwrap();
    assert_eq!(cause, expected, "{text}");
}

#[test]
fn of_the_content_of_a_log() {
    headline(
        r#"1 3 ok send ["a",[0,1]]
           2 4 ok send ["a",[1,2]]
           3 2 ok poll {"a":[[1,2]]}"#,
        "1 × lost-write: process 3 sent 1 to offset 0 of key a, no poll shows it, and process 2 \
         read offset 1",
    );
    headline(
        r#"1 3 ok send ["b",[7,9]]
           2 3 ok send ["b",[8,10]]"#,
        "2 × unseen: process 3 sent 10 to offset 8 of key b, and no poll shows it",
    );
    headline(
        &format!("{READ}\n1 5 info send [\"a\",3]\n4 1 ok poll {{\"a\":[[0,3]]}}"),
        "1 × inconsistent-offsets: offset 0 of key a holds 1 for process 3, 3 for process 1",
    );
    headline(
        &format!("{READ}\n4 1 ok poll {{\"a\":[[1,2],[5,1]]}}"),
        "1 × duplicate: message 1 of key a is at offset 0 for process 3, 5 for process 1",
    );
    headline(
        r#"1 3 fail send ["a",1]
           2 1 ok poll {"a":[[6,1]]}"#,
        "1 × G1a: process 1 read 1 at offset 6 of key a, though process 3 failed to send it",
    );
    headline(
        r#"2 1 ok poll {"a":[[6,1]]}"#,
        "1 × phantom: process 1 read 1 at offset 6 of key a, to which nobody sent it",
    );
}

#[test]
fn of_the_polls_of_a_client() {
    headline(
        &format!("{ASSIGNED}{READ}\n4 1 ok poll {{\"a\":[[1,2]]}}"),
        "1 × poll-skip: process 1, due at offset 0 of key a, read offset 1 next and skipped 0",
    );
    let twice = "4 1 ok poll {\"a\":[[0,1]]}\n5 1 ok poll {\"a\":[[0,1]]}";
    headline(
        &format!("{ASSIGNED}{READ}\n{twice}"),
        "1 × nonmonotonic-poll: process 1, due at offset 1 of key a, read offset 0 next",
    );
    let third = "1 3 ok send [\"a\",[2,3]]\n4 1 ok poll {\"a\":[[0,1],[2,3]]}";
    headline(
        &format!("{ASSIGNED}{READ}\n{third}"),
        "1 × int-poll-skip: process 1, due at offset 1 of key a, read offset 2 next and skipped 1",
    );
    headline(
        &format!("{READ}\n4 1 ok poll {{\"a\":[[1,2],[0,1]]}}"),
        "1 × int-nonmonotonic-poll: process 1, due at offset 2 of key a, read offset 0 next",
    );
}

#[test]
fn of_the_sends_of_a_client() {
    headline(
        r#"1 3 ok send ["a",[1,1]]
           2 3 ok send ["a",[0,2]]
           3 1 ok poll {"a":[[0,2],[1,1]]}"#,
        "1 × nonmonotonic-send: process 3 sent to offset 1 of key a, and then to offset 0",
    );
}

#[test]
fn the_first_finding_of_a_kind_stands_for_all_and_long_names_are_cut() {
    let key = "k".repeat(1000);
    let texts = [1, 2, 3, 4, 5].map(|n| format!("[{n},\"{}\"]", n.to_string().repeat(1000)));
    let cause = check(&history(&format!("2 1 ok poll {{\"{key}\":[{}]}}", texts.join(","))), &[]);
    let cause = cause.cause.unwrap();
    assert!(
        cause.starts_with("5 × phantom: process 1 read \"11111111111111111111111… at"),
        "{cause}"
    );
    assert!(cause.chars().count() <= 160, "{cause}");
}
