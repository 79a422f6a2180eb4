//! `istioctl analyze [FILE…]`: what is wrong with objects together, in Istio's form.

mod files;
mod message;
mod read;
mod running;

use crate::istiod::Istiod;
use analysis::{Needs, Suppression};
use anyhow::bail;
use base::Level;
use message::{Message, Style};
use std::{fmt, io::IsTerminal, path::PathBuf};

/// Analyze Istio configuration and print validation messages
#[derive(clap::Args)]
pub struct Arguments {
    /// Files, folders (with .json, .yaml and .yml in them) or - for standard input
    files: Vec<String>,
    /// List the analyzers available to run. Suppresses normal execution.
    #[arg(short = 'L', long)]
    list_analyzers: bool,
    /// Use the running control plane for analysis. Set --use-kube=false to analyze files only.
    #[arg(short = 'k', long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    use_kube: bool,
    /// Take the files for the whole mesh: look at the Services, Pods and Namespaces in them too, and for what traffic rules
    /// swallow. Without, files are looked at alone, as they are rarely complete.
    #[arg(long)]
    whole_mesh: bool,
    /// Colors, if standard output is a terminal
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    color: Option<bool>,
    /// Say what was looked at
    #[arg(short = 'v', long)]
    verbose: bool,
    /// The severity level of analysis at which to set a non-zero exit code
    #[arg(long, value_enum, ignore_case = true, default_value_t = Threshold::Error)]
    failure_threshold: Threshold,
    /// The severity level of analysis at which to display messages
    #[arg(long, value_enum, ignore_case = true, default_value_t = Threshold::Info)]
    output_threshold: Threshold,
    /// Output format
    #[arg(short = 'o', long, value_enum, ignore_case = true, default_value_t = Format::Log)]
    output: Format,
    /// Overrides the mesh config values to use for analysis.
    #[arg(long = "meshConfigFile")]
    mesh_config_file: Option<PathBuf>,
    /// The networks to use for analysis
    #[arg(long = "meshNetworksFile")]
    mesh_networks_file: Option<PathBuf>,
    /// Analyze all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The namespace to analyze, which objects without one are in [default: default]
    #[arg(short = 'n', long)]
    namespace: Option<String>,
    /// Suppress reporting a message code on a specific resource, e.g. 'IST0102=DestinationRule primary-dr.default'; * stands
    /// for any text. Can be repeated.
    #[arg(short = 'S', long)]
    suppress: Vec<String>,
    /// Process folders with all below them
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Don't complain about un-parseable input documents
    #[arg(long)]
    ignore_unknown: bool,
}

/// From which level on.
#[derive(clap::ValueEnum, Clone, Copy)]
enum Threshold {
    /// All messages
    Info,
    /// Warnings and errors
    Warning,
    /// Errors
    Error,
}

/// How messages are shown.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A line for each
    Log,
    /// A list of objects
    Json,
    /// The same as YAML
    Yaml,
}

impl Threshold {
    /// Whether a message of this level counts.
    fn admits(self, level: Level) -> bool {
        level
            <= match self {
                Self::Info => Level::Info,
                Self::Warning => Level::Warning,
                Self::Error => Level::Error,
            }
    }
}

/// Where Istio explains its messages.
const DOCUMENTATION: &str = "https://istio.io/v1.30/docs/reference/config/analysis";

/// Analysis found something at or above the threshold: exit status 79, as Istio's.
#[derive(Debug)]
pub struct IssuesFound {
    target: String,
}

impl IssuesFound {
    /// The exit status.
    pub const STATUS: u8 = 79;
}

impl fmt::Display for IssuesFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Analyzers found issues when analyzing {}.\nSee {DOCUMENTATION} for more information about causes and resolutions.",
            self.target
        )
    }
}

impl std::error::Error for IssuesFound {}

