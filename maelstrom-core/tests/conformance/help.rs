//! The help of a program that flattens the flags of this crate.

use clap::{Args, CommandFactory, Parser};
use maelstrom_core::gossip::{GossipArgs, StateArgs};
use maelstrom_core::{DataArgs, NodeArgs};

#[derive(Parser)]
struct One<A: Args> {
    #[command(flatten)]
    _args: A,
}

// A program without a description, hence no doc comment.
#[derive(Parser)]
struct All {
    #[command(flatten)]
    _node: NodeArgs,
    #[command(flatten)]
    _data: DataArgs,
    #[command(flatten)]
    _gossip: GossipArgs,
    #[command(flatten)]
    _state: StateArgs,
}

/// Answers every request.
///
/// Keeps its promises.
#[derive(Parser)]
struct Described {
    #[command(flatten)]
    _all: All,
}

/// The texts of `-h` and `--help`.
fn help<P: CommandFactory>() -> [String; 2] {
    let mut command = P::command();
    [command.render_help().to_string(), command.render_long_help().to_string()]
}

#[test]
fn a_program_without_a_description_shows_none_of_the_flags_that_it_flattens() {
    let texts = [
        help::<One<NodeArgs>>(),
        help::<One<DataArgs>>(),
        help::<One<GossipArgs>>(),
        help::<One<StateArgs>>(),
        help::<All>(),
    ];
    for text in texts.as_flattened() {
        assert!(text.starts_with("Usage: "), "{text}");
        assert!(!text.contains("```") && !text.contains("use maelstrom"), "{text}");
    }
}

#[test]
fn a_program_keeps_its_own_description() {
    let [short, long] = help::<Described>();
    assert!(short.starts_with("Answers every request\n\nUsage: "), "{short}");
    assert!(long.starts_with("Answers every request.\n\nKeeps its promises.\n\nUsage: "), "{long}");
}
