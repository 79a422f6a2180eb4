//! The control plane as one process: sources at one end, proxies at the other, the pipeline between them.
//!
//! In: flags, folders of objects, connections of proxies. Out: served configuration, debug pages, metrics, logs.
//! Never: a rule about what an object means; that is in the crates below.
//! Read first: `serve.rs`, which joins the ends on one page; then `pipeline.rs`.

mod arguments;
mod cluster;
mod discovery;
mod ending;
mod identity;
mod ingress;
mod names;
mod pipeline;
mod serve;
mod sources;
mod status;
mod web;

use arguments::{Arguments, Command};
use clap::Parser;

/// Gives memory back to the system after bursts; measured in docs/performance.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let Arguments { command } = Arguments::parse();
    match command {
        Command::Discovery(arguments) => {
            observability::init_logging(&arguments.log_output_level, arguments.log_as_json)?;
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve::serve(*arguments))
        }
        Command::Token(arguments) => identity::print_token(&arguments),
        Command::Version => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}
