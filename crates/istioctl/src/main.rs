//! `istioctl`: looks at configuration and at running proxies.
//!
//! In: a command line. Out: Istio's texts and exit statuses.
//! Never: rules of its own; each command is one file, which joins the crates that know. Configuration of proxies is read as
//! JSON, so that a dump of any version of Envoy will do.

mod analyze;
mod http;
mod istiod;
mod json;
mod output;
mod proxy_config;
mod proxy_status;
mod table;
mod validate;
mod version;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Istio configuration command line utility
#[derive(Parser)]
#[command(name = "istioctl", disable_help_subcommand = true)]
struct CommandLine {
    #[command(flatten)]
    istiod: istiod::Istiod,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Analyze(analyze::Arguments),
    ProxyConfig(proxy_config::Arguments),
    ProxyStatus(proxy_status::Arguments),
    Validate(validate::Arguments),
    Version(version::Arguments),
}

fn main() -> ExitCode {
    let CommandLine { istiod, command } = CommandLine::parse();
    let result = match command {
        Command::Analyze(arguments) => analyze::run(&arguments, &istiod),
        Command::ProxyConfig(arguments) => proxy_config::run(&arguments, &istiod),
        Command::ProxyStatus(arguments) => proxy_status::run(&arguments, &istiod),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Version(arguments) => version::run(&arguments, &istiod),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error}");
            if error.is::<analyze::IssuesFound>() { ExitCode::from(analyze::IssuesFound::STATUS) } else { ExitCode::FAILURE }
        }
    }
}
