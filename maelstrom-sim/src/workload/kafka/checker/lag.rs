//! How far behind clients are: Jepsen's `realtime-lag`.
//!
//! A client that is about to read offset `n` when its poll has ended is at least as far behind as
//! the time from when an offset of `n` or above was first known to exist, to when that poll began.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::log::{Event, What};

/// The worst lag so far.
#[derive(Debug, Default)]
struct Worst {
    lag: Duration,
    time: Duration,
    process: u64,
    key: String,
}

/// When offsets were known of, and how far behind them clients were.
#[derive(Debug)]
pub(super) struct Lag {
    /// For each key: each offset that was higher than all before it, and when; both rise.
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

    /// After a poll a client is about to read `next`.
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

    /// The worst lag, in seconds.
    pub(super) fn worst(&self) -> Value {
        let Some(Worst { lag, time, process, key }) = &self.worst else {
            return json!({ "time": 0, "lag": 0 });
        };
        let (time, lag) = (time.as_secs_f64(), lag.as_secs_f64());
        json!({ "time": time, "process": process, "key": key, "lag": lag })
    }
}
