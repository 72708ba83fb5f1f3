//! `unique-ids`: no id may come twice.

use super::{Invocation, Workload};
use crate::checker::{WorkloadResults, unique_ids};
use crate::history::History;
use crate::rng::SimRng;

#[derive(Debug)]
pub(super) struct UniqueIds;

impl Workload for UniqueIds {
    fn next(&mut self, _rng: &mut SimRng) -> Invocation {
        Invocation { f: "generate", value: None }
    }

    fn reply_fields(&self, _f: &str) -> &'static [&'static str] {
        &["id"]
    }

    fn result_field(&self, _f: &str) -> Option<&'static str> {
        Some("id")
    }

    fn keeps_client(&self) -> bool {
        true
    }

    fn check(&self, history: &History) -> WorkloadResults {
        unique_ids::check(history)
    }
}
