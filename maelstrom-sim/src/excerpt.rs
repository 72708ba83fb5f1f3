//! Makes texts from nodes safe to show to people.
//!
//! A node chooses its texts. They may be as long as a line can be, and may contain characters that
//! control a terminal. So every text from a node passes through this module before it becomes part
//! of a sentence.

/// How many characters of a text a sentence shows.
const CHARS_MAX: usize = 200;

/// The maximum length of a sentence with excerpts, in characters.
const SENTENCE_MAX: usize = 1_000;

/// How many characters of a text a result file keeps.
pub(crate) const LONG_MAX: usize = 10_000;

/// The text on one line, without control characters, and cut if it is long.
pub(crate) fn excerpt(text: &str) -> String {
    cut(text, CHARS_MAX)
}

/// The same for a sentence that contains a text, such as the error of an operation.
pub(crate) fn sentence(text: &str) -> String {
    cut(text, SENTENCE_MAX)
}

/// The same for a result file.
pub(crate) fn long_excerpt(text: &str) -> String {
    cut(text, LONG_MAX)
}

/// The same with a limit of `max` characters.
pub(crate) fn cut(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    for char in chars.by_ref().take(max) {
        push(&mut out, char);
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// The text with its line breaks, but without other control characters.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '\n' | '\t') {
            out.push(char);
        } else {
            push(&mut out, char);
        }
    }
    out
}

/// A line of a log, without colours.
pub(crate) fn log_line(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix('m') {
            Some(rest) => text.push_str(rest),
            None => text.extend(["\u{1b}[", part]),
        }
    }
    printable(&text)
}

fn push(out: &mut String, char: char) {
    match char {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        hidden if is_hidden(hidden) => out.extend(hidden.escape_unicode()),
        shown => out.push(shown),
    }
}

/// Whether a character controls a terminal, or is invisible.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(excerpt(&"ä".repeat(200)), "ä".repeat(200));
        assert_eq!(excerpt(&"ä".repeat(10_000_000)), "ä".repeat(200) + "…");
        assert_eq!(cut("abc", 2), "ab…");
    }

    #[test]
    fn a_terminal_obeys_nothing_in_an_excerpt() {
        for (text, shown) in [
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("\0\u{7f}\u{9b}", r"\u{0}\u{7f}\u{9b}"),
            ("a\u{202e}b\u{2066}", r"a\u{202e}b\u{2066}"),
            ("a\r\n\tb", r"a\r\n\tb"),
            ("\u{feff}{", r"\u{feff}{"),
            (r#"{"a":"é – 漢"}"#, r#"{"a":"é – 漢"}"#),
        ] {
            assert_eq!(excerpt(text), shown);
        }
    }

    #[test]
    fn sentences_keep_their_lines_and_a_log_loses_its_colors() {
        assert_eq!(printable("a\nb\u{7}"), "a\nb\\u{7}");
        assert_eq!(log_line("\u{1b}[2mtime\u{1b}[0m \u{1b}[1;32m INFO\u{1b}[m x"), "time  INFO x");
        assert_eq!(log_line("\u{1b}[2Jx\u{1b}[31"), r"\u{1b}[2Jx\u{1b}[31");
        assert_eq!(log_line("a\tb"), "a\tb");
    }
}
