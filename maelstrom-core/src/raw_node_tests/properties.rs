//! Properties that hold for any input.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::any_json::any_json;

/// A step of a conversation that makes little or no sense.
#[derive(Clone, Debug)]
enum Step {
    Line(Vec<u8>),
    /// This many milliseconds pass.
    Wait(u64),
    End,
}

/// Mostly a value that belongs in such a field, sometimes any value.
fn mostly<T: Into<Value> + Clone + std::fmt::Debug + 'static>(
    good: &'static [T],
) -> impl Strategy<Value = Value> {
    prop_oneof![
        9 => prop::sample::select(good).prop_map(Into::into),
        1 => any_json(),
    ]
}

/// A body that may be a command to the [`Puppet`], a reply, or neither.
fn any_body() -> impl Strategy<Value = Value> {
    let types = mostly(&[
        "init", "echo", "fail", "twice", "defer", "release", "call", "sleep", "spin", "persist",
        "broken", "pong", "error", "",
    ]);
    let fields = (
        prop::option::weighted(0.8, mostly(&[1_u64, 2, 3, u64::MAX])),
        prop::option::weighted(0.2, mostly(&[1_u64, 2, 3, u64::MAX])),
        mostly(&["reply", "send", "persist", "call"]),
        mostly(&["n1", "n2", "c1"]),
        mostly(&[0_u64, 1, 50, u64::MAX]),
        prop_oneof![Just(json!([7, 8])), any_json()],
        mostly(&[0_u64, 14, 22, 1000, u64::MAX]),
        any_json(),
    );
    (types, fields, any::<u8>()).prop_map(|(kind, fields, missing)| {
        let (msg_id, in_reply_to, how, peer, ms, records, code, echo) = fields;
        let mut body = json!({
            "type": kind, "how": how, "peer": peer, "ms": ms, "records": records, "code": code,
            "echo": echo, "node_id": peer, "node_ids": ["n1", "n2", "c1"],
        });
        for (name, id) in [("msg_id", msg_id), ("in_reply_to", in_reply_to)] {
            if let Some(id) = id {
                body[name] = id;
            }
        }
        if missing == 0 {
            body.as_object_mut().unwrap().remove("type");
        }
        body
    })
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let message = || {
        (
            mostly(&["c1", "c2", "n1", "n2", "lin-kv", ""]),
            prop_oneof![8 => Just(json!("n1")), 1 => mostly(&["n2", "", "c1"])],
            prop_oneof![9 => any_body(), 1 => any_json()],
        )
            .prop_map(|(src, dest, body)| {
                let message = json!({"id": 1, "src": src, "dest": dest, "body": body});
                message.to_string().into_bytes()
            })
    };
    prop_oneof![
        8 => message(),
        2 => (message(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
            |(mut line, at, byte)| {
                let at = at.index(line.len());
                line[at] = byte;
                line
            }
        ),
        1 => any_json().prop_map(|json| json.to_string().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_line().prop_map(Step::Line),
        2 => (0_u64..100).prop_map(Step::Wait),
        1 => Just(Step::End),
    ]
}

/// Takes a step. Returns the number of replies that the node wrote.
fn take(session: &mut Session, step: &Step) -> usize {
    match step {
        Step::Line(line) => session.node.handle_line(session.clock, line),
        Step::Wait(ms) => {
            session.clock.monotonic += Duration::from_millis(*ms);
            session.node.handle_timeout(session.clock);
        }
        Step::End => session.node.handle_end_of_input(session.clock),
    }
    // `drain` checks that each output is a whole line and an envelope.
    let said = session.drain();
    said.iter().filter(|said| said.contains(r#","in_reply_to":"#)).count()
}

/// Checks that the node still answers, regardless of earlier steps.
fn assert_serves(session: &mut Session) {
    session.check(
        r#"
        c9 > {"type":"echo","msg_id":99,"echo":"still here"}
        c9 < {"type":"echo_ok","in_reply_to":99,"echo":"still here"}
        "#,
    );
}

proptest! {
    #![proptest_config(crate::any_json::cases(100))]

    #[test]
    fn no_bytes_can_harm_a_node(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
        durable in any::<bool>(),
    ) {
        let mut session = Session::started(durable);
        for line in lines {
            take(&mut session, &Step::Line(line));
        }
        assert_serves(&mut session);
    }

    #[test]
    fn no_conversation_can_harm_a_node_and_replies_never_outnumber_requests(
        steps in prop::collection::vec(any_step(), 1..24),
        started in any::<bool>(),
    ) {
        let mut session = if started { Session::started(true) } else { Session::new(true) };
        let (mut requests, mut replies) = (0, 0);
        for step in &steps {
            requests += usize::from(matches!(step, Step::Line(_)));
            replies += take(&mut session, step);
            prop_assert!(replies <= requests);
            prop_assert_eq!(session.node.unanswered(), session.node.handler().owed);
        }
        if started {
            assert_serves(&mut session);
        }
    }
}
