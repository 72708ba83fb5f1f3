//! Where requests of clients are refused: see [`limits`](crate::limits).

use tracing::warn;

use super::RawNode;
use crate::handler::MessageHandler;
use crate::limits::{Admission, Limits, REFUSED};
use crate::message::Request;
use crate::metrics;

impl<H: MessageHandler> RawNode<H> {
    /// From now on, requests of clients are refused beyond these [limits](crate::limits).
    pub fn set_limits(&mut self, limits: &Limits) {
        self.admission = Admission::new(limits).map(Box::new);
        self.early.bytes_max = limits.pending_bytes;
    }

    /// How many messages of clients were refused, since a [limit](crate::limits) was reached.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.admission.as_ref().map_or(0, |admission| admission.refused())
    }

    /// Refuses a request if it is a client's and a limit is reached. `false`: the node takes it.
    pub(super) fn refuse_beyond_limits(&mut self, request: &Request, kind: &str) -> bool {
        let Some(admission) = &mut self.admission else { return false };
        let src = request.src();
        // Before `init` nobody knows who is a client.
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
