//! A handler whose records are replaced by a snapshot whenever it comes back.
//!
//! What a snapshot must bring back is what the records would have: so it is taken of a node that has
//! recovered these, a second node recovers it, and that one goes on. A sweep of it finds what a
//! handler's snapshots lack.

use maelstrom_core::{Error, MessageHandler, Node, Records, Request};

/// See the [module](self).
#[derive(Debug)]
pub struct Compacted<H, B> {
    handler: H,
    build: B,
    has_records: bool,
}

impl<H: MessageHandler, B: Fn() -> H> Compacted<H, B> {
    /// `build` makes the handler.
    pub fn new(build: B) -> Self {
        Self { handler: build(), build, has_records: false }
    }

    /// A node that has recovered a snapshot of this one.
    fn recovered(&self) -> Result<H, Error> {
        let (mut fresh, mut result) = ((self.build)(), Ok(()));
        self.handler.snapshot(&mut Records::new(&mut |record| {
            if result.is_ok() {
                result = fresh.recover(record);
            }
        }))?;
        result.map(|()| fresh)
    }
}

impl<H: MessageHandler, B: Fn() -> H> MessageHandler for Compacted<H, B> {
    type Payload = H::Payload;
    type Event = H::Event;

    const RECORD_FORMAT: Option<&'static str> = H::RECORD_FORMAT;

    fn recover(&mut self, record: &[u8]) -> Result<(), Error> {
        self.has_records = true;
        self.handler.recover(record)
    }

    /// # Panics
    ///
    /// If there is no snapshot, or it cannot be recovered.
    fn started(&mut self, node: &mut Node<Self::Event>) {
        if self.has_records {
            assert!(self.handler.snapshot_bytes().is_some(), "there is no snapshot");
            let fresh = self.recovered();
            assert!(fresh.is_ok(), "a snapshot cannot be recovered: {:?}", fresh.err());
            self.handler = fresh.unwrap_or_else(|_| (self.build)());
        }
        self.handler.started(node);
    }

    fn message(
        &mut self,
        node: &mut Node<Self::Event>,
        request: &Request,
        payload: Self::Payload,
    ) -> Result<(), Error> {
        self.handler.message(node, request, payload)
    }

    fn event(&mut self, node: &mut Node<Self::Event>, event: Self::Event) {
        self.handler.event(node, event);
    }
}
