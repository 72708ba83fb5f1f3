//! Conversations that show the protocol.

use super::*;
use crate::limits::PENDING_BYTES_MAX;
use crate::node::OPEN_REQUESTS_MAX;
use crate::rpc::PENDING_RPCS_MAX;

#[test]
fn init_is_answered_and_so_is_its_retry_but_another_init_is_refused() {
    let mut session = Session::new(false);
    session.check(
        r#"
        c0 > {"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}
        c0 < {"type":"init_ok","in_reply_to":1}
        c0 > {"type":"init","msg_id":2,"node_id":"n1","node_ids":["n1","n2"]}
        c0 < {"type":"init_ok","in_reply_to":2}
        c0 > {"type":"init","msg_id":3,"node_id":"n2","node_ids":["n1","n2"]}
        c0 < {"type":"error","in_reply_to":3,"code":22,"text":"this node is n1 already"}
        "#,
    );
    let node = &session.node.node;
    assert_eq!(session.node.handler().started, 1);
    assert_eq!(node.id().as_ref(), "n1");
    assert_eq!(node.node_ids().as_ref(), ["n1".into(), "n2".into()]);
    assert_eq!(node.peers().collect::<Vec<_>>(), [NodeId::from("n2")]);
}

#[test]
fn messages_and_records_of_a_starting_handler_go_out_before_init_is_answered() {
    Session::with(Puppet { eager: true, ..Puppet::default() }, true).check(
        r#"
        c0 > {"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}
        record 0
        log < {"type":"note","record":0}
        c0 < {"type":"init_ok","in_reply_to":1}
        "#,
    );
}

#[test]
fn requests_before_init_wait_for_it_and_keep_their_order() {
    let mut session = Session::with(Puppet { eager: true, ..Puppet::default() }, true);
    session.check(
        r#"
        c1 > {"type":"echo","msg_id":1,"echo":1}
        c2 > {"type":"nonsense","msg_id":2}
        c1 > {"type":"ping_ok","in_reply_to":1}
        raw > {"src":"c3","dest":"n2","body":{"type":"echo","msg_id":3,"echo":3}}
        c1 > {"type":"echo","msg_id":4,"echo":4}
        "#,
    );
    assert_eq!(session.node.handler().started, 0);
    session.check(
        r#"
        c0 > {"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1","n2"]}
        record 0
        log < {"type":"note","record":0}
        c0 < {"type":"init_ok","in_reply_to":1}
        c1 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        c2 < {"type":"error","in_reply_to":2,"code":10,"text":"unknown message type `nonsense`"}
        c3 < {"type":"error","in_reply_to":3,"code":1,"text":"this is n1, not n2"}
        c1 < {"type":"echo_ok","in_reply_to":4,"echo":4}
        c1 > {"type":"echo","msg_id":5,"echo":5}
        c1 < {"type":"echo_ok","in_reply_to":5,"echo":5}
        "#,
    );
}

#[test]
fn without_an_init_the_end_of_the_input_ends_the_wait() {
    let mut session = Session::new(false);
    session.check(
        r#"
        c1 > {"type":"defer","msg_id":1}
        c1 > {"type":"defer"}
        end
        c1 < {"type":"error","in_reply_to":1,"code":11,"text":"not initialized yet: send `init` first"}
        end
        "#,
    );
    let puppet = session.node.handler();
    assert!(puppet.deferred.is_empty() && puppet.started == 0);
}

#[test]
fn a_request_for_which_there_is_no_room_before_init_is_refused() {
    let mut node = RawNode::new(Puppet::default(), [1; 32], false);
    let text = "x".repeat(PENDING_BYTES_MAX / 4);
    let mut send = |id: u32, text: &str| {
        let body = format!(r#"{{"type":"echo","msg_id":{id},"echo":"{text}"}}"#);
        let line = format!(r#"{{"src":"c0","dest":"n1","body":{body}}}"#);
        node.handle_line(Clock::default(), line.as_bytes());
        node.poll_output().is_some()
    };
    let refused: Vec<bool> = (1..=5).map(|id| send(id, &text)).collect();
    assert_eq!(refused, [false, false, false, true, true]);
    assert!(!send(6, "there is still room for a small one"));
}

#[test]
fn an_init_that_makes_no_sense_is_refused_and_a_good_one_still_works() {
    Session::new(false).check(
        r#"
        c0 > {"type":"init","msg_id":1,"node_id":"n1"}
        c0 < {"type":"error","in_reply_to":1,"code":12,"text":"missing field `node_ids`"}
        c0 > {"type":"init","msg_id":2,"node_id":7,"node_ids":["n1"]}
        c0 < {"type":"error","in_reply_to":2,"code":12,"text":"field `node_id`: invalid type: integer `7`, expected a string"}
        c0 > {"type":"init","msg_id":3,"node_id":"n1","node_ids":["n2"]}
        c0 < {"type":"error","in_reply_to":3,"code":12,"text":"field `node_id`: not one of `node_ids`"}
        c0 > {"type":"init","msg_id":4,"node_id":"n1","node_ids":["n1","n2","n1"]}
        c0 < {"type":"error","in_reply_to":4,"code":12,"text":"field `node_ids`: a node is named twice"}
        c0 > {"type":"init","msg_id":5,"node_id":"n1","node_ids":["n1"]}
        c0 < {"type":"init_ok","in_reply_to":5}
        c1 > {"type":"echo","msg_id":1,"echo":1}
        c1 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        "#,
    );
}

#[test]
fn a_request_that_cannot_be_served_is_answered_with_the_error_that_says_why() {
    Session::started(false).check(
        r#"
        c1 > {"type":"nonsense","msg_id":1}
        c1 < {"type":"error","in_reply_to":1,"code":10,"text":"unknown message type `nonsense`"}
        c1 > {"type":"echo","msg_id":2}
        c1 < {"type":"error","in_reply_to":2,"code":12,"text":"missing field `echo`"}
        c1 > {"type":"sleep","msg_id":3,"ms":-1}
        c1 < {"type":"error","in_reply_to":3,"code":12,"text":"field `ms`: invalid value: integer `-1`, expected u64"}
        c1 > {"type":"fail","msg_id":4,"code":14}
        c1 < {"type":"error","in_reply_to":4,"code":14,"text":"as told"}
        c1 > {"type":"fail","msg_id":5,"code":1000}
        c1 < {"type":"error","in_reply_to":5,"code":1000,"text":"as told"}
        raw > {"src":"c1","dest":"n2","body":{"type":"defer","msg_id":6}}
        c1 < {"type":"error","in_reply_to":6,"code":1,"text":"this is n1, not n2"}
        c1 > {"msg_id":7}
        c1 < {"type":"error","in_reply_to":7,"code":12,"text":"missing field `type`"}
        c1 > {"type":{},"msg_id":8}
        c1 < {"type":"error","in_reply_to":8,"code":12,"text":"field `type`: invalid type: map, expected a string"}
        "#,
    );
}

#[test]
fn a_message_that_wants_no_reply_gets_none() {
    let mut session = Session::started(false);
    session.check(
        r#"
        c1 > {"type":"echo","echo":1}
        c1 > {"type":"nonsense"}
        c1 > {"type":"echo"}
        c1 > {"type":"fail","code":14}
        c1 > {"type":"echo","msg_id":null,"echo":1}
        c1 > {"type":"init","node_id":"n2","node_ids":["n2"]}
        c1 > {"type":"echo_ok","in_reply_to":1,"echo":1}
        c1 > {"type":"error","in_reply_to":77,"code":0}
        c1 > {"type":"echo","msg_id":5,"in_reply_to":1,"echo":1}
        "#,
    );
    assert_eq!(session.node.unanswered(), 0);
}

#[test]
fn a_line_that_is_no_message_is_skipped_and_the_next_one_served() {
    let mut session = Session::started(false);
    session.node.handle_line(session.clock, b"\xff\xfe{}\n");
    session.node.handle_line(session.clock, b"");
    session.node.handle_line(session.clock, b"  \r\n");
    session.check(
        r#"
        raw > nonsense
        raw > [1]
        raw > ["c1","n1",{"type":"echo","msg_id":1,"echo":1}]
        raw > {}
        raw > {"src":"c1","dest":"n1"}
        raw > {"src":1,"dest":"n1","body":{"type":"echo","msg_id":1,"echo":1}}
        raw > {"src":"c1","dest":"n1","body":[]}
        raw > {"src":"c1","dest":"n1","body":{"type":"echo","msg_id":1,"echo":1}
        raw > {"src":"c1","dest":"n1","body":{"type":"echo","msg_id":1,"echo":1}} and more
        raw > {"src":"c\u0031","dest":"n\u0031","body":{"type":"ech\u006f","msg_id":1,"echo":1}}
        c1 < {"type":"echo_ok","in_reply_to":1,"echo":1}
        "#,
    );
}

#[test]
fn the_log_shows_the_first_120_characters_of_a_line_and_whether_there_were_more() {
    let (whole, longer) = ("ä".repeat(120), "ä".repeat(121));
    assert_eq!(preview(&whole), whole);
    assert_eq!(preview(&format!("{whole} \r\n")), whole);
    assert_eq!(preview(&longer), format!("{whole}…"));
}

#[test]
fn a_value_nested_a_hundred_thousand_deep_comes_back() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    Session::started(false).check(&format!(
        r#"
        c1 > {{"type":"echo","msg_id":1,"echo":{deep}}}
        c1 < {{"type":"echo_ok","in_reply_to":1,"echo":{deep}}}
        c1 > {{"type":1,"msg_id":2,"echo":{deep}}}
        c1 < {{"type":"error","in_reply_to":2,"code":12,"text":"field `type`: invalid type: integer `1`, expected a string"}}
        c1 > {{"type":"echo","msg_id":3,"echo":1}}
        c1 < {{"type":"echo_ok","in_reply_to":3,"echo":1}}
        "#
    ));
}

#[test]
fn a_reply_without_a_json_form_becomes_error_13_and_never_half_a_line() {
    Session::started(true).check(
        r#"
        c1 > {"type":"broken","msg_id":1,"how":"reply"}
        c1 < {"type":"error","in_reply_to":1,"code":13,"text":"the reply has no JSON form"}
        c1 > {"type":"broken","msg_id":2,"how":"send"}
        c1 > {"type":"broken","msg_id":3,"how":"persist"}
        c1 > {"type":"broken","msg_id":4,"how":"call"}
        at 0
        c1 < {"type":"call_ok","in_reply_to":4,"outcome":"the call has no JSON form: key must be a string (definite)"}
        "#,
    );
}

#[test]
fn a_call_ends_once_with_the_reply_the_error_or_the_timeout() {
    let mut session = Session::started(false);
    session.check(
        r#"
        c1 > {"type":"call","msg_id":1,"peer":"n2","ms":100}
        n2 < {"type":"ping","msg_id":1}
        n2 > {"type":"pong","in_reply_to":1}
        c1 < {"type":"call_ok","in_reply_to":1,"outcome":"pong from n2"}
        n2 > {"type":"pong","in_reply_to":1}

        c1 > {"type":"call","msg_id":2,"peer":"n2","ms":100}
        n2 < {"type":"ping","msg_id":2}
        n3 > {"type":"pong","in_reply_to":2}
        n2 > {"type":"error","in_reply_to":2,"code":22,"text":"no"}
        c1 < {"type":"call_ok","in_reply_to":2,"outcome":"precondition-failed (22): no (definite)"}

        c1 > {"type":"call","msg_id":3,"peer":"n2","ms":100}
        n2 < {"type":"ping","msg_id":3}
        n2 > {"type":"error","in_reply_to":3,"code":0,"text":null}
        c1 < {"type":"call_ok","in_reply_to":3,"outcome":"timeout (0):  (indefinite)"}

        c1 > {"type":"call","msg_id":4,"peer":"n2","ms":100}
        n2 < {"type":"ping","msg_id":4}
        at 99
        at 100
        c1 < {"type":"call_ok","in_reply_to":4,"outcome":"no reply in time (indefinite)"}
        n2 > {"type":"pong","in_reply_to":4}
        at 1000
        "#,
    );
    assert_eq!(session.node.open_rpcs(), 0);
    assert_eq!(session.node.poll_timeout(), None);
}

#[test]
fn an_error_reply_without_a_code_is_indefinite() {
    let mut session = Session::started(false);
    session.feed(r#"c1 > {"type":"call","msg_id":1,"peer":"n2","ms":100}"#);
    session.feed(r#"n2 > {"type":"error","in_reply_to":1,"text":"what?"}"#);
    let said = session.drain().pop().unwrap();
    assert!(said.contains("crash (13)") && said.contains("(indefinite)"), "{said}");
}

#[test]
fn one_call_too_many_ends_at_once_and_certainly_did_not_happen() {
    let mut session = Session::started(false);
    for _ in 0..PENDING_RPCS_MAX {
        session.feed(r#"c1 > {"type":"call","peer":"n2","ms":1000}"#);
    }
    assert_eq!(session.drain().len(), PENDING_RPCS_MAX);
    session.check(
        r#"
        c1 > {"type":"call","msg_id":1,"peer":"n2","ms":1000}
        at 0
        c1 < {"type":"call_ok","in_reply_to":1,"outcome":"too many calls are open (definite)"}
        n2 > {"type":"pong","in_reply_to":1}
        c1 > {"type":"call","msg_id":2,"peer":"n2","ms":1}
        n2 < {"type":"ping","msg_id":65537}
        at 1
        c1 < {"type":"call_ok","in_reply_to":2,"outcome":"no reply in time (indefinite)"}
        "#,
    );
}

#[test]
fn timers_fire_in_the_order_of_their_time_and_then_of_their_setting() {
    let mut session = Session::started(false);
    session.check(
        r#"
        c1 > {"type":"sleep","msg_id":1,"ms":30}
        c1 > {"type":"sleep","msg_id":2,"ms":10}
        c1 > {"type":"sleep","msg_id":3,"ms":30}
        c1 > {"type":"sleep","msg_id":4,"ms":0}
        at 0
        c1 < {"type":"sleep_ok","in_reply_to":4}
        at 9
        at 40
        c1 < {"type":"sleep_ok","in_reply_to":2}
        c1 < {"type":"sleep_ok","in_reply_to":1}
        c1 < {"type":"sleep_ok","in_reply_to":3}
        c1 > {"type":"sleep","msg_id":5,"ms":20}
        c1 > {"type":"call","msg_id":6,"peer":"n2","ms":10}
        n2 < {"type":"ping","msg_id":1}
        "#,
    );
    assert_eq!(session.node.poll_timeout(), Some(Duration::from_millis(50)));
    session.feed(r#"n2 > {"type":"pong","in_reply_to":1}"#);
    assert_eq!(session.node.poll_timeout(), Some(Duration::from_millis(60)));
}

#[test]
fn a_timer_of_zero_set_by_an_event_waits_for_the_next_round() {
    let mut session = Session::started(false);
    session.feed(r#"c1 > {"type":"spin"}"#);
    for woken in 1..=3 {
        session.feed("at 0");
        assert_eq!(session.node.handler().woken, woken);
        assert_eq!(session.node.poll_timeout(), Some(Duration::ZERO));
    }
}

#[test]
fn a_call_of_no_time_opened_by_an_event_waits_for_the_next_round() {
    Session::started(false).check(
        r#"
        c1 > {"type":"call","msg_id":1,"peer":"n2","ms":9}
        n2 < {"type":"ping","msg_id":1}
        c1 > {"type":"call","msg_id":2,"peer":"n2","ms":1,"again":2}
        n2 < {"type":"ping","msg_id":2}
        at 1
        n2 < {"type":"ping","msg_id":3}
        at 1
        n2 < {"type":"ping","msg_id":4}
        at 1
        c1 < {"type":"call_ok","in_reply_to":2,"outcome":"no reply in time (indefinite)"}
        at 9
        c1 < {"type":"call_ok","in_reply_to":1,"outcome":"no reply in time (indefinite)"}
        "#,
    );
}

#[test]
fn the_end_of_input_ends_every_open_call_and_none_that_it_brings_about() {
    let mut session = Session::started(false);
    session.check(
        r#"
        c1 > {"type":"call","msg_id":1,"peer":"n2","ms":900}
        n2 < {"type":"ping","msg_id":1}
        c1 > {"type":"call","msg_id":2,"peer":"n2","ms":100,"again":1}
        n2 < {"type":"ping","msg_id":2}
        c1 > {"type":"sleep","msg_id":3,"ms":50}
        end
        c1 < {"type":"call_ok","in_reply_to":1,"outcome":"no reply in time (indefinite)"}
        n2 < {"type":"ping","msg_id":3}
        "#,
    );
    assert_eq!((session.node.open_rpcs(), session.node.unanswered()), (1, 2));
    session.check(
        r#"
        end
        c1 < {"type":"call_ok","in_reply_to":2,"outcome":"no reply in time (indefinite)"}
        end
        at 50
        c1 < {"type":"sleep_ok","in_reply_to":3}
        "#,
    );
    assert_eq!((session.node.open_rpcs(), session.node.unanswered()), (0, 0));
}

#[test]
fn a_record_goes_out_before_the_lines_after_it() {
    Session::started(true).check(
        r#"
        c1 > {"type":"persist","msg_id":1,"records":[7,8]}
        record 7
        log < {"type":"note","record":7}
        record 8
        log < {"type":"note","record":8}
        c1 < {"type":"persist_ok","in_reply_to":1}
        "#,
    );
}

#[test]
fn records_are_dropped_where_nothing_is_durable() {
    Session::started(false).check(
        r#"
        c1 > {"type":"persist","msg_id":1,"records":[7]}
        log < {"type":"note","record":7}
        c1 < {"type":"persist_ok","in_reply_to":1}
        "#,
    );
}

#[test]
fn records_are_recovered_in_order_before_init_and_refused_after_it() {
    let mut session = Session::new(true);
    assert_eq!(session.node.recover(b"7"), Ok(()));
    assert_eq!(session.node.recover(b"5"), Ok(()));
    assert_eq!(session.node.handler().recovered, ["7", "5"]);
    let error = session.node.recover(b"nonsense").unwrap_err();
    assert_eq!(error.code, ErrorCode::Crash);
    session.check(
        r#"
        c0 > {"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}
        c0 < {"type":"init_ok","in_reply_to":1}
        "#,
    );
    let error = session.node.recover(b"9").unwrap_err();
    assert_eq!(error.code, ErrorCode::Crash);
    assert_eq!(session.node.handler().recovered, ["7", "5"]);
}

#[test]
fn output_bytes_counts_all_that_waits() {
    let mut session = Session::started(true);
    assert_eq!(session.node.output_bytes(), 0);
    session.feed(r#"c1 > {"type":"persist","msg_id":1,"records":[7,8]}"#);
    session.feed(r#"c1 > {"type":"broken","msg_id":2,"how":"send"}"#);
    let waiting = session.node.output_bytes();
    let mut taken = 0;
    while let Some(output) = session.node.poll_output() {
        let (Output::Lines(bytes) | Output::Record(bytes)) = output;
        assert!(!bytes.is_empty());
        taken += bytes.len();
    }
    assert_eq!((waiting, session.node.output_bytes()), (taken, 0));
}

#[test]
fn a_message_without_a_json_form_leaves_no_output_at_all() {
    let mut session = Session::started(true);
    let broken = r#"c1 > {"type":"broken","msg_id":1,"how":"send"}"#;
    session.feed(broken);
    assert_eq!(session.node.poll_output(), None);
    session.feed(r#"c1 > {"type":"echo","msg_id":2,"echo":1}"#);
    session.feed(broken);
    session.feed(r#"c1 > {"type":"echo","msg_id":3,"echo":1}"#);
    assert_eq!(
        session.drain(),
        [
            r#"c1 < {"type":"echo_ok","in_reply_to":2,"echo":1}"#,
            r#"c1 < {"type":"echo_ok","in_reply_to":3,"echo":1}"#
        ]
    );
}

#[test]
fn unanswered_is_the_number_of_requests_that_still_wait_for_a_reply() {
    let mut session = Session::started(false);
    for (step, unanswered) in [
        (r#"c1 > {"type":"defer","msg_id":1}"#, 1),
        (r#"c2 > {"type":"defer","msg_id":1}"#, 2),
        (r#"c2 > {"type":"defer"}"#, 2),
        (r#"c1 > {"type":"echo","msg_id":2,"echo":1}"#, 2),
        (r#"c1 > {"type":"fail","msg_id":3,"code":14}"#, 2),
        (r#"c1 > {"type":"nonsense","msg_id":4}"#, 2),
        (r#"c1 > {"type":7,"msg_id":5}"#, 2),
        (r#"c1 > {"type":"echo_ok","in_reply_to":9}"#, 2),
        (r#"c1 > {"type":"call","msg_id":6,"peer":"n2","ms":5}"#, 3),
        ("at 5", 2),
        (r#"c1 > {"type":"release"}"#, 0),
    ] {
        session.feed(step);
        assert_eq!(session.node.unanswered(), unanswered, "after {step}");
    }
}

#[test]
fn a_second_reply_to_a_request_is_not_sent_and_another_request_of_its_id_gets_its_own() {
    let mut session = Session::started(false);
    session.check(
        r#"
        c1 > {"type":"defer","msg_id":1}
        c1 > {"type":"twice","msg_id":1}
        c1 < {"type":"twice_ok","in_reply_to":1,"time":1}
        c1 > {"type":"twice","msg_id":2,"fail":true}
        c1 < {"type":"twice_ok","in_reply_to":2,"time":1}
        c1 > {"type":"twice"}
        "#,
    );
    assert_eq!(session.node.unanswered(), 1);
    session.check(
        r#"
        c1 > {"type":"release","msg_id":1}
        c1 < {"type":"defer_ok","in_reply_to":1}
        c1 < {"type":"release_ok","in_reply_to":1}
        "#,
    );
    assert_eq!(session.node.unanswered(), 0);
}

#[test]
fn of_too_many_open_requests_the_oldest_is_given_up() {
    let mut session = Session::started(false);
    session.feed(r#"c1 > {"type":"defer","msg_id":1}"#);
    session.feed(r#"c1 > {"type":"defer","msg_id":2}"#);
    for _ in 2..OPEN_REQUESTS_MAX {
        session.node.node.accept("c2".into(), Some(3));
    }
    assert_eq!(session.node.unanswered(), OPEN_REQUESTS_MAX);
    // A message that wants no reply takes no room.
    session.feed(r#"c1 > {"type":"echo","echo":1}"#);
    session.check(
        r#"
        c1 > {"type":"release","msg_id":4}
        c1 < {"type":"defer_ok","in_reply_to":2}
        c1 < {"type":"release_ok","in_reply_to":4}
        "#,
    );
    assert_eq!(session.node.unanswered(), OPEN_REQUESTS_MAX - 2);
}

#[test]
fn a_buffer_that_is_given_back_takes_the_next_lines_unless_it_is_huge() {
    let mut session = Session::started(false);
    let mut next_lines = |echo: &str| {
        session.feed(&format!(r#"c1 > {{"type":"echo","msg_id":1,"echo":"{echo}"}}"#));
        let Some(Output::Lines(lines)) = session.node.poll_output() else { panic!("no answer") };
        let (at, text) = (lines.as_ptr(), String::from_utf8(lines.clone()).unwrap());
        session.node.reuse(lines);
        (at, text)
    };
    let (first, _) = next_lines(&"x".repeat(1000));
    let (second, text) = next_lines("y");
    assert_eq!(first, second);
    assert_eq!(
        text.as_str(),
        "{\"src\":\"n1\",\"dest\":\"c1\",\
         \"body\":{\"type\":\"echo_ok\",\"in_reply_to\":1,\"echo\":\"y\"}}\n"
    );
    next_lines(&"z".repeat(2 << 20));
    assert_eq!(session.node.node.outputs.spare_bytes(), 0);
}

#[test]
fn the_calls_of_two_lives_have_different_ids_that_any_json_parser_keeps() {
    let first_id = |seed: u8| {
        let mut node = RawNode::new(Puppet::default(), [seed; 32], false);
        for line in [
            r#"{"src":"c0","dest":"n1","body":{"type":"init","msg_id":1,"node_id":"n1","node_ids":["n1"]}}"#,
            r#"{"src":"c0","dest":"n1","body":{"type":"call","msg_id":2,"peer":"n2","ms":9}}"#,
        ] {
            node.handle_line(Clock::default(), line.as_bytes());
        }
        let Some(Output::Lines(lines)) = node.poll_output() else { panic!("it has called") };
        let call = lines.split(|byte| *byte == b'\n').nth(1).unwrap();
        let call: serde_json::Value = serde_json::from_slice(call).unwrap();
        call["body"]["msg_id"].as_u64().unwrap()
    };
    assert_ne!(first_id(1), first_id(2));
    // The first id has 52 random bits. That leaves room for as many calls before ids need more than
    // the 53 bits that any parser keeps.
    let bits = (1..=64).fold(0, |bits, seed| bits | first_id(seed));
    assert_eq!(bits, (1 << 52) - 1);
}

#[test]
fn before_init_a_node_answers_under_the_name_it_was_called_by() {
    let mut node = RawNode::new(Puppet::default(), [1; 32], false);
    for name in ["n7", "x"] {
        let line = format!(r#"{{"src":"c0","dest":"{name}","body":{{"type":"echo","msg_id":1}}}}"#);
        node.handle_line(Clock::default(), line.as_bytes());
        node.handle_end_of_input(Clock::default());
        let Some(Output::Lines(lines)) = node.poll_output() else { panic!("no answer") };
        let reply: serde_json::Value = serde_json::from_slice(&lines).unwrap();
        assert_eq!((&reply["src"], &reply["dest"]), (&name.into(), &"c0".into()));
    }
}
