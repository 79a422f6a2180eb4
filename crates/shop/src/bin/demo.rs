//! Runs `samples/shop` on this machine, for people or, with `--check`, for tests.

use std::process::ExitCode;

use clap::Parser;
use shop::demo::{Options, check, live};

fn main() -> ExitCode {
    let options = Options::parse();
    // One thread: the kernel ends the children with the thread that started them, and the load is light.
    let outcome = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from).and_then(|runtime| {
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, async { if options.check { check::run(&options).await } else { live::run(&options).await } })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
