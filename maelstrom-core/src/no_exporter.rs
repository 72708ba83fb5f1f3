//! Replaces the exporter in a build without the feature `metrics`: there is no server.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use crate::metrics::Snapshot;

/// A request for metrics. No value of this type exists.
pub(crate) struct Asked(Infallible);

impl Asked {
    pub(crate) fn answer(self, _is_ready: bool, _metrics: Snapshot) {
        match self.0 {}
    }
}

/// No server.
pub(crate) struct Exporter;

impl Exporter {
    /// Fails if there is an address, since no server would listen there.
    pub(crate) async fn start(addr: Option<SocketAddr>) -> io::Result<Self> {
        if addr.is_none() {
            return Ok(Self);
        }
        let why = "maelstrom-core was built without the feature `metrics`: it serves none";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    #[expect(clippy::unused_self, reason = "as in the exporter")]
    pub(crate) const fn is_on(&self) -> bool {
        false
    }

    pub(crate) async fn asked(&mut self) -> Asked {
        std::future::pending().await
    }
}
