//! The subcommand `serve`: serves a web page with the runs of a store.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::serve::Page;

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The folder with the runs.
    #[arg(default_value = "store")]
    store: PathBuf,
    /// The address to listen on. Any address but a loopback one lets other machines read the store.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The port to listen on. 0: any free port.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
}

pub(super) fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let page = Page::bind(&args.store, SocketAddr::new(args.address, args.port))?;
    let mut out = std::io::stdout();
    writeln!(out, "{} is shown at http://{}/ until Ctrl-C", args.store.display(), page.address())?;
    out.flush()?;
    page.serve();
    Ok(ExitCode::SUCCESS)
}
