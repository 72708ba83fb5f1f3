//! Parses the values of options the way Maelstrom does.
//!
//! Maelstrom splits lists with `clojure.string/split`. It reads some numbers with Clojure's reader,
//! and others with Java's parsers (`maelstrom.core`, `jepsen.cli`).

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Splits a comma-separated list and trims the items. Drops empty items at the end and keeps the
/// others. An empty text has one empty item. [`clojure_number`] shows it in use.
#[must_use]
pub fn list_items(text: &str) -> Vec<&str> {
    let mut items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.len() > 1 {
        let end = items.iter().rposition(|item| !item.is_empty()).map_or(0, |last| last + 1);
        items.truncate(end);
    }
    items
}

/// Reads a number as Clojure's reader does: `2`, `0.5`, `1e-3`, `1/2`, with a sign, in octal
/// (`010`), in hexadecimal (`0x10`), in another base (`2r101`), or with the suffix of a big number
/// (`1N`, `0.5M`). Ignores everything after the first word; spaces and commas separate words.
/// `None`: the word is not a number, or its denominator is 0.
///
/// ```
/// use maelstrom_sim::arguments::{clojure_number, java_double, list_items};
///
/// assert_eq!((clojure_number("1/2"), clojure_number(".5")), (Some(0.5), None));
/// assert_eq!((java_double("1/2"), java_double(".5")), (None, Some(0.5)));
/// assert_eq!(list_items("n1, n2,"), ["n1", "n2"]);
/// ```
#[must_use]
pub fn clojure_number(text: &str) -> Option<f64> {
    let is_blank = |c: char| c.is_whitespace() || c == ',';
    let word = text.split(is_blank).find(|word| !word.is_empty())?;
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, word.strip_prefix('+').unwrap_or(word)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(sign * unsigned(digits)?)
}

fn unsigned(text: &str) -> Option<f64> {
    if let Some((numerator, denominator)) = text.split_once('/') {
        let fraction = decimal(numerator)? / decimal(denominator)?;
        return fraction.is_finite().then_some(fraction);
    }
    let whole = text.strip_suffix('N').unwrap_or(text);
    if let Some(digits) = whole.strip_prefix("0x").or_else(|| whole.strip_prefix("0X")) {
        return in_base(16, digits);
    }
    if let Some((base, digits)) = whole.split_once(['r', 'R']) {
        return in_base(base.parse().ok()?, digits);
    }
    if whole.len() > 1 && whole.starts_with('0') && decimal(whole).is_some() {
        return in_base(8, whole);
    }
    decimal(whole).or_else(|| text.strip_suffix('M').unwrap_or(text).parse().ok())
}

/// Parses a number that consists of decimal digits only.
fn decimal(digits: &str) -> Option<f64> {
    let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { digits.parse().ok() } else { None }
}

fn in_base(base: u32, digits: &str) -> Option<f64> {
    if !(2..=36).contains(&base) || digits.is_empty() {
        return None;
    }
    let add = |sum: f64, c: char| Some(sum * f64::from(base) + f64::from(c.to_digit(base)?));
    digits.chars().try_fold(0.0, add)
}

/// Reads a decimal number as Java's `Double.parseDouble` does: `5`, `.5`, `1e2`, `5d`. Ignores
/// spaces around it. [`clojure_number`] shows it in use.
#[must_use]
pub fn java_double(text: &str) -> Option<f64> {
    let text = text.trim();
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().ok()
}

/// Returns a parser for whole numbers in this range. Its error names the range.
///
/// ```
/// use maelstrom_sim::arguments::whole;
///
/// let parse = whole(1..=32_u8);
/// assert_eq!(parse("7"), Ok(7));
/// assert_eq!(parse("33").unwrap_err(), "must be a whole number from 1 to 32");
/// ```
pub fn whole<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: Clone + Display + FromStr + PartialOrd + Send + Sync + 'static,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {} to {}", range.start(), range.end())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_items_at_the_end_of_a_list_are_dropped_and_others_remain() {
        for (text, items) in [
            ("a", &["a"][..]),
            ("a,", &["a"]),
            ("a, ,, ", &["a"]),
            (" a , b ", &["a", "b"]),
            ("a,,b", &["a", "", "b"]),
            (",a", &["", "a"]),
            ("", &[""]),
            (",", &[]),
        ] {
            assert_eq!(list_items(text), items, "{text:?}");
        }
    }

    #[test]
    fn clojures_reader_takes_whole_numbers_fractions_and_ratios() {
        for (text, number) in [
            ("1", 1.0),
            ("+0", 0.0),
            ("-2", -2.0),
            ("0.5", 0.5),
            ("5.", 5.0),
            ("1e2", 100.0),
            ("5E-1", 0.5),
            ("0.5M", 0.5),
            ("1N", 1.0),
            ("1/2", 0.5),
            ("-10/4", -2.5),
            ("010", 8.0),
            ("0x1F", 31.0),
            ("2r101", 5.0),
            (" 0.5 x", 0.5),
        ] {
            assert_eq!(clojure_number(text), Some(number), "{text:?}");
        }
    }

    #[test]
    fn other_words_are_no_numbers_for_clojures_reader() {
        let ratios = ["1/0", "0/0", "1/", "/2", "1/-2", "1/2/3", "1/2.0"];
        let others =
            ["", " ", "x", ".5", "nan", "inf", "1_0", "08", "0x", "1r1", "--1", "1e", "5d"];
        for text in ratios.into_iter().chain(others) {
            assert_eq!(clojure_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn java_takes_a_point_at_either_end_and_the_mark_of_a_type() {
        for (text, number) in [("5", 5.0), (".5", 0.5), ("5.", 5.0), ("1e2", 100.0), (" 5d ", 5.0)]
        {
            assert_eq!(java_double(text), Some(number), "{text:?}");
        }
        for text in ["", "d", "1/2", "1_0", "0x10"] {
            assert_eq!(java_double(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_whole_number_outside_of_its_range_is_refused_with_the_range() {
        let parse = whole(1..=32_u8);
        assert_eq!((parse("1"), parse("+32")), (Ok(1), Ok(32)));
        for text in ["0", "33", "5.0", "1/2", ""] {
            assert_eq!(parse(text).unwrap_err(), "must be a whole number from 1 to 32", "{text:?}");
        }
    }
}
