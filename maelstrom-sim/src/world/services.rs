//! Requests to services: their answers, and the faults of the services themselves.

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
        // After a definite error nothing must have happened; after an indefinite one, something may.
        let spared = error.as_ref().is_some_and(|(_, definite)| *definite);
        let reply = if spared { None } else { self.ask_service(now, message) };
        if let Some(reply) = error.map(|(body, _)| body).or(reply) {
            // The node that asked may be gone by now.
            self.network.send(now, dest, src, reply).ok();
        }
    }

    /// The answer of a service. A request that makes no sense is reported, once for each node and kind.
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
