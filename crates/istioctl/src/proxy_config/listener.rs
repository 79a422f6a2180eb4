//! Listeners.

use super::{dump::Dump, route};
use crate::{
    json::{list, number, text, texts},
    table::Table,
};
use serde_json::Value;

/// Which listeners are shown, and how much of them.
#[derive(clap::Args)]
pub struct Filter {
    /// Filter listeners by address field
    #[arg(long)]
    address: Option<String>,
    /// Filter listeners by Port field
    #[arg(long)]
    port: Option<u64>,
    /// Filter listeners by type field (HTTP, TCP, HTTP+TCP)
    #[arg(long = "type")]
    kind: Option<String>,
    /// Output more information
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub verbose: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { address: None, port: None, kind: None, verbose: true }
    }
}

/// Istio's names for lists of application protocols.
const APPLICATIONS: [(&[&str], &str); 4] = [
    (&["http/1.0", "http/1.1", "h2c"], "HTTP"),
    (&["http/1.0", "http/1.1", "h2c", "istio-http/1.0", "istio-http/1.1", "istio-h2"], "HTTP TLS"),
    (&["istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"], "Istio HTTP Plain"),
    (&["istio-peer-exchange", "istio"], "TCP TLS"),
];

/// The listeners that pass, by port, address and type.
pub fn select(dump: &Dump, filter: &Filter) -> Vec<Value> {
    let mut listeners = dump.listeners();
    listeners.retain(|listener| {
        filter.address.as_ref().is_none_or(|address| addresses(listener).iter().any(|own| own.eq_ignore_ascii_case(address)))
            && filter.port.is_none_or(|wanted| port(listener) == wanted)
            && filter.kind.as_ref().is_none_or(|wanted| kind(listener).eq_ignore_ascii_case(wanted))
    });
    listeners.sort_by_key(|listener| (port(listener), addresses(listener), kind(listener)));
    listeners.into_iter().cloned().collect()
}

/// Istio's table: one row for each filter chain, or for each listener.
pub fn table(listeners: &[Value], verbose: bool) -> String {
    if !verbose {
        let mut table = Table::new(["ADDRESSES", "PORT", "TYPE"]);
        for listener in listeners {
            table.push([addresses(listener).join(","), port(listener).to_string(), kind(listener).to_owned()]);
        }
        return table.render();
    }
    let mut table = Table::new(["ADDRESSES", "PORT", "MATCH", "DESTINATION"]);
    for listener in listeners {
        let mut rows: Vec<_> = chains(listener).map(|chain| (matched(chain), destination(chain))).collect();
        rows.sort_by(|(_, a), (_, b)| b.cmp(a));
        for (matched, destination) in rows {
            table.push([addresses(listener).join(","), port(listener).to_string(), matched, destination]);
        }
    }
    table.render()
}

/// The addresses of a listener: the first and the additional ones.
fn addresses(listener: &Value) -> Vec<String> {
    let additional = list(listener, "/additional_addresses").iter().filter_map(|row| row.get("address"));
    let all = listener.get("address").into_iter().chain(additional);
    all.map(|address| match text(address, "/socket_address/address") {
        "" => text(address, "/pipe/path").to_owned(),
        ip => ip.to_owned(),
    })
    .collect()
}

fn port(listener: &Value) -> u64 {
    number(listener, "/address/socket_address/port_value")
}

fn chains(listener: &Value) -> impl Iterator<Item = &Value> {
    list(listener, "/filter_chains").iter().chain(listener.get("default_filter_chain"))
}

