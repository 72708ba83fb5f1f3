//! Replaces authentication in a build without the feature `auth`: no node has a key.

use std::convert::Infallible;

use crate::message::NodeId;

/// A key. No value of this type exists.
#[derive(Clone, Debug)]
pub(crate) struct ClusterKey(Infallible);

impl ClusterKey {
    pub(crate) fn seal(&self, _: &mut Vec<u8>, _body_at: usize, _src: &str, _dest: &str) {
        match self.0 {}
    }
}

/// No key.
#[derive(Debug, Default)]
pub(crate) struct Auth(());

impl Auth {
    #[expect(clippy::unused_self, reason = "as with a key")]
    pub(crate) const fn key_for(&self, _dest: &str, _node_ids: &[NodeId]) -> Option<&ClusterKey> {
        None
    }

    #[cfg(feature = "runtime")]
    #[expect(clippy::unused_self, reason = "as with a key")]
    pub(crate) const fn line_bytes_max(&self, limit: usize) -> usize {
        limit
    }
}
