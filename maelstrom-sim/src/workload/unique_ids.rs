//! `unique-ids`: no id may come twice.

use super::{FinalOps, Invocation, Workload};
use crate::checker::{WorkloadResults, unique_ids};
use crate::history::History;
use crate::options::Options;
use crate::rng::SimRng;

const GENERATE: Invocation = Invocation { f: "generate", value: None };

#[derive(Debug)]
pub(super) struct UniqueIds {
    final_ids: bool,
}

impl UniqueIds {
    pub(super) fn new(options: &Options) -> Self {
        Self { final_ids: options.final_ids }
    }
}

impl Workload for UniqueIds {
    fn next(&mut self, _rng: &mut SimRng) -> Invocation {
        GENERATE
    }

    fn final_ops(&self) -> FinalOps {
        if self.final_ids { FinalOps::Once(GENERATE) } else { FinalOps::None }
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
