//! Tests the time between the first node and the last one: a node joins the network, its process
//! starts, and it receives `init`.

use super::Place;

/// A node that greets its peers as soon as it has its name.
///
/// It takes a moment to start, as an interpreter does. By then all its peers have joined.
const GREETER: &str = r#"#!/bin/sh
sleep 0.08
field() {
    printf '%s' "$line" | sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p"
}
while read -r line; do
    id=$(field msg_id)
    case $line in
    *'"type":"init"'*)
        me=$(field node_id)
        for peer in n0 n1 n2 n3 n4; do
            [ "$peer" = "$me" ] || echo "{\"src\":\"$me\",\"dest\":\"$peer\",\"body\":{}}"
        done
        body="\"type\":\"init_ok\""
        ;;
    *'"type":"echo"'*)
        body="\"type\":\"echo_ok\",\"echo\":\"$(field echo)\""
        ;;
    *)
        continue
        ;;
    esac
    echo "{\"src\":\"$me\",\"dest\":\"$(field src)\",\"body\":{$body,\"in_reply_to\":$id}}"
done
"#;

#[test]
fn a_node_that_greets_its_peers_after_a_slow_start_is_heard() {
    let place = Place::new();
    let bin = place.script(GREETER);
    // With these seeds, some nodes would join 80 ms apart if all had 100 ms for it.
    for seed in [6, 7, 8] {
        let args = "-w echo --node-count 5 --rate 10 --time-limit 1";
        let run = place.run(&bin, &format!("{args} --seed {seed}"));
        assert_eq!(run.code(), Some(0), "{}{}", run.stdout(), run.stderr());
        assert!(!run.stderr().contains("not listened to"), "{}", run.stderr());
    }
}

/// As in Maelstrom, nothing counts that a node prints after a message without a sender.
#[test]
fn a_node_that_sends_a_message_before_it_has_a_name_is_muted() {
    let place = Place::new();
    let line = r#"{"src":null,"dest":"n0","body":{}}"#;
    let bin = place.script(&GREETER.replace("sleep 0.08", &format!("echo '{line}'")));
    let stderr = place.run(&bin, "-w echo --node-count 1 --time-limit 1").crashed();
    assert!(stderr.contains("n0 did not answer `init` within 10 s"), "{stderr}");
    let why =
        format!("It is not listened to any more: not a message (`src` is not a string): {line}");
    assert!(stderr.contains(&why), "{stderr}");
}
