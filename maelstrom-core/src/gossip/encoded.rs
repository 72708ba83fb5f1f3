//! The size of a value in JSON.

use std::io;

use serde::Serialize;

/// Counts bytes, and keeps none of them.
#[derive(Default)]
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The size of a value in JSON, in bytes. A value without a JSON form counts as far as it goes: it
/// is not sent at all.
pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    let mut counter = Counter::default();
    drop(serde_json::to_writer(&mut counter, value));
    counter.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_as_many_bytes_as_its_text() {
        for value in [serde_json::json!(5), serde_json::json!({"a": ["é\n", null]})] {
            assert_eq!(json_bytes(&value), value.to_string().len());
        }
    }
}
