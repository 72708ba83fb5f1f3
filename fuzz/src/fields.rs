//! Target `fields`: the bytes choose the fields of a line and of its body: their names, number,
//! order, spelling and values. The line is judged as in [`lines`].
//!
//! A mutation of a line's text seldom produces another message. Here every mutation does.

use crate::input::Input;
use crate::{lines, odd};

/// The keys of a body, with suitable values.
const BODY: &[(&str, &[&str])] = &[
    (
        "type",
        &[
            r#""unit""#,
            r#""raw""#,
            r#""typed""#,
            r#""deep""#,
            r#""whole""#,
            r#""any""#,
            r#""flat""#,
            r#""error""#,
            r#""init""#,
            r#""r\u0061w""#,
            r#""nope""#,
            "null",
        ],
    ),
    ("msg_id", &["1", "2", "18446744073709551615", "18446744073709551616", "null", "1.0", "-0"]),
    ("in_reply_to", &["1", "null"]),
    ("a", &["1", "-1", r#""x""#, "[1, 2]", "1.5", "null", r#"{"b":1}"#, r#""\ud800""#]),
    ("b", &["1", "[-1,2]", "[ 1 , 300 ]", "null", r#""x""#]),
    ("c", &[r#""q""#, r#""qq""#, "null"]),
    ("d", &["-170141183460469231731687303715884105728", "1", "null"]),
    ("code", &["3", "null"]),
    ("other", &["1", "{}"]),
];

/// The other keys of a line, with suitable values.
const LINE: &[(&str, &[&str])] = &[
    ("src", &[r#""c1""#, r#""n2""#, r#""\u00631""#, "1"]),
    ("dest", &[r#""n1""#, r#""n1""#, r#""n1""#, r#""n2""#, r#""n\u0031""#, "null"]),
    ("id", &["1", "[{}]"]),
];

/// One field, in most cases with a suitable value.
fn field(input: &mut Input<'_>, (key, values): (&str, &[&str])) -> String {
    let value = if input.one_in(8) { odd::value(input) } else { input.pick(values).to_owned() };
    match input.below(16) {
        // An escape in the key.
        15 => format!(r#""\u{:04x}{}":{value}"#, u32::from(key.as_bytes()[0]), &key[1..]),
        14 => format!("\"{key}\" : {value} "),
        _ => format!(r#""{key}":{value}"#),
    }
}

fn object(fields: &[String]) -> String {
    format!("{{{}}}", fields.join(","))
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let count = 1 + input.below(6);
    let mut body: Vec<String> = Vec::new();
    for _ in 0..count {
        let key = input.pick(BODY);
        body.push(field(&mut input, key));
    }
    if !input.one_in(4) {
        // Most bodies have a type.
        let at = input.below(body.len() + 1);
        body.insert(at, field(&mut input, BODY[0]));
    }
    let mut line = vec![field(&mut input, LINE[0]), field(&mut input, LINE[1])];
    for _ in 0..input.below(8).saturating_sub(5) {
        let key = input.pick(LINE);
        line.push(field(&mut input, key));
    }
    line.insert(input.below(line.len() + 1), format!(r#""body":{}"#, object(&body)));
    if input.one_in(16) {
        line.remove(input.below(line.len()));
    }
    lines::run(object(&line).as_bytes());
}
