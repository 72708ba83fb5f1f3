//! Histograms with fixed bounds.

/// Upper bounds for times in seconds: from a millisecond to ten seconds.
pub const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds for counts.
pub const SIZES: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];

/// Number of observed values between each two bounds, and their sum.
///
/// ```
/// # use maelstrom_core::{Clock, Error, MessageHandler, NoEvent, Node, RawNode, Request};
/// # use maelstrom_core::metrics::{Histogram, Metric};
/// # #[derive(serde::Deserialize)]
/// # #[serde(rename_all = "snake_case")]
/// # enum Payload { Write { pages: f64 } }
/// # struct Book;
/// static PAGES: Metric =
///     Metric::histogram("book_pages", &[], &[1.0, 10.0], "Pages in a write.");
///
/// impl MessageHandler for Book {
/// #   type Payload = Payload;
/// #   type Event = NoEvent;
/// #   const METRICS: &'static [&'static [&'static Metric]] = &[&[&PAGES]];
///     // …
///     fn message(
///         &mut self, node: &mut Node<NoEvent>, _: &Request, Payload::Write { pages }: Payload,
///     ) -> Result<(), Error> {
///         node.observe(&PAGES, &[], pages);
///         Ok(())
///     }
/// }
/// # let mut node = RawNode::new(Book, [7; 32], false);
/// # node.record_metrics();
/// # let mut handle = |body: serde_json::Value| {
/// #     let line = serde_json::json!({"src": "c1", "dest": "n1", "body": body}).to_string();
/// #     node.handle_line(Clock::default(), line.as_bytes());
/// # };
/// # use serde_json::json;
/// # handle(json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": ["n1"]}));
/// # for pages in [1, 5, 70] {
/// #     handle(json!({"type": "write", "pages": pages}));
/// # }
/// // …after writes of 1, 5 and 70 pages:
/// # let snapshot = node.metrics().unwrap();
/// # let histogram: &Histogram = snapshot.histogram("book_pages").unwrap();
/// assert_eq!((histogram.count(), histogram.sum()), (3, 76.0));
/// let cumulative: Vec<_> = histogram.cumulative().collect();
/// assert_eq!(cumulative, [(1.0, 1), (10.0, 2), (f64::INFINITY, 3)]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One count for each bound, and one for all values beyond the last.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len().saturating_add(1)], sum: 0.0 }
    }

    pub(crate) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.iter().position(|bound| value <= *bound);
        if let Some(count) = self.counts.get_mut(bucket.unwrap_or(self.bounds.len())) {
            *count = count.saturating_add(1);
            self.sum += value;
        }
    }

    /// Number of observed values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().copied().fold(0, u64::saturating_add)
    }

    /// Sum of the observed values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Each upper bound with the number of values that do not exceed it. The last bound is
    /// infinite.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(&self.counts).scan(0_u64, |below, (bound, count)| {
            *below = below.saturating_add(*count);
            Some((bound, *below))
        })
    }
}
