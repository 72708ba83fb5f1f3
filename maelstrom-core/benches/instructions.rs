//! Handles the line of a case a number of times, and does nothing else: `scripts/count-instructions`
//! runs it under valgrind.
//!
//! ```text
//! bench-instructions                        lists the cases
//! bench-instructions CASE node|floor CALLS
//! ```
//!
//! A run with more calls executes more instructions. The difference, by call, is the cost of a
//! call: neither the start of the program nor of the node is in it, and valgrind need not know
//! where a call begins.

#![expect(clippy::disallowed_methods, reason = "it reads its arguments")]
#![expect(clippy::print_stdout, reason = "it lists the cases")]
#![expect(clippy::panic, reason = "a count of the wrong thing must not go on")]

mod cases;

use cases::CASES;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, way, calls] = args.as_slice() else {
        for case in CASES {
            println!("{}: {}", case.name, case.about);
        }
        return;
    };
    let Some(case) = CASES.iter().find(|case| case.name == name) else {
        cases::fail(&format!("no case {name}"));
    };
    let Ok(calls) = calls.parse::<u32>() else { cases::fail("CALLS is a number") };
    let mut run = match way.as_str() {
        "node" => (case.node)(),
        "floor" => (case.floor)(),
        _ => cases::fail("the way is node or floor"),
    };
    for _ in 0..calls {
        std::hint::black_box(run());
    }
}
