//! The flags that limit the requests of clients.

use std::num::NonZeroU32;

use clap::Args;

use crate::limits::{Limits, PENDING_BYTES_MAX};
use crate::node::OPEN_REQUESTS_MAX;

/// The flags for the [limits](crate::limits) of any node.
#[derive(Args, Clone, Debug)]
#[command(about = None, long_about = None)]
pub(super) struct LimitArgs {
    /// Refuse requests of clients (error 11) beyond this number per second, for all clients
    /// together. A burst of as many requests is allowed. Messages of other nodes are never refused.
    /// [default: off]
    #[arg(long, value_name = "N")]
    max_requests_per_second: Option<NonZeroU32>,

    /// Refuse requests of each client (error 11) beyond this number per second. A client is known
    /// by its name. [default: off]
    #[arg(long, value_name = "N")]
    max_client_requests_per_second: Option<NonZeroU32>,

    /// Refuse requests of clients (error 11) while this number of requests waits for a reply. With
    /// the default, the node gives up the oldest request instead.
    #[arg(long, value_name = "N", default_value_t = OPEN_REQUESTS_MAX, value_parser = open_requests)]
    max_open_requests: usize,

    /// Maximum bytes of requests that may wait in one place. Requests may wait for `init` or for
    /// other nodes.
    #[arg(long, value_name = "BYTES", default_value_t = PENDING_BYTES_MAX)]
    pub(super) max_pending_bytes: usize,
}

impl LimitArgs {
    pub(super) const fn limits(&self) -> Limits {
        Limits {
            requests_per_second: self.max_requests_per_second,
            client_requests_per_second: self.max_client_requests_per_second,
            open_requests: self.max_open_requests,
            pending_bytes: self.max_pending_bytes,
        }
    }
}

fn open_requests(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().map_err(|error| error.to_string())?;
    if (1..=OPEN_REQUESTS_MAX).contains(&number) {
        Ok(number)
    } else {
        Err(format!("must be at least 1 and at most {OPEN_REQUESTS_MAX}"))
    }
}
