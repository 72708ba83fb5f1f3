//! The macro for the methods that a handler forwards to its engine.

/// Generates the methods of a [`MessageHandler`](crate::MessageHandler) that only forward to its
/// [`Gossip`](crate::gossip::Gossip) engine. The argument names the field with the engine.
///
/// `forward_to_gossip!(gossip)` generates all six: [`recover`], [`snapshot_bytes`], [`snapshot`],
/// [`gauges`], [`started`] and [`event`]. It also declares the engine's
/// [metrics](crate::gossip::metrics). The handler's `Event` must then be
/// [`Tick`](crate::gossip::Tick). `forward_to_gossip!(gossip, records)` generates the first four.
/// Use it for a handler that does more when it starts, or has its own timers.
///
/// A handler with metrics of its own adds two arguments to either form: the list of these metrics,
/// and a function that sets its gauges. For example: `forward_to_gossip!(gossip, MY_METRICS,
/// Self::set_my_gauges)`, with `fn set_my_gauges(&self, gauges: &mut Gauges)`.
///
/// [`recover`]: crate::MessageHandler::recover
/// [`snapshot_bytes`]: crate::MessageHandler::snapshot_bytes
/// [`snapshot`]: crate::MessageHandler::snapshot
/// [`gauges`]: crate::MessageHandler::gauges
/// [`started`]: crate::MessageHandler::started
/// [`event`]: crate::MessageHandler::event
///
/// ```
/// use maelstrom_core::gossip::{self, Entry, Gossip, Origin, State, Tick};
/// use maelstrom_core::{Error, MessageHandler, Node, Request};
/// # use maelstrom_core::{Clock, RawNode};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// struct Word(String);
///
/// impl Entry for Word {
///     fn encoded_len(&self) -> usize {
///         self.0.len() + 3
///     }
/// }
///
/// #[derive(Default)]
/// struct Words(Vec<Word>);
///
/// impl State for Words {
///     type Entry = Word;
///     type Piece = Vec<Word>;
///
///     fn apply(&mut self, _: &Origin, words: Vec<Word>) {
///         self.0.extend(words);
///     }
/// #    fn piece(&self, _: u64, _: usize) -> (Vec<Word>, Option<u64>) {
/// #        (self.0.clone(), None)
/// #    }
/// #    fn bytes(&self) -> usize {
/// #        self.0.iter().map(Entry::encoded_len).sum()
/// #    }
/// #    fn merge(&mut self, _: Vec<Vec<Word>>) -> Result<(), Error> {
/// #        Ok(())
/// #    }
///     // …and `piece`, `bytes` and `merge`.
/// }
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// #[allow(clippy::large_enum_variant, reason = "one at a time, and gossip is the commonest")]
/// enum Payload {
///     Add { word: Word },
///     Gossip(gossip::Message<Words>),
/// }
///
/// #[derive(Serialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Reply {
///     AddOk,
/// }
///
/// struct Book {
///     gossip: Gossip<Words>,
/// }
///
/// impl MessageHandler for Book {
///     type Payload = Payload;
///     type Event = Tick;
///
///     const RECORD_FORMAT: Option<&'static str> = Some("book 1");
///
///     maelstrom_core::forward_to_gossip!(gossip);
///
///     fn message(
///         &mut self,
///         node: &mut Node<Tick>,
///         request: &Request,
///         payload: Payload,
///     ) -> Result<(), Error> {
///         match payload {
///             Payload::Add { word } => {
///                 self.gossip.append(node, word);
///                 node.reply(request, &Reply::AddOk);
///             }
///             Payload::Gossip(message) => {
///                 self.gossip.message_from(node, request.src(), message)?;
///             }
///         }
///         Ok(())
///     }
/// }
///
/// let book = Book { gossip: Gossip::new(gossip::Config::default(), Words::default()) };
/// let mut node = RawNode::new(book, [7; 32], false);
/// # let mut handle = |body: serde_json::Value| {
/// #     let line = serde_json::json!({"src": "c1", "dest": "n1", "body": body}).to_string();
/// #     node.handle_line(Clock::default(), line.as_bytes());
/// # };
/// # use serde_json::json;
/// # let names = ["n1", "n2"];
/// # handle(json!({"type": "init", "msg_id": 1, "node_id": "n1", "node_ids": names}));
/// # handle(json!({"type": "add", "msg_id": 2, "word": "a"}));
/// // …and it gets its `init`, and a request to add a word.
/// let gossip = &node.handler().gossip;
/// assert_eq!((gossip.state().0.len(), gossip.replica().version().get(gossip.origin())), (1, 1));
/// ```
#[macro_export]
macro_rules! forward_to_gossip {
    ($gossip:ident $(, $metrics:path, $gauges:path)?) => {
        $crate::forward_to_gossip!($gossip, records $(, $metrics, $gauges)?);

        fn started(&mut self, node: &mut $crate::Node<$crate::gossip::Tick>) {
            self.$gossip.start(node);
        }

        fn event(
            &mut self,
            node: &mut $crate::Node<$crate::gossip::Tick>,
            tick: $crate::gossip::Tick,
        ) {
            self.$gossip.tick(node, tick);
        }
    };
    ($gossip:ident, records $(, $metrics:path, $gauges:path)?) => {
        const METRICS: &'static [&'static [&'static $crate::metrics::Metric]] =
            &[$($metrics,)? $crate::gossip::metrics::METRICS];

        fn gauges(&self, now: ::core::time::Duration, gauges: &mut $crate::metrics::Gauges) {
            $($gauges(self, gauges);)?
            self.$gossip.gauges(now, gauges);
        }

        fn recover(&mut self, record: &[u8]) -> ::core::result::Result<(), $crate::Error> {
            self.$gossip.recover(record)
        }

        fn snapshot_bytes(&self) -> ::core::option::Option<usize> {
            self.$gossip.snapshot_bytes()
        }

        fn snapshot(
            &self,
            from: $crate::SnapshotPosition,
            bytes_max: usize,
            records: &mut $crate::Records<'_>,
        ) -> ::core::result::Result<::core::option::Option<$crate::SnapshotPosition>, $crate::Error>
        {
            self.$gossip.snapshot(from, bytes_max, records)
        }
    };
}
