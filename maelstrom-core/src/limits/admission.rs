//! Decides whether a node accepts a request of a client.

use std::time::Duration;

use super::Limits;
use super::bucket::{Bucket, Rate};
use super::clients::Clients;
use crate::error::Error;
use crate::log_rate::LogRate;
use crate::message::NodeId;
use crate::node::OPEN_REQUESTS_MAX;

/// The limits of a node, and the state that they need.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    all: Option<(Rate, Bucket)>,
    clients: Option<Clients>,
    log: LogRate,
}

/// The limit that refuses a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Requests,
    ClientRequests,
    OpenRequests,
}

impl Limit {
    /// The limit's name in the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_second",
            Self::ClientRequests => "client_requests_per_second",
            Self::OpenRequests => "open_requests",
        }
    }
}

impl Admission {
    /// `None`: no limit can refuse a request.
    pub(crate) fn new(limits: &Limits) -> Option<Self> {
        let all = limits.requests_per_second.map(|n| (Rate::new(n), Bucket::default()));
        let clients = limits.client_requests_per_second.map(|n| Clients::new(Rate::new(n)));
        if all.is_none() && clients.is_none() && limits.open_requests >= OPEN_REQUESTS_MAX {
            return None;
        }
        Some(Self { limits: limits.clone(), all, clients, log: LogRate::default() })
    }

    /// Accepts or refuses a message of a client. `open` requests wait for a reply, including this
    /// one.
    ///
    /// # Errors
    ///
    /// The limit that refuses the message. A refused message takes no token.
    pub(crate) fn admit(&mut self, src: &NodeId, open: usize, now: Duration) -> Result<(), Limit> {
        if open > self.limits.open_requests {
            return Err(Limit::OpenRequests);
        }
        let clients = self.clients.as_ref();
        let own = match clients.map(|clients| clients.take(src, now)) {
            Some(None) => return Err(Limit::ClientRequests),
            Some(own) => own,
            None => None,
        };
        if let Some((rate, bucket)) = &mut self.all {
            *bucket = bucket.take(*rate, now).ok_or(Limit::Requests)?;
        }
        if let Some((clients, own)) = self.clients.as_mut().zip(own) {
            clients.put(src, own, now);
        }
        Ok(())
    }

    /// The error for a request that this limit refuses.
    pub(crate) fn error(&self, limit: Limit) -> Error {
        let of = |n: Option<std::num::NonZeroU32>| n.map_or(0, std::num::NonZeroU32::get);
        Error::temporarily_unavailable(match limit {
            Limit::Requests => format!(
                "clients may send {} requests a second (--max-requests-per-second)",
                of(self.limits.requests_per_second)
            ),
            Limit::ClientRequests => format!(
                "a client may send {} requests a second (--max-client-requests-per-second)",
                of(self.limits.client_requests_per_second)
            ),
            Limit::OpenRequests => format!(
                "{} requests may wait for a reply (--max-open-requests)",
                self.limits.open_requests
            ),
        })
    }

    /// Counts a refused message. Returns the number of refusals to log now, if it is time to log.
    pub(crate) fn refuse_one(&mut self, now: Duration) -> Option<u64> {
        self.log.add_one(now)
    }

    /// Number of refused messages.
    pub(crate) fn refused(&self) -> u64 {
        self.log.total()
    }
}
