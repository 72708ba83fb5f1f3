//! Jepsen's own flags, which `maelstrom test` accepts beside those of Maelstrom.
//!
//! Some flags name the nodes. Most of the others concern hosts and logs that do not exist here. The
//! command accepts them so that a script written for Maelstrom runs unchanged. It says once that
//! they have no effect.

use std::path::PathBuf;

use crate::arguments::list_items;
use anyhow::Context;
use clap::Args;
use maelstrom_core::NodeId;

/// A list of node names.
type Names = Vec<String>;

/// Parses a list of node names.
fn names(text: &str) -> Result<Names, String> {
    let names: Names = list_items(text).into_iter().map(str::to_owned).collect();
    if names.is_empty() { Err("must name a node".into()) } else { Ok(names) }
}

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// The name of a node. May be given several times.
    #[arg(short = 'n', long, value_name = "NAME")]
    node: Vec<String>,
    /// The names of the nodes, separated by commas. [default: n1,n2,n3,n4,n5]
    #[arg(long, value_name = "LIST", value_parser = names)]
    nodes: Option<Names>,
    /// A file with the names of the nodes, one per line.
    #[arg(long, value_name = "FILE")]
    nodes_file: Option<PathBuf>,
    #[arg(long, hide = true)]
    log_net_send: bool,
    #[arg(long, hide = true)]
    log_net_recv: bool,
    #[arg(long, hide = true)]
    username: Option<String>,
    #[arg(long, hide = true)]
    password: Option<String>,
    #[arg(long, hide = true)]
    strict_host_key_checking: bool,
    #[arg(long, hide = true)]
    no_ssh: bool,
    #[arg(long, hide = true)]
    ssh_private_key: Option<PathBuf>,
    #[arg(long, hide = true)]
    leave_db_running: bool,
    #[arg(long, hide = true)]
    logging_json: bool,
}

impl Flags {
    /// The names of the nodes, from all flags that name any.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(super) fn nodes(&self) -> anyhow::Result<Vec<NodeId>> {
        let mut names: Vec<NodeId> =
            self.nodes.iter().flatten().chain(&self.node).map(|name| name.trim().into()).collect();
        if let Some(path) = &self.nodes_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("--nodes-file: cannot read {}", path.display()))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            names.extend(lines.map(NodeId::from));
        }
        if names.is_empty() {
            names = (1..=5).map(|n| format!("n{n}").into()).collect();
        }
        Ok(names)
    }

    /// A note that lists the given flags without an effect; `None` if there are none.
    pub(super) fn note(&self) -> Option<String> {
        let flags = [
            ("--log-net-send", self.log_net_send),
            ("--log-net-recv", self.log_net_recv),
            ("--username", self.username.is_some()),
            ("--password", self.password.is_some()),
            ("--strict-host-key-checking", self.strict_host_key_checking),
            ("--no-ssh", self.no_ssh),
            ("--ssh-private-key", self.ssh_private_key.is_some()),
            ("--leave-db-running", self.leave_db_running),
            ("--logging-json", self.logging_json),
        ];
        let given: Vec<&str> =
            flags.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        let mut note = format!("no effect here: {}", given.join(", "));
        if self.log_net_send || self.log_net_recv {
            note += " (--trace keeps every message in messages.jsonl)";
        }
        (!given.is_empty()).then_some(note)
    }
}
