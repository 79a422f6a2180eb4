//! `istioctl`: looks at configuration and at running proxies.
//!
//! In: a command line. Out: Istio's texts and exit statuses.
//! Never: rules of its own; each command is one file, which joins the crates that know.

mod validate;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Istio configuration command line utility
#[derive(Parser)]
#[command(name = "istioctl", disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Validate(validate::Arguments),
}

fn main() -> ExitCode {
    let result = match CommandLine::parse().command {
        Command::Validate(arguments) => validate::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}
