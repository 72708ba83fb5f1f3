//! Refuses requests of clients beyond the [`limits`](crate::limits).

use tracing::warn;

use super::RawNode;
use crate::handler::MessageHandler;
use crate::limits::{Admission, Limits, REFUSED};
use crate::message::Request;
use crate::metrics;

impl<H: MessageHandler> RawNode<H> {
    /// Refuses requests of clients beyond these [limits](crate::limits) from now on.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.admission = Admission::new(limits).map(Box::new);
        self.early.bytes_max = limits.pending_bytes;
    }

    /// How many messages of clients the node refused because of a [limit](crate::limits).
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.admission.as_ref().map_or(0, |admission| admission.refused())
    }

    /// Refuses a request if a client sent it and a limit is reached. Returns false if the node
    /// takes it.
    pub(super) fn refuse_beyond_limits(&mut self, request: &Request, kind: &str) -> bool {
        let Some(admission) = &mut self.admission else { return false };
        let src = request.src();
        // Before `init`, the node does not know which names are clients.
        if self.init.is_none() || self.node.node_ids().contains(src) {
            return false;
        }
        let (now, open) = (self.node.now(), self.node.unanswered());
        let Err(limit) = admission.admit(src, open, now) else { return false };
        let error = admission.error(limit);
        if let Some(refused) = admission.refuse_one(now) {
            warn!(client = %src, kind, refused, %error, "a client's message was refused");
        }
        self.node.count(&metrics::REFUSED, &[limit.name()], 1);
        self.node.mark(REFUSED);
        if request.msg_id().is_some() {
            self.node.reply_error(request, &error);
        }
        true
    }
}
