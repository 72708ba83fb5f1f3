//! The meaning of each anomaly in one clause: the names alone say little.

/// The end of a name of a cycle, and what it adds to the meaning.
const SUFFIXES: [(&str, &str); 2] = [
    ("-process", "; the order within a process is part of the circle"),
    ("-realtime", "; the order in time is part of the circle"),
];

/// The meaning of an anomaly. `None`: there is no anomaly with this name.
pub(super) fn of(name: &str) -> Option<String> {
    if let Some(text) = exactly(name) {
        return Some(text.to_owned());
    }
    SUFFIXES.iter().find_map(|(suffix, more)| {
        let text = exactly(name.strip_suffix(suffix)?)?;
        Some(format!("{text}{more}"))
    })
}

fn exactly(name: &str) -> Option<&'static str> {
    Some(match name {
        "G0" => "no order of the transactions explains in which order their writes took effect",
        "G1a" => "a transaction read a value of another one that failed",
        "G1b" => "a transaction read a write that the other one replaced before it ended",
        "G1c" => "transactions depend on each other's writes in a circle",
        "G-single" => {
            "a transaction missed a write of another one, though it came after that one in a circle"
        }
        "G-nonadjacent" => {
            "transactions form a circle, in which several missed a write of the next one, but no \
             two in a row"
        }
        "G2-item" => "transactions form a circle, in which several missed a write of the next one",
        "altered-transaction" => "a reply shows other operations than its request has",
        "causal-violation" => {
            "a transaction depends on another one, directly or not, and yet missed its write"
        }
        "dirty-update" => "a transaction built upon a write of another one that failed",
        "divergence" => "nodes show different values of a key after all faults have ended",
        "duplicate-elements" => "a list has an element twice that was appended once",
        "empty-transaction-graph" => "no transaction depends on another, so the run shows nothing",
        "false-failure" => "a transaction was refused for good, and a later read shows its write",
        "fractured-read" => "a transaction saw some writes of another one, and missed others",
        "future-read" => "a transaction read a value before it wrote that value itself",
        "incompatible-order" => "reads show the elements of a list in different orders",
        "internal" => "a transaction did not see its own earlier writes and reads",
        "lost-own-write" => "a process wrote a value, and later read an older one",
        "lost-update" => "several transactions read the same value and overwrote it",
        "lost-write" => "a write is gone at the end, though no later one replaced it",
        "non-atomic-view" => {
            "a transaction saw a write of another one, and after that missed others of its writes"
        }
        "non-monotonic-read" => "a process read a value, and later an older one",
        "phantom-read" => "a transaction read a value that no client wrote",
        "stale-read-realtime" => "a transaction missed a write that had ended before it began",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_told_with_the_order_that_closes_it() {
        for name in ["G0", "G1c", "G-single", "G-nonadjacent", "G2-item"] {
            for (suffix, more) in SUFFIXES {
                let text = of(&format!("{name}{suffix}")).unwrap();
                assert_eq!(text, format!("{}{more}", of(name).unwrap()));
            }
        }
        assert_eq!(of("no-such-anomaly"), None);
        assert!(of("stale-read-realtime").unwrap().ends_with("before it began"));
    }
}
