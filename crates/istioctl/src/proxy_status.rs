//! `istioctl proxy-status [proxy]`: what istiod has sent each proxy last, and whether the proxy has taken it.

use crate::{
    istiod,
    json::text,
    output::{self, Format},
    table::Table,
};
use anyhow::Context;
use serde_json::Value;

/// Retrieves the synchronization status of each Envoy in the mesh
#[derive(clap::Args)]
#[command(visible_alias = "ps")]
pub struct Arguments {
    /// Show the proxies only whose <pod>.<namespace> contains this
    proxy: Option<String>,
    #[command(flatten)]
    output: output::Output,
}

/// Istio's columns, in its order: the heading, the word of the fields and the type that the status is about.
const TYPES: [(&str, &str, &str); 5] = [
    ("CDS", "cluster", "envoy.config.cluster.v3.Cluster"),
    ("LDS", "listener", "envoy.config.listener.v3.Listener"),
    ("EDS", "endpoint", "envoy.config.endpoint.v3.ClusterLoadAssignment"),
    ("RDS", "route", "envoy.config.route.v3.RouteConfiguration"),
    ("ECDS", "extensionconfig", "envoy.config.core.v3.TypedExtensionConfig"),
];

/// Writes the table, and below it why something was refused.
pub fn run(arguments: &Arguments, istiod: &istiod::Istiod) -> anyhow::Result<()> {
    let page = istiod.json("/debug/syncz")?;
    let all = page.as_array().with_context(|| format!("{}/debug/syncz is no list; is that an istiod?", istiod.name()))?;
    let mut proxies = all.clone();
    if let Some(wanted) = &arguments.proxy {
        proxies.retain(|proxy| text(proxy, "/proxy").contains(wanted));
        anyhow::ensure!(
            !proxies.is_empty(),
            "no proxy named {wanted} is connected to {}; istioctl proxy-status without a name lists the {} that are",
            istiod.name(),
            all.len()
        );
    }
    proxies.sort_by_key(|proxy| (text(proxy, "/cluster_id").to_owned(), text(proxy, "/proxy").to_owned()));
    if proxies.is_empty() && arguments.output.format == Format::Short {
        eprintln!("No proxy is connected to {}.", istiod.name());
    }
    arguments.output.format.print(|| table(&proxies, &istiod.name()), &Value::Array(proxies.clone()))
}

fn table(proxies: &[Value], istiod: &str) -> String {
    let mut table = Table::new(["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "ISTIOD", "VERSION"]);
    let mut refusals = String::new();
    for proxy in proxies {
        let name = text(proxy, "/proxy");
        let [cds, lds, eds, rds, ecds] = TYPES.map(|(_, word, message)| status(proxy, word, message).to_owned());
        let [version, cluster] = ["/istio_version", "/cluster_id"].map(|field| match text(proxy, field) {
            "" => "-",
            value => value,
        });
        table.push([name.to_owned(), cluster.to_owned(), cds, lds, eds, rds, ecds, istiod.to_owned(), version.to_owned()]);
        for (heading, _, message) in TYPES {
            let error = last_error(proxy, message);
            if !error.is_empty() {
                refusals += &format!("\n{name} refuses {heading}: {error}\n");
            }
        }
    }
    table.render() + &refusals
}

/// Istio's words.
fn status(proxy: &Value, word: &str, message: &str) -> &'static str {
    let (sent, acked) = (text(proxy, &format!("/{word}_sent")), text(proxy, &format!("/{word}_acked")));
    match (sent, acked) {
        ("", _) => "NOT SENT",
        _ if !last_error(proxy, message).is_empty() => "ERROR",
        (sent, acked) if sent == acked => "SYNCED",
        (_, "") => "STALE (Never Acknowledged)",
        _ => "STALE",
    }
}

fn last_error<'a>(proxy: &'a Value, message: &str) -> &'a str {
    text(proxy, &format!("/resources/type.googleapis.com~1{message}/lastError"))
}
