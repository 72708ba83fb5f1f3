//! Seals a line, and opens a sealed line.
//!
//! The invariant: an opened message has exactly the body that a node wrote, byte for byte, and the
//! source and destination that the MAC covers.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use memchr::memchr2;
use serde::Deserialize;
use sha2::Sha256;

use super::ClusterKey;
use crate::message::{Envelope, LINE_END, NodeId, begin_line};

/// The type of a sealed body.
const KIND: &str = "sealed";

/// The bytes before the text.
const BEFORE_TEXT: &[u8] = br#"{"type":"sealed","text":""#;

/// The bytes between the text and the MAC.
const BEFORE_MAC: &[u8] = br#"","mac":""#;

/// The bytes after the MAC.
const AFTER_MAC: &[u8] = br#""}"#;

/// The length of a MAC in bytes, and of its hexadecimal form.
const MAC_BYTES: usize = 32;
const HEX_BYTES: usize = 2 * MAC_BYTES;

/// The bytes that a seal adds to a line, not counting the escapes in the text.
const SEAL_BYTES: usize = BEFORE_TEXT.len() + BEFORE_MAC.len() + HEX_BYTES + AFTER_MAC.len();

/// The most bytes that a line of up to `line_bytes_max` bytes takes once it is sealed.
/// [`ClusterKey`] shows it in use.
#[must_use]
pub const fn sealed_line_bytes_max(line_bytes_max: usize) -> usize {
    line_bytes_max.saturating_mul(2).saturating_add(SEAL_BYTES)
}

/// The outcome of a check of a line.
#[derive(Debug)]
pub(crate) enum Checked {
    /// The message comes from no node, or the node has no key or no `init` yet: the line is
    /// accepted unchanged.
    AsItIs,
    /// The line was sealed. This is the message inside, as a line.
    Opened(String),
    /// The message claims to come from a node, but its MAC is missing or wrong.
    Unproven {
        /// The node that it claims to come from.
        src: NodeId,
        /// `missing` or `wrong`.
        reason: &'static str,
    },
    /// The line is no message.
    NoMessage(serde_json::Error),
}

/// A message between nodes.
#[derive(Deserialize)]
struct SealedMessage<'a> {
    #[serde(borrow)]
    src: Cow<'a, str>,
    #[serde(borrow)]
    dest: Cow<'a, str>,
    #[serde(borrow)]
    body: SealedBody<'a>,
}

#[derive(Deserialize)]
struct SealedBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    text: Cow<'a, str>,
    mac: &'a str,
}

