//! Charts for the report: a value that a workload measures, over the time of a test.

use std::time::Duration;

use serde::Serialize;

/// A chart.
///
/// ```
/// use std::time::Duration;
///
/// use maelstrom_sim::chart::{Chart, Series};
///
/// let points = vec![(Duration::from_millis(2), 7.0)];
/// let series = vec![Series { name: "n1".into(), is_line: true, points }];
/// let chart = Chart { title: "Queue".into(), unit: "bytes".into(), series, ..Chart::default() };
/// // The page has the times in microseconds.
/// assert!(serde_json::to_string(&chart)?.contains("[[2000,7.0]]"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Chart {
    /// Its title.
    pub title: String,
    /// One or two sentences: the meaning of a point.
    pub about: String,
    /// The unit of the values, such as `ms`.
    pub unit: String,
    /// Its series, each with a colour.
    pub series: Vec<Series>,
}

/// A series of a chart. [`Chart`] shows it in use.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Whether lines join the points.
    pub is_line: bool,
    /// The points: the time since the first operation could begin, and the value at that time.
    #[serde(serialize_with = "points")]
    pub points: Vec<(Duration, f64)>,
}

/// Serializes times in microseconds, so that the page holds them as whole numbers.
fn points<S: serde::Serializer>(
    points: &[(Duration, f64)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(points.iter().map(|(at, value)| (at.as_micros(), value)))
}
