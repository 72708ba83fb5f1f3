//! The consumer lag: Jepsen's `realtime-lag`.
//!
//! Suppose that `n` is the next offset of a client after a poll. Then the client's lag is at least
//! the time between two moments: when an offset of `n` or above was first known to exist, and when
//! that poll began.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::log::{Event, What};

/// The largest lag so far.
#[derive(Debug, Default)]
struct Worst {
    lag: Duration,
    time: Duration,
    process: u64,
    key: String,
}

/// The times at which offsets became known, and the largest lag.
#[derive(Debug)]
pub(super) struct Lag {
    /// For each key: each offset that was higher than all before it, with its time. Both ascend.
    known: BTreeMap<String, Vec<(i64, Duration)>>,
    worst: Option<Worst>,
}

impl Lag {
    pub(super) fn new(events: &[Event<'_>]) -> Self {
        let mut lag = Self { known: BTreeMap::new(), worst: None };
        for event in events {
            match &event.what {
                What::Sent { key, offset: Some(offset), .. } => lag.know(key, *offset, event),
                What::Polled(polled) => {
                    for (key, pairs) in polled {
                        if let Some(offset) = pairs.iter().map(|(offset, _)| *offset).max() {
                            lag.know(key, offset, event);
                        }
                    }
                }
                What::Sent { .. } | What::Assigned(_) => {}
            }
        }
        lag
    }

    fn know(&mut self, key: &str, offset: i64, event: &Event<'_>) {
        let known = self.known.entry(key.to_owned()).or_default();
        if known.last().is_none_or(|(last, _)| *last < offset) {
            known.push((offset, event.op.time));
        }
    }

    /// Measures the lag of a client whose next offset after a poll is `next`.
    pub(super) fn measure(&mut self, poll: &Event<'_>, key: &str, next: i64) {
        let Some(known) = self.known.get(key) else {
            return;
        };
        let first = known.partition_point(|(offset, _)| *offset < next);
        let Some((_, since)) = known.get(first) else {
            return;
        };
        let lag = poll.begun.saturating_sub(*since);
        if lag > self.worst.as_ref().map_or(Duration::ZERO, |worst| worst.lag) {
            let (time, process, key) = (poll.begun, poll.process, key.to_owned());
            self.worst = Some(Worst { lag, time, process, key });
        }
    }

    /// The largest lag, in seconds.
    pub(super) fn worst(&self) -> Value {
        let Some(Worst { lag, time, process, key }) = &self.worst else {
            return json!({ "time": 0, "lag": 0 });
        };
        let (time, lag) = (time.as_secs_f64(), lag.as_secs_f64());
        json!({ "time": time, "process": process, "key": key, "lag": lag })
    }
}