impl<'a> SealedMessage<'a> {
    /// Parses a line in the form that nodes and Maelstrom write, with no escapes in it. `None`: the
    /// caller must parse it as JSON.
    ///
    /// This accepts some lines that are not JSON. That is safe: the MAC covers the source, the
    /// destination and the text, so no such line can produce a message that no node sealed.
    fn plain(line: &'a str) -> Option<Self> {
        let (src, fields) = source(line)?;
        let (dest, body) = fields.strip_prefix(r#","dest":""#)?.split_once('"')?;
        let text = body.strip_prefix(r#","body":{"type":"sealed","text":""#)?;
        let (text, end) = text.split_at_checked(memchr2(b'"', b'\\', text.as_bytes())?)?;
        let mac = end.strip_prefix(r#"","mac":""#)?.trim_ascii_end().strip_suffix(r#""}}"#)?;
        let (dest, text) = (Cow::Borrowed(dest), Cow::Borrowed(text));
        let body = SealedBody { kind: KIND, text, mac };
        (!dest.contains('\\')).then_some(Self { src: Cow::Borrowed(src), dest, body })
    }
}

impl ClusterKey {
    /// The MAC of a text.
    fn mac(&self, src: &str, dest: &str, text: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::clone(&self.empty);
        for name in [src, dest] {
            // No line has room for a longer name.
            mac.update(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
            mac.update(name.as_bytes());
        }
        mac.update(text);
        mac
    }

    /// Seals the line at the end of `out`, whose body begins at `body_at`.
    pub(crate) fn seal(&self, out: &mut Vec<u8>, body_at: usize, src: &str, dest: &str) {
        let end = out.len().saturating_sub(LINE_END.len());
        debug_assert!(body_at < end && out.ends_with(LINE_END.as_bytes()), "not a whole line");
        out.truncate(end);
        let text_at = body_at.saturating_add(BEFORE_TEXT.len());
        out.reserve(SEAL_BYTES.saturating_add(LINE_END.len()));
        out.splice(body_at..body_at, BEFORE_TEXT.iter().copied());
        let Some(text) = out.get_mut(text_at..) else { return };
        let mut has_escapes = false;
        for byte in &mut *text {
            *byte = swapped(*byte);
            // There is no early exit, so the compiler can process many bytes at a time.
            has_escapes |= must_be_escaped(*byte);
        }
        let mac = self.mac(src, dest, text).finalize().into_bytes();
        if has_escapes {
            let text = text.to_vec();
            out.truncate(text_at);
            escape(out, &text);
        }
        out.extend_from_slice(BEFORE_MAC);
        out.extend_from_slice(&to_hex(&mac));
        out.extend_from_slice(AFTER_MAC);
        out.extend_from_slice(LINE_END.as_bytes());
    }

    /// See [`Auth::check`](super::Auth::check).
    pub(super) fn check(&self, line: &str, own: &str, node_ids: &[NodeId]) -> Checked {
        let node = |name: &str| node_ids.iter().find(|id| id.as_ref() == name);
        if source(line).is_some_and(|(src, _)| node(src).is_none()) {
            return Checked::AsItIs;
        }
        let message = match SealedMessage::plain(line) {
            Some(message) => Some(message),
            None => serde_json::from_str(line).ok(),
        };
        if let Some(message) = message
            && let Some(src) = node(&message.src)
        {
            return match self.open(&message, own) {
                Some(line) => Checked::Opened(line),
                None => Checked::Unproven { src: src.clone(), reason: "wrong" },
            };
        }
        match serde_json::from_str::<Envelope<'_>>(line) {
            Ok(message) => match node(&message.src) {
                Some(src) => Checked::Unproven { src: src.clone(), reason: "missing" },
                None => Checked::AsItIs,
            },
            Err(error) => Checked::NoMessage(error),
        }
    }

    /// Verifies a sealed message for `own`. Returns the message inside as a line without its
    /// newline.
    fn open(&self, message: &SealedMessage<'_>, own: &str) -> Option<String> {
        let SealedMessage { src, dest, body: SealedBody { kind, text, mac } } = message;
        let mac = from_hex(mac)?;
        if *kind != KIND || dest != own {
            return None;
        }
        self.mac(src, own, text.as_bytes()).verify_slice(&mac).ok()?;
        let mut line = Vec::with_capacity(text.len().saturating_add(SEAL_BYTES));
        begin_line(&mut line, src, own).ok()?;
        line.extend(text.bytes().map(swapped));
        line.push(b'}');
        // Both swapped bytes are ASCII, so the text is still UTF-8.
        String::from_utf8(line).ok()
    }
}

/// The source of a line in the form that nodes and Maelstrom write, and the rest of the line.
/// `None`: the line has another form.
///
/// The first source is the only one: a line with a second source is no message.
fn source(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.strip_prefix('{')?;
    if let Some(id) = fields.strip_prefix(r#""id":"#) {
        fields = id.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix(',')?;
    }
    let (src, rest) = fields.strip_prefix(r#""src":""#)?.split_once('"')?;
    (!src.contains('\\')).then_some((src, rest))
}

/// In a sealed text, `'` and `"` stand for each other.
const fn swapped(byte: u8) -> u8 {
    match byte {
        b'\'' => b'"',
        b'"' => b'\'',
        other => other,
    }
}

/// Whether JSON requires an escape for this byte in a string.
const fn must_be_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends `text` with the escapes of a JSON string. `text` is JSON with its quotes swapped, so its
/// only control characters are tabs and line breaks.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len().saturating_add(text.len() / 8));
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| must_be_escaped(*byte)) {
        let (plain, more) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((byte, more)) = more.split_first() else { return };
        let letter = match byte {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => *other,
        };
        out.extend_from_slice(&[b'\\', letter]);
        rest = more;
    }
    out.extend_from_slice(rest);
}

const fn hex_digit(half: u8) -> u8 {
    match half {
        0..=9 => b'0'.wrapping_add(half),
        _ => b'a'.wrapping_sub(10).wrapping_add(half),
    }
}

fn to_hex(bytes: &[u8]) -> [u8; HEX_BYTES] {
    let mut text = [0; HEX_BYTES];
    let (pairs, _) = text.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [byte >> 4, byte & 15].map(hex_digit);
    }
    text
}

fn from_hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

fn from_hex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != MAC_BYTES || !odd.is_empty() {
        return None;
    }
    let mut bytes = [0; MAC_BYTES];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = (from_hex_digit(*high)? << 4) | from_hex_digit(*low)?;
    }
    Some(bytes)
}
