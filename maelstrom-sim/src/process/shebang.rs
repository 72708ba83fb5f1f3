//! The first line of a script, which names its interpreter.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// How many bytes of a `#!` line to read. Linux reads 256.
const BYTES_MAX: u64 = 512;

/// The text after `#!` in the first line of a script, without the line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shebang(String);

/// The first line of a file, or its beginning.
fn first_line(path: &Path) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let file = File::open(path).ok()?;
    BufReader::new(file.take(BYTES_MAX)).read_until(b'\n', &mut line).ok()?;
    Some(line)
}

/// Whether the file is a script with a byte order mark before its `#!`.
pub(super) fn is_behind_bom(path: &Path) -> bool {
    first_line(path).is_some_and(|line| line.starts_with(b"\xef\xbb\xbf#!"))
}

impl Shebang {
    /// The `#!` line of a file. `None`: the file is not a script, or cannot be read.
    pub(super) fn of(path: &Path) -> Option<Self> {
        Self::parse(&first_line(path)?)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line).strip_prefix(b"#!")?;
        Some(Self(String::from_utf8_lossy(line).into_owned()))
    }

    /// Whether the line ends in a carriage return. The system counts it as a part of the last word.
    pub(super) fn has_carriage_return(&self) -> bool {
        self.0.ends_with('\r')
    }

    /// The interpreter that the system starts, with the carriage return if the line ends in one.
    pub(super) fn interpreter(&self) -> &str {
        self.split().0
    }

    /// The program that `env` searches for, if `env` is the interpreter. Linux passes the rest of
    /// the line as one argument, so a name may contain spaces. `None`: the interpreter is not
    /// `env`, or the line has options that hide the name.
    pub(super) fn sought_by_env(&self) -> Option<&str> {
        let (interpreter, rest) = self.split();
        if Path::new(interpreter).file_name()? != "env" {
            return None;
        }
        let splits = ["--split-string=", "-vS", "-S"];
        let name = match splits.iter().find_map(|option| rest.strip_prefix(option)) {
            // `env` counts a carriage return as a space.
            Some(words) => words.split_whitespace().find(|word| !is_assignment(word))?,
            None if cfg!(target_os = "macos") => rest.split(is_blank).next()?,
            None => rest,
        };
        let is_plain = !name.is_empty() && !name.starts_with(['-', '#']);
        (is_plain && !name.contains(['=', '"', '\'', '\\', '$'])).then_some(name)
    }

    /// The interpreter, and its argument.
    fn split(&self) -> (&str, &str) {
        let line = self.0.trim_matches(is_blank);
        let (interpreter, rest) = line.split_once(is_blank).unwrap_or((line, ""));
        (interpreter, rest.trim_start_matches(is_blank))
    }
}

/// The characters that the system treats as spaces in this line.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Whether `env` treats a word as a variable assignment that does not change its search path.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name != "PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sought(line: &str) -> Option<String> {
        let shebang = Shebang::parse(line.as_bytes()).unwrap();
        shebang.sought_by_env().map(str::to_owned)
    }

    #[test]
    fn the_interpreter_is_the_first_word() {
        for (line, interpreter, has_return) in [
            ("#!/bin/sh\n", "/bin/sh", false),
            ("#! \t/bin/sh -e\t\n", "/bin/sh", false),
            ("#!/bin/sh", "/bin/sh", false),
            ("#!/bin/sh\r\n", "/bin/sh\r", true),
            ("#!/bin/sh -e\r\n", "/bin/sh", true),
            ("#!\n", "", false),
        ] {
            let shebang = Shebang::parse(line.as_bytes()).unwrap();
            assert_eq!(shebang.interpreter(), interpreter, "{line}");
            assert_eq!(shebang.has_carriage_return(), has_return, "{line}");
        }
        assert_eq!(Shebang::parse(b"/bin/sh"), None);
        assert_eq!(Shebang::parse(b""), None);
    }

    #[test]
    fn env_looks_for_its_argument() {
        assert_eq!(sought("#!/usr/bin/env python4\n").as_deref(), Some("python4"));
        assert_eq!(sought("#! /bin/env \t python4 \n").as_deref(), Some("python4"));
        assert_eq!(sought("#!/usr/bin/env python4\r\n").as_deref(), Some("python4\r"));
        assert_eq!(sought("#!/usr/bin/env /opt/x/run").as_deref(), Some("/opt/x/run"));
        for line in ["#!/bin/sh python4", "#!/usr/bin/env", "#!/usr/bin/env\r python4", "#!"] {
            assert_eq!(sought(line), None, "{line}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn env_takes_all_words_for_one_name() {
        assert_eq!(sought("#!/usr/bin/env python3 -u\n").as_deref(), Some("python3 -u"));
    }

    #[test]
    fn env_looks_for_the_first_word_that_it_splits_off() {
        for option in ["-S python4 -u", "-Spython4", "-vS A=1 B=2 python4", "-S python4\r"] {
            assert_eq!(sought(&format!("#!/usr/bin/env {option}\n")).as_deref(), Some("python4"));
        }
        assert_eq!(sought("#!/usr/bin/env --split-string=node -x").as_deref(), Some("node"));
    }

    #[test]
    fn options_of_env_that_change_its_search_leave_the_program_open() {
        let options = ["-S -i node", "-i", "-S PATH=/opt node", "-S ${SHELL}", "-S 'a b'", "A=1"];
        for option in options.into_iter().chain(["-S", "-S # node", "-S A=1"]) {
            assert_eq!(sought(&format!("#!/usr/bin/env {option}\n")), None, "{option}");
        }
    }
}