/// Writes the messages to standard output, and everything about the run to standard error.
pub fn run(arguments: &Arguments, istiod: &Istiod) -> anyhow::Result<()> {
    if arguments.list_analyzers {
        return crate::output::print(&list());
    }
    let suppressions = suppressions(&arguments.suppress)?;
    let files = files::gather(&arguments.files, arguments.recursive)?;
    let selected = match (arguments.all_namespaces, &arguments.namespace) {
        (true, _) => String::new(),
        (false, Some(namespace)) => namespace.clone(),
        (false, None) => "default".to_owned(),
    };
    let target = if selected.is_empty() { "all namespaces".to_owned() } else { format!("namespace: {selected}") };
    if files.is_empty() && !arguments.use_kube {
        bail!("at least one file and/or Kubernetes source must be provided");
    }
    let (mut messages, unreadable) = if files.is_empty() {
        (running::messages(istiod, &selected, &suppressions)?, 0)
    } else {
        let mut input = read::Input::new(&selected, arguments.mesh_config_file.as_deref(), arguments.mesh_networks_file.as_deref());
        if arguments.use_kube {
            running::objects(istiod, &mut input)?;
        }
        let unreadable = files.iter().filter(|file| !input.add(file)).count();
        let needs = if arguments.whole_mesh { Needs::Workloads } else { Needs::Configuration };
        (input.analyze(needs, &suppressions), unreadable)
    };
    messages.sort();
    messages.dedup();
    if arguments.verbose {
        eprintln!("Analyzed resources in {target}\n{}", ran(arguments));
    }
    show(arguments, &messages, &files, unreadable, &target)
}

fn show(arguments: &Arguments, messages: &[Message], files: &[files::File], unreadable: usize, target: &str) -> anyhow::Result<()> {
    let shown: Vec<&Message> = messages.iter().filter(|message| arguments.output_threshold.admits(message.level)).collect();
    let terminal = std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let style = if arguments.color.unwrap_or(terminal) { Style::Colored } else { Style::Plain };
    crate::output::print(&(message::text(&shown, arguments.output, style)? + "\n"))?;
    if shown.is_empty() {
        match unreadable {
            0 => eprintln!("✔ No validation issues found when analyzing{}", sources(files, target)),
            1 => eprintln!("No validation issues found when analyzing {target} (but 1 file could not be parsed)."),
            many => eprintln!("No validation issues found when analyzing {target} (but {many} files could not be parsed)."),
        }
    }
    if arguments.output != Format::Log {
        return Ok(());
    }
    if messages.iter().any(|message| arguments.failure_threshold.admits(message.level)) {
        return Err(IssuesFound { target: target.to_owned() }.into());
    }
    if unreadable > 0 && !arguments.ignore_unknown {
        bail!("Some files couldn't be parsed.");
    }
    Ok(())
}

/// The end of a sentence: the files, or else the target.
fn sources(files: &[files::File], target: &str) -> String {
    match files {
        [] => format!(" {target}."),
        [file] => format!(" {}.", file.name),
        files => files.iter().fold(":".to_owned(), |text, file| text + "\n  - " + &file.name),
    }
}

fn suppressions(texts: &[String]) -> anyhow::Result<Vec<Suppression>> {
    let mut all = Vec::new();
    for text in texts {
        let wish = Suppression::parse(text).map_err(anyhow::Error::msg)?;
        if !analysis::codes().iter().any(|known| known.code == wish.code) {
            eprintln!("Warning: Supplied message code '{}' is an unknown message code and will not have any effect.", wish.code);
        }
        all.push(wish);
    }
    Ok(all)
}

/// `-L`: all analyzers by name.
fn list() -> String {
    let together = analysis::analyzers().iter().map(|analyzer| (analyzer.name.to_owned(), analyzer.description.to_owned()));
    let mut all: Vec<(String, String)> = together.chain(analysis::schema_analyzers()).collect();
    all.sort();
    all.iter().map(|(name, description)| format!("* {name}:\n    {description}\n")).collect()
}

/// `-v`: which analyzers had what they need.
fn ran(arguments: &Arguments) -> String {
    let whole = arguments.whole_mesh || arguments.files.is_empty();
    let (ran, skipped): (Vec<_>, Vec<_>) =
        analysis::analyzers().iter().partition(|analyzer| whole || analyzer.needs == Needs::Configuration);
    let names = |title: &str, list: Vec<&analysis::Analyzer>| match list.len() {
        0 => String::new(),
        _ => format!("{title}:\n{}", list.iter().map(|analyzer| format!("\t {}\n", analyzer.name)).collect::<String>()),
    };
    names("Skipped analyzers", skipped) + &names("Executed analyzers", ran)
}
