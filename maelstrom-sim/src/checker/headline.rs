//! Parts of the sentence that names the first cause of a verdict.
//!
//! Nodes choose keys and values, so each part has a length limit.

use std::fmt::Display;

use crate::excerpt::cut;

/// How many characters of a key or a value the sentence shows.
const CHARS_MAX: usize = 24;

/// How many items of a list the sentence shows.
const ITEMS_MAX: usize = 3;

/// The text, cut if it is long.
pub(crate) fn short(text: &str) -> String {
    cut(text, CHARS_MAX)
}

/// Joins the first items: `1, 2, 3 and 4 more`.
pub(crate) fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(ITEMS_MAX).map(|item| item.to_string()).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("ä".repeat(24).as_str()), "ä".repeat(24));
        assert_eq!(short("ä".repeat(25).as_str()), "ä".repeat(24) + "…");
    }

    #[test]
    fn long_lists_are_counted() {
        assert_eq!(list([1, 2, 3]), "1, 2, 3");
        assert_eq!(list(1..=7), "1, 2, 3 and 4 more");
        assert_eq!(list([0; 0]), "");
    }
}
