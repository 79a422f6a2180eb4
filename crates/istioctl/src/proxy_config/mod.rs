//! `istioctl proxy-config`: what a proxy was given, as istiod, the proxy itself or a saved dump says.

mod cluster;
mod dump;
mod endpoint;
mod listener;
mod origin;
mod route;
mod source;

use crate::{
    istiod,
    output::{self, Format},
};
use dump::Dump;
use serde_json::Value;
use source::Source;

/// Retrieve information about proxy configuration from istiod, from an Envoy or from a saved config dump
#[derive(clap::Args)]
#[command(visible_alias = "pc")]
pub struct Arguments {
    #[command(subcommand)]
    resources: Resources,
}

/// What is asked for.
#[derive(clap::Subcommand)]
enum Resources {
    /// Retrieves all of the following
    #[command(visible_alias = "a")]
    All(Command<NoFilter>),
    /// Retrieves cluster configuration
    #[command(visible_aliases = ["clusters", "c"])]
    Cluster(Command<cluster::Filter>),
    /// Retrieves endpoint configuration
    #[command(visible_aliases = ["endpoints", "ep"])]
    Endpoint(Command<endpoint::Filter>),
    /// Retrieves listener configuration
    #[command(visible_aliases = ["listeners", "l"])]
    Listener(Command<listener::Filter>),
    /// Retrieves route configuration
    #[command(visible_aliases = ["routes", "r"])]
    Route(Command<route::Filter>),
}

/// Where to look, what to show and how.
#[derive(clap::Args)]
struct Command<F: clap::Args> {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    filter: F,
    #[command(flatten)]
    output: output::Output,
}

/// Everything.
#[derive(clap::Args)]
struct NoFilter {}

/// Writes what is asked for.
pub fn run(arguments: &Arguments, istiod: &istiod::Istiod) -> anyhow::Result<()> {
    match &arguments.resources {
        Resources::All(command) => all(command, istiod),
        Resources::Cluster(command) => {
            let found = cluster::select(&command.dump(istiod)?, &command.filter);
            command.print(cluster::table, found)
        }
        Resources::Endpoint(command) => {
            let found = endpoint::select(command.source.endpoints(istiod)?, &command.filter);
            command.print(endpoint::table, found)
        }
        Resources::Listener(command) => {
            let found = listener::select(&command.dump(istiod)?, &command.filter);
            command.print(|found| listener::table(found, command.filter.verbose), found)
        }
        Resources::Route(command) => {
            let found = route::select(&command.dump(istiod)?, &command.filter);
            command.print(|found| route::table(found, command.filter.verbose), found)
        }
    }
}

/// One table below the other, or the whole dump.
fn all(command: &Command<NoFilter>, istiod: &istiod::Istiod) -> anyhow::Result<()> {
    let dump = command.dump(istiod)?;
    let tables = || {
        let tables = [
            cluster::table(&cluster::select(&dump, &cluster::Filter::default())),
            listener::table(&listener::select(&dump, &listener::Filter::default()), true),
            route::table(&route::select(&dump, &route::Filter::default()), true),
            endpoint::table(&endpoint::select(dump.endpoints(), &endpoint::Filter::default())),
        ];
        tables.join("\n")
    };
    command.output.format.print(tables, dump.value())
}

impl<F: clap::Args> Command<F> {
    fn dump(&self, istiod: &istiod::Istiod) -> anyhow::Result<Dump> {
        self.source.config_dump(istiod)
    }

    /// Without the type, which is the same for all of them, as Istio prints messages.
    fn print(&self, table: impl Fn(&[Value]) -> String, mut found: Vec<Value>) -> anyhow::Result<()> {
        found.iter_mut().filter_map(Value::as_object_mut).for_each(|resource| drop(resource.shift_remove("@type")));
        let text = if self.output.format == Format::Short { table(&found) } else { String::new() };
        self.output.format.print(|| text, &Value::Array(found))
    }
}
