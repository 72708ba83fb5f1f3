//! Reads EDN, the notation of Maelstrom's `results.edn`, as far as the results need it.
//!
//! The reader turns everything into JSON. Keywords and symbols become strings (`:valid?` becomes
//! `"valid?"`), sets and lists become arrays, and keys of maps become their text. It drops tags.
//! See <https://github.com/edn-format/edn>.

use serde_json::{Map, Number, Value};

/// The maximum nesting depth of collections.
const DEPTH_MAX: usize = 128;

/// A syntax error in EDN. [`parse`] shows it in use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub struct EdnError {
    /// The byte offset of the error.
    pub at: usize,
    /// The error at that place.
    pub what: &'static str,
}

/// Parses one value. Anything after it but whitespace and comments is an error.
///
/// ```
/// use maelstrom_sim::edn::{EdnError, parse};
/// use serde_json::json;
///
/// assert_eq!(parse("{:valid? true, :count #{3}}")?, json!({"valid?": true, "count": [3]}));
/// assert_eq!(parse("[1").unwrap_err().at, 2);
/// # Ok::<(), EdnError>(())
/// ```
///
/// # Errors
///
/// If the text is not EDN, or is nested too deep.
pub fn parse(text: &str) -> Result<Value, EdnError> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(DEPTH_MAX)?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.error("something stands behind the value")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    const fn error(&self, what: &'static str) -> EdnError {
        EdnError { at: self.at, what }
    }

    fn skip_blanks(&mut self) {
        while let Some(c) = self.peek() {
            match c {
                ';' => while self.next().is_some_and(|c| c != '\n') {},
                c if c.is_whitespace() || c == ',' => drop(self.next()),
                _ => return,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, EdnError> {
        let Some(deeper) = depth.checked_sub(1) else {
            return Err(self.error("nested too deep"));
        };
        self.skip_blanks();
        match self.peek() {
            None => Err(self.error("the text ends too early")),
            Some('{') => self.map(deeper),
            Some('[') => self.list(']', deeper),
            Some('(') => self.list(')', deeper),
            Some('"') => self.string().map(Value::String),
            Some('#') => {
                self.next();
                match self.peek() {
                    Some('{') => self.list('}', deeper),
                    Some('_') => {
                        self.next();
                        self.value(deeper)?;
                        self.value(deeper)
                    }
                    _ => {
                        self.token();
                        self.value(deeper)
                    }
                }
            }
            Some(_) => self.atom(),
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, EdnError> {
        let mut items = self.items('}', depth)?.into_iter();
        let mut map = Map::new();
        while let Some(key) = items.next() {
            let value = items.next().ok_or_else(|| self.error("a key without a value"))?;
            let key = key.as_str().map_or_else(|| key.to_string(), ToOwned::to_owned);
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn list(&mut self, end: char, depth: usize) -> Result<Value, EdnError> {
        self.items(end, depth).map(Value::Array)
    }

    fn items(&mut self, end: char, depth: usize) -> Result<Vec<Value>, EdnError> {
        self.next();
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek() == Some(end) {
                self.next();
                return Ok(items);
            }
            items.push(self.value(depth)?);
        }
    }

    fn string(&mut self) -> Result<String, EdnError> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(self.error("a string without an end")),
                Some('"') => return Ok(text),
                Some('\\') => text.push(match self.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(c) => c,
                    None => return Err(self.error("a string without an end")),
                }),
                Some(c) => text.push(c),
            }
        }
    }

    fn token(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || ",;\"()[]{}".contains(c));
        let token = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.at += token.len();
        token
    }

    fn atom(&mut self) -> Result<Value, EdnError> {
        let token = self.token();
        if token.is_empty() {
            return Err(self.error("a bracket that was not opened"));
        }
        // Clojure marks exact numbers with a suffix: 1N, 1.5M.
        let digits = token.trim_end_matches(['N', 'M']);
        Ok(match token {
            "nil" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match serde_json::from_str::<Number>(digits) {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String(token.trim_start_matches(':').to_owned()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_as_maelstrom_writes_them() {
        let text = r#"
            {:net {:servers {:send-count 48, :msgs-per-op 0.97}}, ; figures
             :workload {:worst-stale ({:element 3, :known #jepsen.history.Op{:index 7N, :f :add}}),
                        :stable-latencies {0 0, 0.5 277, 1 531}, :lost (), :seen #{1 "a\"b\n"},
                        :ratio nil, #_ :dropped :kept true}, :valid? :unknown}"#;
        let expected = json!({
            "net": { "servers": { "send-count": 48, "msgs-per-op": 0.97 } },
            "workload": {
                "worst-stale": [{ "element": 3, "known": { "index": 7, "f": "add" } }],
                "stable-latencies": { "0": 0, "0.5": 277, "1": 531 },
                "lost": [], "seen": [1, "a\"b\n"], "ratio": null, "kept": true,
            },
            "valid?": "unknown",
        });
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn a_text_that_is_not_edn_is_an_error_and_never_a_panic() {
        for bad in ["", "{:a}", "[1", "\"x", "]", "1 2", "{", "#", "#{", "(]", &"[".repeat(9999)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