/// What the last filter of a chain makes of a connection, by its type and not by its name, which is the user's.
fn terminal(chain: &Value) -> Option<(Terminal, &Value)> {
    list(chain, "/filters").iter().filter_map(|filter| filter.get("typed_config")).find_map(|config| {
        let kind = text(config, "/@type");
        if kind.ends_with(".HttpConnectionManager") {
            Some((Terminal::Http, config))
        } else if kind.ends_with(".TcpProxy") && text(config, "/cluster") != "BlackHoleCluster" {
            Some((Terminal::Tcp, config))
        } else {
            None
        }
    })
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Terminal {
    Http,
    Tcp,
}

fn kind(listener: &Value) -> &'static str {
    let has = |wanted| chains(listener).filter_map(terminal).any(|(found, _)| found == wanted);
    match (has(Terminal::Http), has(Terminal::Tcp)) {
        (true, true) => "HTTP+TCP",
        (true, false) => "HTTP",
        (false, true) => "TCP",
        (false, false) => "UNKNOWN",
    }
}

/// The conditions of a chain, in Istio's words.
fn matched(chain: &Value) -> String {
    let conditions = chain.get("filter_chain_match").unwrap_or(&Value::Null);
    let mut parts = Vec::new();
    let names = texts(conditions, "/server_names");
    if !names.is_empty() {
        parts.push(format!("SNI: {}", names.join(",")));
    }
    let transport = text(conditions, "/transport_protocol");
    if !transport.is_empty() {
        parts.push(format!("Trans: {transport}"));
    }
    let applications = texts(conditions, "/application_protocols");
    if !applications.is_empty() {
        let known = APPLICATIONS.iter().find(|(list, _)| *list == applications.as_slice());
        parts.push(format!("App: {}", known.map_or_else(|| applications.join(","), |(_, name)| (*name).to_owned())));
    }
    let port = match number(conditions, "/destination_port") {
        0 => String::new(),
        port => format!(":{port}"),
    };
    let ranges: Vec<String> = list(conditions, "/prefix_ranges").iter().map(range).collect();
    if !ranges.is_empty() {
        parts.push(format!("Addr: {}{port}", ranges.join(",")));
    } else if !port.is_empty() {
        parts.push(format!("Addr: *{port}"));
    }
    if parts.is_empty() { "ALL".to_owned() } else { parts.join("; ") }
}

fn range(range: &Value) -> String {
    format!("{}/{}", text(range, "/address_prefix"), number(range, "/prefix_len"))
}

/// Where a chain leads.
fn destination(chain: &Value) -> String {
    match terminal(chain) {
        None => "Non-HTTP/Non-TCP".to_owned(),
        Some((Terminal::Tcp, proxy)) => match text(proxy, "/cluster") {
            "" => {
                let weighted = list(proxy, "/weighted_clusters/clusters").iter();
                let weighted: Vec<_> = weighted.map(|row| format!("{} {}", text(row, "/name"), number(row, "/weight"))).collect();
                format!("Weighted clusters: {}", weighted.join(", "))
            }
            name => cluster(name),
        },
        Some((Terminal::Http, manager)) => match (manager.get("route_config"), text(manager, "/rds/route_config_name")) {
            (Some(routes), _) => inline(routes),
            (None, "") => "HTTP".to_owned(),
            (None, name) => format!("Route: {name}"),
        },
    }
}

/// `PassthroughCluster` and its like speak for themselves.
fn cluster(name: &str) -> String {
    if name.contains("Cluster") { name.to_owned() } else { format!("Cluster: {name}") }
}

/// The routes of a connection manager that has its own.
fn inline(routes: &Value) -> String {
    let hosts = list(routes, "/virtual_hosts");
    if let [host] = hosts
        && let ([only], ["*"]) = (list(host, "/routes"), texts(host, "/domains").as_slice())
        && text(only, "/match/prefix") == "/"
        && !text(only, "/route/cluster").is_empty()
    {
        return cluster(text(only, "/route/cluster"));
    }
    let hosts = hosts.iter().map(|host| {
        let routes = list(host, "/routes").iter().map(route::matched).collect::<Vec<_>>().join(", ");
        match texts(host, "/domains").as_slice() {
            ["*"] => routes,
            domains => format!("{} {routes}", domains.join("/")),
        }
    });
    format!("Inline Route: {}", hosts.collect::<Vec<_>>().join("; "))
}
