//! The limits refuse requests of clients, and nothing else.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::limits::REFUSED;

fn all(per_second: u32) -> Limits {
    Limits { requests_per_second: NonZeroU32::new(per_second), ..Limits::default() }
}

fn each(per_second: u32) -> Limits {
    Limits { client_requests_per_second: NonZeroU32::new(per_second), ..Limits::default() }
}

#[test]
fn a_client_beyond_its_limit_gets_error_11_that_names_it_until_a_token_comes() {
    let mut session = Session::limited(&each(2));
    session.node.record_metrics();
    session.node.record_marks();
    session.check(
        r#"
        c1 > {"type":"echo","msg_id":1,"echo":1}
        c1 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        c1 > {"msg_id":2,"type":"echo","echo":2}
        c1 < {"type":"echo_ok","in_reply_to":2,"echo":2}
        c1 > {"type":"echo","msg_id":3,"echo":3}
        c1 < {"type":"error","in_reply_to":3,"code":11,"text":"a client may send 2 requests a second (--max-client-requests-per-second)"}
        c1 > {"msg_id":4,"type":"\u0065cho","echo":4}
        c1 < {"type":"error","in_reply_to":4,"code":11,"text":"a client may send 2 requests a second (--max-client-requests-per-second)"}
        c2 > {"type":"echo","msg_id":1,"echo":1}
        c2 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        at 499
        c1 > {"type":"nonsense","msg_id":5}
        c1 < {"type":"error","in_reply_to":5,"code":11,"text":"a client may send 2 requests a second (--max-client-requests-per-second)"}
        at 500
        c1 > {"type":"nonsense","msg_id":6}
        c1 < {"type":"error","in_reply_to":6,"code":10,"text":"unknown message type `nonsense`"}
        c1 > {"type":"echo","msg_id":7,"echo":7}
        c1 < {"type":"error","in_reply_to":7,"code":11,"text":"a client may send 2 requests a second (--max-client-requests-per-second)"}
        "#,
    );
    let metrics = session.node.metrics().unwrap();
    let limit = [("limit", "client_requests_per_second")];
    assert_eq!(metrics.sum("maelstrom_refused_total", &limit), 4.0);
    assert_eq!(metrics.sum("maelstrom_refused_total", &[]), 4.0);
    let failed = [("type", "echo"), ("outcome", "error")];
    assert_eq!(metrics.sum("maelstrom_requests_total", &failed), 3.0);
    assert_eq!(metrics.sum("maelstrom_errors_total", &[("code", "temporarily-unavailable")]), 4.0);
    assert_eq!(session.node.refused(), 4);
    assert_eq!(session.node.take_marks(), [REFUSED; 4]);
    assert_eq!(session.node.unanswered(), 0);
}

#[test]
fn a_node_that_takes_no_request_takes_messages_of_nodes_and_replies_and_init() {
    let mut session = Session::limited(&all(1));
    session.check(
        r#"
        c1 > {"type":"call","msg_id":1,"peer":"lin-kv","ms":1000}
        lin-kv < {"type":"ping","msg_id":1}
        c2 > {"type":"echo","msg_id":1,"echo":1}
        c2 < {"type":"error","in_reply_to":1,"code":11,"text":"clients may send 1 requests a second (--max-requests-per-second)"}
        n2 > {"type":"echo","msg_id":1,"echo":1}
        n2 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        n2 > {"msg_id":2,"type":"\u0065cho","echo":2}
        n2 < {"type":"echo_ok","in_reply_to":2,"echo":2}
        n1 > {"type":"echo","msg_id":3,"echo":3}
        n1 < {"type":"echo_ok","in_reply_to":3,"echo":3}
        c0 > {"type":"init","msg_id":2,"node_id":"n1","node_ids":["n1","n2"]}
        c0 < {"type":"init_ok","in_reply_to":2}
        lin-kv > {"type":"pong","in_reply_to":1}
        c1 < {"type":"call_ok","in_reply_to":1,"outcome":"pong from lin-kv"}
        c2 > {"type":"echo","msg_id":2,"echo":2}
        c2 < {"type":"error","in_reply_to":2,"code":11,"text":"clients may send 1 requests a second (--max-requests-per-second)"}
        "#,
    );
}

#[test]
fn a_refused_message_that_wants_no_reply_gets_none_and_has_no_effect() {
    let mut session = Session::limited(&all(1));
    session.check(
        r#"
        c1 > {"type":"persist","records":[]}
        c1 > {"type":"sleep","ms":5}
        c1 > {"type":"call","peer":"n2","ms":5}
        at 5
        "#,
    );
    assert_eq!((session.node.refused(), session.node.handler().woken), (2, 0));
}

