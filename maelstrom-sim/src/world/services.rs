//! Handles requests to services: their replies, and the faults of the services.

use std::time::Duration;

use serde_json::value::RawValue;

use super::{BAD_REQUESTS_MAX, World};
use crate::excerpt::excerpt;
use crate::nemesis::ServiceMode;
use crate::network::Message;
use crate::news::News;
use crate::service::Services;

impl World {
    pub(super) fn service_received(&mut self, now: Duration, message: &Message) {
        let (src, dest) = (&message.src, &message.dest);
        let error = match self.service_mode {
            ServiceMode::Fine => None,
            ServiceMode::Unreachable => return,
            ServiceMode::Errors => Services::error(&message.body, &mut self.service_rng),
        };
        // A request with a definite error must have no effect. A request with an indefinite error
        // may have one.
        let spared = error.as_ref().is_some_and(|(_, definite)| *definite);
        let reply = if spared { None } else { self.ask_service(now, message) };
        if let Some(reply) = error.map(|(body, _)| body).or(reply) {
            // The node may have left the network in the meantime.
            self.network.send(now, dest, src, reply).ok();
        }
    }

    /// The reply of a service. Reports an invalid request, once for each node and kind of error.
    fn ask_service(&mut self, now: Duration, message: &Message) -> Option<Box<RawValue>> {
        let (src, dest) = (&message.src, &message.dest);
        match self.services.handle(dest, src, &message.body) {
            Ok(reply) => Some(reply),
            Err(error) => {
                let is_news = self.bad_requests.len() < BAD_REQUESTS_MAX
                    && self.bad_requests.insert((src.clone(), error.clone()));
                if is_news {
                    let why = format!("{dest}: {error}: {}", excerpt(message.body.get()));
                    self.tell(now, News::BadRequest { node: src.clone(), why });
                }
                None
            }
        }
    }
}
