//! Target `unique-ids`: no id occurs twice, whatever the wall clock does and however often nodes
//! restart. The ids of one incarnation rise.

use std::collections::{BTreeMap, BTreeSet};

use unique_ids::UniqueIds;

use crate::input::Input;
use crate::world::{Reply, Subject, World};

#[derive(Default)]
struct Ids {
    all: BTreeSet<String>,
    /// The last id of each incarnation.
    last: BTreeMap<String, String>,
}

impl Subject for Ids {
    type Handler = UniqueIds;

    fn handler(&self) -> UniqueIds {
        UniqueIds::default()
    }

    fn request(&mut self, _input: &mut Input<'_>) -> String {
        r#""type":"generate""#.to_owned()
    }

    fn replied(&mut self, reply: &Reply<'_>) {
        assert_eq!(reply.kind(), "generate_ok");
        let id: String = reply.field("id");
        assert!(self.all.insert(id.clone()), "{id} comes twice");
        let (_, incarnation) = id.split_once('-').unwrap();
        let before = self.last.insert(incarnation.to_owned(), id.clone());
        assert!(before.is_none_or(|before| before < id), "{id} does not rise");
    }
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    World::run(bytes, |_| Ids::default());
}
