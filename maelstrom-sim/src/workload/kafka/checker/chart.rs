//! Charts of a `kafka` test.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::log::{self, What};
use crate::chart::{Chart, Series};
use crate::history::History;

/// Charts of the consumer lag over the time of a test.
///
/// ```
/// use maelstrom_sim::history::History;
/// use maelstrom_sim::workload::kafka::charts;
///
/// // The lag in messages, and in time.
/// let units: Vec<String> = charts(&History::default()).into_iter().map(|it| it.unit).collect();
/// assert_eq!(units, ["messages", "ms"]);
/// ```
#[must_use]
pub fn charts(history: &History) -> Vec<Chart> {
    let events = log::events(history);
    let mut sent_at: BTreeMap<(&str, &str), Duration> = BTreeMap::new();
    let (mut seen, mut unread) = (BTreeSet::<(&str, &str)>::new(), BTreeSet::new());
    let (mut counts, mut ages) = (Vec::new(), Vec::new());
    for event in &events {
        let time = event.op.time;
        match &event.what {
            What::Sent { key, offset: Some(_), message } => {
                let id = (key.as_str(), *message);
                if seen.contains(&id) {
                    ages.push((time, 0.0));
                } else {
                    sent_at.insert(id, time);
                    unread.insert(id);
                }
            }
            What::Polled(polled) => {
                for (key, pairs) in polled {
                    for (_, message) in pairs {
                        let id = (key.as_str(), message.get());
                        seen.insert(id);
                        if unread.remove(&id)
                            && let Some(sent) = sent_at.get(&id)
                        {
                            let age = time.saturating_sub(*sent).as_secs_f64() * 1_000.0;
                            ages.push((*sent, age));
                        }
                    }
                }
            }
            What::Sent { .. } | What::Assigned(_) => continue,
        }
        #[expect(clippy::cast_precision_loss, reason = "for people to look at")]
        counts.push((time, unread.len() as f64));
    }
    let series = |name: &str, is_line, points| vec![Series { name: name.into(), is_line, points }];
    vec![
        Chart {
            title: "Messages that nobody has read".into(),
            about: "Messages whose sends were acknowledged, and that no poll has shown yet.".into(),
            unit: "messages".into(),
            series: series("unread", true, counts),
        },
        Chart {
            title: "Time until a message is read".into(),
            about: "A point is a message: when its send was acknowledged, and how long it took until a \
                    poll showed it first. Clients poll when they please, so most of it is their time."
                .into(),
            unit: "ms".into(),
            series: series("until the first poll", false, ages),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::tests::history;

    #[test]
    fn a_message_is_unread_until_a_poll_shows_it() {
        let charts = charts(&history(
            "0 1 invoke send [\"a\",7]
             1 1 ok send [\"a\",[0,7]]
             2 1 invoke send [\"a\",8]
             3 1 ok send [\"a\",[1,8]]
             4 2 invoke poll null
             9 2 ok poll {\"a\":[[0,7]]}",
        ));
        let points = |chart: &Chart| {
            chart.series[0].points.iter().map(|(_, value)| *value).collect::<Vec<f64>>()
        };
        assert_eq!(points(&charts[0]), [1.0, 2.0, 1.0]);
        assert_eq!(points(&charts[1]).len(), 1);
    }

    #[test]
    fn a_message_that_is_read_before_its_acknowledgement_is_never_unread() {
        let charts = charts(&history(
            "0 1 invoke send [\"a\",7]
             1 2 invoke poll null
             2 2 ok poll {\"a\":[[0,7]]}
             3 1 ok send [\"a\",[0,7]]",
        ));
        let last = charts[0].series[0].points.last().map(|(_, count)| *count);
        assert_eq!(last, Some(0.0));
        assert_eq!(charts[1].series[0].points.len(), 1);
    }
}
