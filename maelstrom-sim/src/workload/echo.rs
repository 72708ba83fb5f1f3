//! `echo`: every reply must equal its request.

use rand::RngExt;
use serde_json::{Value, json};

use super::{Invocation, RequestBody, Workload, raw};
use crate::checker::{WorkloadResults, echo};
use crate::history::History;
use crate::rng::SimRng;

#[derive(Debug)]
pub(super) struct Echo;

impl Workload for Echo {
    fn next(&mut self, rng: &mut SimRng) -> Invocation {
        let text = format!("Please echo {}", rng.random_range(0..128));
        Invocation { f: "echo", value: raw(&json!(text)) }
    }

    fn request(&self, op: &Invocation) -> RequestBody {
        let value = op.value.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        RequestBody::new("echo", [("echo", value.unwrap_or(Value::Null))])
    }

    fn reply_fields(&self, _f: &str) -> &'static [&'static str] {
        &["echo"]
    }

    fn result_field(&self, _f: &str) -> Option<&'static str> {
        Some("echo")
    }

    fn check(&self, history: &History) -> WorkloadResults {
        echo::check(history)
    }
}