#[test]
fn requests_that_waited_for_init_count_when_it_has_come() {
    let mut session = Session::new(false);
    session.node.set_limits(&all(2));
    session.check(
        r#"
        c1 > {"type":"echo","msg_id":1,"echo":1}
        n2 > {"type":"echo","msg_id":1,"echo":1}
        c1 > {"type":"echo","msg_id":2,"echo":2}
        c1 > {"type":"echo","msg_id":3,"echo":3}
        n2 > {"type":"echo","msg_id":2,"echo":2}
        c0 > {"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}
        c0 < {"type":"init_ok","in_reply_to":1}
        c1 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        n2 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        c1 < {"type":"echo_ok","in_reply_to":2,"echo":2}
        c1 < {"type":"error","in_reply_to":3,"code":11,"text":"clients may send 2 requests a second (--max-requests-per-second)"}
        n2 < {"type":"echo_ok","in_reply_to":2,"echo":2}
        "#,
    );
}

#[test]
fn requests_for_which_there_is_no_room_before_init_are_counted() {
    let mut session = Session::new(false);
    session.node.record_metrics();
    session.node.set_limits(&Limits { pending_bytes: 120, ..Limits::default() });
    session.check(
        r#"
        c1 > {"type":"echo","msg_id":1,"echo":1}
        c1 > {"type":"echo","msg_id":2,"echo":2}
        c1 < {"type":"error","in_reply_to":2,"code":11,"text":"not initialized yet: send `init` first"}
        c0 > {"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}
        c0 < {"type":"init_ok","in_reply_to":1}
        c1 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        "#,
    );
    let metrics = session.node.metrics().unwrap();
    assert_eq!(metrics.sum("maelstrom_refused_total", &[("limit", "pending_bytes")]), 1.0);
    assert_eq!(metrics.sum("maelstrom_early_bytes", &[]), 0.0);
}

#[test]
fn while_too_many_requests_wait_those_of_clients_are_refused_and_those_of_nodes_taken() {
    let mut session = Session::limited(&Limits { open_requests: 2, ..Limits::default() });
    session.check(
        r#"
        c1 > {"type":"defer","msg_id":1}
        c1 > {"type":"echo","msg_id":2,"echo":2}
        c1 < {"type":"echo_ok","in_reply_to":2,"echo":2}
        n2 > {"type":"defer","msg_id":1}
        c1 > {"type":"echo","msg_id":3,"echo":3}
        c1 < {"type":"error","in_reply_to":3,"code":11,"text":"2 requests may wait for a reply (--max-open-requests)"}
        n2 > {"type":"defer","msg_id":2}
        n2 > {"type":"release","msg_id":3}
        c1 < {"type":"defer_ok","in_reply_to":1}
        n2 < {"type":"defer_ok","in_reply_to":1}
        n2 < {"type":"defer_ok","in_reply_to":2}
        n2 < {"type":"release_ok","in_reply_to":3}
        c1 > {"type":"echo","msg_id":4,"echo":4}
        c1 < {"type":"echo_ok","in_reply_to":4,"echo":4}
        "#,
    );
}

/// A message: its sender, the milliseconds since the previous message, whether its type comes
/// before its `msg_id`, and whether it is a `defer` or a `release`.
fn any_message() -> impl Strategy<Value = (String, u64, bool, bool)> {
    let src = prop::sample::select(vec!["c1", "c2", "n1", "n2"]);
    (src.prop_map(str::to_owned), 0_u64..400, any::<bool>(), any::<bool>())
}

/// The outputs of a node with these limits.
fn said(
    messages: &[(String, u64, bool, bool)],
    limits: &Limits,
    step_by_step: bool,
) -> Vec<String> {
    let mut session = Session::limited(limits);
    session.node.step_by_step = step_by_step;
    let mut said = Vec::new();
    for ((src, ms, is_plain, is_deferred), id) in messages.iter().zip(1..) {
        session.clock.monotonic += Duration::from_millis(*ms);
        let kind = if *is_deferred { "defer" } else { "release" };
        let body = match is_plain {
            true => format!(r#"{{"type":"{kind}","msg_id":{id}}}"#),
            false => format!(r#"{{"msg_id":{id},"type":"{kind}"}}"#),
        };
        session.feed(&format!("{src} > {body}"));
        said.extend(session.drain());
    }
    said
}

proptest! {
    #[test]
    fn limits_refuse_only_clients_and_do_so_step_by_step_as_in_one_pass(
        messages in prop::collection::vec(any_message(), 1..60),
        (all, each, open_requests) in (0_u32..4, 0_u32..3, 1_usize..8),
    ) {
        let limits = Limits {
            requests_per_second: NonZeroU32::new(all),
            client_requests_per_second: NonZeroU32::new(each),
            open_requests,
            ..Limits::default()
        };
        let one_pass = said(&messages, &limits, false);
        prop_assert!(!one_pass.iter().any(|line| line.starts_with('n') && line.contains("error")));
        prop_assert_eq!(one_pass, said(&messages, &limits, true));
    }
}
