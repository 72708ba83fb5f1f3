//! Target `echo`: the value comes back byte for byte.

use echo::Echo;

use crate::input::Input;
use crate::odd;
use crate::world::{Reply, Subject, World};

struct Echoes;

impl Subject for Echoes {
    type Handler = Echo;

    fn handler(&self) -> Echo {
        Echo
    }

    fn request(&mut self, input: &mut Input<'_>) -> String {
        format!(r#""type":"echo","echo":{}"#, odd::value(input))
    }

    fn replied(&mut self, reply: &Reply<'_>) {
        if reply.kind() == "error" {
            return;
        }
        let sent = reply.request.trim_start_matches(r#""type":"echo","echo":"#);
        assert_eq!(reply.fields["echo"].get(), sent);
    }
}

/// Runs a case.
///
/// # Panics
///
/// If an invariant does not hold.
pub fn run(bytes: &[u8]) {
    World::run(bytes, |_| Echoes);
}
