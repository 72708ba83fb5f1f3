//! `g-counter`: a third of the operations add 0 to 4, the others read; in the end every node must
//! show the sum.

use rand::RngExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{FinalOps, Invocation, RequestBody, Workload, raw};
use crate::checker::{WorkloadResults, counter};
use crate::history::History;
use crate::json::is_integer;
use crate::rng::SimRng;

#[derive(Debug)]
pub(super) struct GCounter;

impl Workload for GCounter {
    fn next(&mut self, rng: &mut SimRng) -> Invocation {
        // Maelstrom mixes reads with as many adds of -5 to 4, and drops the negative ones.
        if rng.random_range(0..3) > 0 {
            return Invocation { f: "read", value: None };
        }
        Invocation { f: "add", value: raw(&json!(rng.random_range(0..5))) }
    }

    fn final_ops(&self) -> FinalOps {
        FinalOps::Once(Invocation { f: "read", value: None })
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        let delta = op.value.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
        match delta {
            Some(delta) => RequestBody::new("add", [("delta", delta)]),
            None => RequestBody::new("read", []),
        }
    }

    fn reply_fields(&self, f: &str) -> &'static [&'static str] {
        if f == "read" { &["value"] } else { &[] }
    }

    fn result_field(&self, f: &str) -> Option<&'static str> {
        (f == "read").then_some("value")
    }

    fn result(&self, _f: &str, value: &RawValue) -> Result<Box<RawValue>, String> {
        match value.get().parse::<i64>() {
            Ok(_) => Ok(value.to_owned()),
            Err(_) if is_integer(value) => Err("does not fit in 64 bits".into()),
            Err(_) => Err("is not an integer".into()),
        }
    }

    /// Maelstrom's client for counters catches no errors, so it never knows.
    fn heeds_errors(&self) -> bool {
        false
    }

    fn check(&self, history: &History) -> WorkloadResults {
        counter::check(history)
    }
}
