//! The state of a handler, which the engine replicates.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoded::json_bytes;
use super::replica::{Entry, Origin};
use crate::error::Error;

/// The state that the entries build: the join of all applied entries, in any order of the origins'
/// logs. [`forward_to_gossip!`](crate::forward_to_gossip) shows a whole handler.
///
/// ```
/// use maelstrom_core::Error;
/// use maelstrom_core::gossip::{Entry, Origin, State};
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
/// /// A set of words. A piece of a snapshot has some of them, from a position on.
/// #[derive(Default)]
/// struct Words(Vec<Word>);
///
/// impl State for Words {
///     type Entry = Word;
///     type Piece = Vec<Word>;
///
///     fn apply(&mut self, _: &Origin, entries: Vec<Word>) {
///         for word in entries {
///             if self.0.iter().all(|known| known.0 != word.0) {
///                 self.0.push(word);
///             }
///         }
///     }
///
///     fn piece(&self, position: u64, _bytes_max: usize) -> (Vec<Word>, Option<u64>) {
///         (self.0[position as usize..].to_vec(), None)
///     }
///
///     fn piece_bytes(piece: &Vec<Word>) -> usize {
///         piece.iter().map(Entry::encoded_len).sum()
///     }
///
///     fn bytes(&self) -> usize {
///         self.0.iter().map(Entry::encoded_len).sum()
///     }
///
///     fn merge(&mut self, pieces: Vec<Vec<Word>>) -> Result<(), Error> {
///         let origin = Origin { node: "n1".into(), incarnation: 1 };
///         pieces.into_iter().for_each(|piece| self.apply(&origin, piece));
///         Ok(())
///     }
/// }
///
/// let mut words = Words::default();
/// words.merge(vec![vec![Word("a".into())], vec![Word("a".into()), Word("b".into())]])?;
/// assert_eq!(words.piece(1, 1_000).0.len(), 1);
/// # Ok::<(), Error>(())
/// ```
pub trait State {
    /// The type of the entries that nodes append.
    type Entry: Entry;

    /// A part of a snapshot.
    type Piece: Clone + std::fmt::Debug + Serialize + DeserializeOwned;

    /// True if a read must never return less than an earlier read, or half of a snapshot. The
    /// engine then persists all entries that it applies, not only this node's own, and the state
    /// shows a snapshot only as a whole.
    ///
    /// If false, the records hold only the entries that this node appends. So a handler that
    /// promises a client to keep an entry must [append](super::Gossip::append) it, even if the state has
    /// it from another node.
    ///
    /// A monotonic state cannot have [cumulative entries](super::Entry::CUMULATIVE): such a program
    /// does not compile.
    const MONOTONIC: bool = false;

    /// Checks entries that come next in the log of `origin`, before they are applied.
    ///
    /// # Errors
    ///
    /// If an entry is invalid. The engine then takes neither these entries nor later ones of that
    /// log.
    fn check(&self, origin: &Origin, entries: &[Self::Entry]) -> Result<(), Error> {
        let _ = (origin, entries);
        Ok(())
    }

    /// Applies entries of one origin in order. Each entry is applied exactly once, unless a
    /// [`merge`](Self::merge) brought it before.
    fn apply(&mut self, origin: &Origin, entries: Vec<Self::Entry>);

    /// Returns the part of the state that begins at `position` (0 at first) and takes about
    /// `bytes_max` bytes, and the position of the next part.
    ///
    /// A later change, applied or merged, must be placed after everything that the state holds now.
    /// If it changes something in an earlier part, that moves to the end and is returned again. So
    /// all parts together hold everything that the state holds when the last one is taken. The
    /// parts of a [monotonic](Self::MONOTONIC) state hold nothing else.
    fn piece(&self, position: u64, bytes_max: usize) -> (Self::Piece, Option<u64>);

    /// The approximate size of a part in a message, in bytes. It bounds the parts that the engine
    /// sends at once. The default encodes the part and counts the bytes, without keeping them. A
    /// state that can tell the size without that is cheaper.
    fn piece_bytes(piece: &Self::Piece) -> usize {
        json_bytes(piece)
    }

    /// The approximate size of all parts in bytes.
    fn bytes(&self) -> usize;

    /// Joins parts of another node's state into this one. A [monotonic](Self::MONOTONIC) state gets
    /// all parts at once, in order. Any other state gets them one at a time, in order, after the
    /// last one has arrived.
    ///
    /// # Errors
    ///
    /// If a part is invalid. The state must then be unchanged.
    fn merge(&mut self, pieces: Vec<Self::Piece>) -> Result<(), Error>;

    /// Joins a portion of another node's state into this [monotonic](Self::MONOTONIC) one. `pieces`
    /// are all its parts, in order. Returns whether everything is joined. Until then the state must
    /// show nothing of it, and the engine calls this again with the same parts. The default joins
    /// everything at once.
    ///
    /// # Errors
    ///
    /// If a part is invalid. The state must then show nothing of the parts.
    fn merge_step(&mut self, pieces: &[Self::Piece]) -> Result<bool, Error> {
        self.merge(pieces.to_vec()).map(|()| true)
    }

    /// Frees a portion of the memory that [`merge_step`](Self::merge_step) has left. Returns
    /// whether nothing is left.
    fn discard_step(&mut self) -> bool {
        true
    }
}
