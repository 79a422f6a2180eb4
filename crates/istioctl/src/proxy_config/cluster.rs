//! Clusters.

use super::{dump::Dump, origin};
use crate::{json::text, table::Table};
use serde_json::Value;

/// Which clusters are shown.
#[derive(clap::Args, Default)]
pub struct Filter {
    /// Filter clusters by substring of Service FQDN field
    #[arg(long)]
    fqdn: Option<String>,
    /// Filter clusters by Port field
    #[arg(long)]
    port: Option<u16>,
    /// Filter clusters by Subset field
    #[arg(long)]
    subset: Option<String>,
    /// Filter clusters by Direction field
    #[arg(long, value_parser = ["inbound", "outbound", "inbound-vip"])]
    direction: Option<String>,
}

/// The parts of `<direction>|<port>|<subset>|<host>`. Other names are a host alone.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a> {
    host: &'a str,
    subset: &'a str,
    port: Option<u16>,
    direction: &'a str,
}

impl<'a> Name<'a> {
    fn parse(name: &'a str) -> Self {
        match name.splitn(4, '|').collect::<Vec<_>>().as_slice() {
            [direction, port, subset, host] => Self { host, subset, port: port.parse().ok(), direction },
            _ => Self { host: name, subset: "", port: None, direction: "" },
        }
    }

    fn passes(&self, filter: &Filter) -> bool {
        filter.fqdn.as_ref().is_none_or(|fqdn| self.host.contains(fqdn))
            && filter.port.is_none_or(|port| self.port == Some(port))
            && filter.subset.as_ref().is_none_or(|subset| self.subset == subset)
            && filter.direction.as_ref().is_none_or(|direction| self.direction == direction)
    }
}

/// The clusters that pass, by host name, subset, port and direction.
pub fn select(dump: &Dump, filter: &Filter) -> Vec<Value> {
    let mut clusters = dump.clusters();
    clusters.retain(|cluster| Name::parse(text(cluster, "/name")).passes(filter));
    clusters.sort_by_key(|cluster| Name::parse(text(cluster, "/name")));
    clusters.into_iter().cloned().collect()
}

/// Istio's table.
pub fn table(clusters: &[Value]) -> String {
    let mut table = Table::new(["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"]);
    for cluster in clusters {
        let name = Name::parse(text(cluster, "/name"));
        let port = name.port.map_or_else(|| "-".to_owned(), |port| port.to_string());
        let row = [name.host.to_owned(), port, dash(name.subset), dash(name.direction), kind(cluster), origin::object(cluster)];
        table.push(row);
    }
    table.render()
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// The type of discovery; the name of an extension for those that are none of Envoy's own.
fn kind(cluster: &Value) -> String {
    match (text(cluster, "/cluster_type/name"), text(cluster, "/type")) {
        ("", "") => "STATIC".to_owned(),
        ("", kind) => kind.to_owned(),
        (extension, _) => extension.to_owned(),
    }
}
