//! The figures of a test for which challenges set limits, from the results of either checker.

#![expect(clippy::disallowed_methods, reason = "results are files")]

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::edn;
use crate::results::Results;

/// The figures of one test.
///
/// ```
/// use maelstrom_sim::limits::{Figures, Limits};
///
/// let figures = Figures { msgs_per_op: Some(21.5), ..Figures::default() };
/// let limits = Limits { max_msgs_per_op: Some(20.0), ..Limits::default() };
/// assert_eq!(figures.missed(&limits), ["msgs-per-op 21.50 is not below 20"]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Messages between servers per client operation.
    pub msgs_per_op: Option<f64>,
    /// The median stable latency, in milliseconds.
    pub median_ms: Option<f64>,
    /// The largest stable latency, in milliseconds.
    pub max_ms: Option<f64>,
    /// The fraction of operations that succeeded.
    pub ok_fraction: Option<f64>,
}

/// Upper limits: a figure must be strictly below its limit. A figure without a limit may have any
/// value. [`Figures`] shows it in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, clap::Args)]
pub struct Limits {
    /// Messages between servers per operation must be below this. (The report shows limits beside
    /// the figures; the subcommand `limits` checks them.)
    #[arg(long, value_name = "N")]
    pub max_msgs_per_op: Option<f64>,
    /// The median stable latency must be below this, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub max_median_ms: Option<f64>,
    /// The largest stable latency must be below this, in milliseconds.
    #[arg(long, value_name = "MS")]
    pub max_latency_ms: Option<f64>,
}

impl Figures {
    /// Reads `results.json` (of this checker) or `results.edn` (of Maelstrom) in `dir`.
    ///
    /// # Errors
    ///
    /// If neither file exists, or the file cannot be parsed.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let (json, edn) = (dir.join("results.json"), dir.join("results.edn"));
        let value = if json.exists() {
            let text = fs::read_to_string(&json)
                .with_context(|| format!("cannot read {}", json.display()))?;
            serde_json::from_str(&text).with_context(|| json.display().to_string())?
        } else {
            let text = fs::read_to_string(&edn).with_context(|| {
                format!("there is neither a results.json nor a results.edn in {}", dir.display())
            })?;
            edn::parse(&text).with_context(|| edn.display().to_string())?
        };
        Ok(Self::of(&value))
    }

    /// The figures from results of this checker.
    #[must_use]
    pub fn of_results(results: &Results) -> Self {
        Self::of(&serde_json::to_value(results).unwrap_or_default())
    }

    pub(crate) fn of(results: &Value) -> Self {
        let number = |path: &[&str]| {
            path.iter().try_fold(results, |value, key| value.get(key)).and_then(Value::as_f64)
        };
        Self {
            msgs_per_op: number(&["net", "servers", "msgs-per-op"]),
            median_ms: number(&["workload", "stable-latencies", "0.5"]),
            max_ms: number(&["workload", "stable-latencies", "1"]),
            ok_fraction: number(&["availability", "ok-fraction"]),
        }
    }

    /// Describes the limits that the figures miss. An unknown figure misses its limit.
    #[must_use]
    pub fn missed(&self, limits: &Limits) -> Vec<String> {
        let checks = [
            ("msgs-per-op", self.msgs_per_op, limits.max_msgs_per_op),
            ("median latency", self.median_ms, limits.max_median_ms),
            ("max latency", self.max_ms, limits.max_latency_ms),
        ];
        checks
            .into_iter()
            .filter_map(|(name, figure, limit)| {
                let limit = limit?;
                match figure {
                    Some(figure) if figure < limit => None,
                    Some(figure) => Some(format!("{name} {figure:.2} is not below {limit}")),
                    None => Some(format!("{name} is unknown")),
                }
            })
            .collect()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(n) = self.msgs_per_op {
            parts.push(format!("{n:.2} msgs-per-op"));
        }
        if let (Some(median), Some(max)) = (self.median_ms, self.max_ms) {
            parts.push(format!("stable latency {median:.0} ms median, {max:.0} ms max"));
        }
        if let Some(fraction) = self.ok_fraction {
            parts.push(format!("ok-fraction {fraction:.4}"));
        }
        if parts.is_empty() {
            parts.push("no figures".into());
        }
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures() -> Figures {
        Figures::of(&json!({
            "net": { "servers": { "msgs-per-op": 0.98 } },
            "workload": { "stable-latencies": { "0.5": 277, "1": 531 } },
            "availability": { "ok-fraction": 1.0 },
        }))
    }

    #[test]
    fn a_figure_must_be_below_its_limit() {
        let limits = Limits {
            max_msgs_per_op: Some(30.0),
            max_median_ms: Some(400.0),
            max_latency_ms: Some(600.0),
        };
        assert!(figures().missed(&limits).is_empty());
        let tight = Limits { max_latency_ms: Some(531.0), ..limits };
        assert_eq!(figures().missed(&tight), ["max latency 531.00 is not below 531"]);
        assert_eq!(Figures::default().missed(&limits).len(), 3);
        assert!(Figures::default().missed(&Limits::default()).is_empty());
    }

    #[test]
    fn figures_come_from_either_checkers_results() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Figures::read(dir.path()).is_err());
        let edn = "{:net {:servers {:msgs-per-op 0.98}}, :availability {:ok-fraction 1.0}, \
                   :workload {:stable-latencies {0 0, 0.5 277, 0.95 500, 0.99 520, 1 531}}}";
        fs::write(dir.path().join("results.edn"), edn).unwrap();
        assert_eq!(Figures::read(dir.path()).unwrap(), figures());
        assert_eq!(
            figures().to_string(),
            "0.98 msgs-per-op, stable latency 277 ms median, 531 ms max, ok-fraction 1.0000",
        );
    }
}
