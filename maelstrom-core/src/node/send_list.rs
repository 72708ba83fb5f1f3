//! Messages with a long list that several of them share, such as those of gossip.

use serde::Serialize;
use serde::ser::Error as _;

use super::Node;
use crate::body::{self, Ids};
use crate::message::{LINE_END, NodeId, begin_line};
use crate::outputs::SharedText;

impl<E> Node<E> {
    /// Sends a message that wants no reply. If `texts` is not empty, the body gets one more field
    /// with the name `field`: the list of these texts, each of which is JSON. Several messages can
    /// share a text without a copy of it.
    ///
    /// # Errors
    ///
    /// If the line would be longer than `line_bytes_max` bytes (without its newline and its seal),
    /// or if the body has no JSON form. Nothing is sent then.
    pub(crate) fn send_with_list<B: Serialize + ?Sized>(
        &mut self,
        dest: &NodeId,
        body: &B,
        (field, texts): (&str, Vec<SharedText>),
        line_bytes_max: usize,
    ) -> Result<(), serde_json::Error> {
        let seal = self.seal_for(dest);
        let (id, metrics) = (&self.id, &mut self.metrics);
        let is_empty = texts.is_empty();
        let end = if is_empty { LINE_END } else { "]}}\n" };
        let more = texts.iter().map(|text| text.len().saturating_add(1));
        // There is one comma fewer than texts. The newline at the end does not count.
        let more = more.fold(end.len(), usize::saturating_add);
        let more = more.saturating_sub(1).saturating_sub(usize::from(!is_empty));
        let begin = |out: &mut Vec<u8>| {
            let before = out.len();
            begin_line(out, id, dest)?;
            let body_at = out.len();
            body::encode(out, Ids::default(), body)?;
            if !is_empty {
                // The body is an object with at least one field, its type. Continue that object.
                out.pop();
                out.push(b',');
                serde_json::to_writer(&mut *out, field)?;
                out.extend_from_slice(b":[");
            }
            let bytes = out.len().saturating_sub(before).saturating_add(more);
            if bytes > line_bytes_max {
                let text = format!("a line of {bytes} bytes, where {line_bytes_max} are taken");
                return Err(serde_json::Error::custom(text));
            }
            metrics.sent(out.get(body_at..).unwrap_or_default(), bytes);
            Ok(body_at.saturating_sub(before))
        };
        self.outputs.write_shared(begin, (texts, end), seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::NoEvent;

    #[test]
    fn a_line_is_sent_if_it_is_as_long_as_is_taken_and_not_if_it_is_longer() {
        for texts in [&[][..], &["1"], &["1", "22"], &[&"3".repeat(9_000), "4"]] {
            let send = |limit: usize| {
                let mut node = Node::<NoEvent>::new([0; 32], false, None);
                node.set_names("n1".into(), ["n1".into(), "n2".into()].into());
                let list = texts.iter().map(|text| text.as_bytes().into()).collect();
                let body = serde_json::json!({ "type": "told" });
                let result = node.send_with_list(&"n2".into(), &body, ("list", list), limit);
                let lines = node.outputs.pop_lines().unwrap_or_default();
                assert_eq!(result.is_ok(), !lines.is_empty());
                lines
            };
            let line = send(usize::MAX);
            assert!(line.ends_with(b"}\n"));
            assert_eq!(send(line.len() - 1), line, "the newline is not counted");
            assert!(send(line.len() - 2).is_empty());
        }
    }
}
