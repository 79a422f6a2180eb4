//! Route configurations.

use super::{dump::Dump, origin};
use crate::{
    json::{list, text, texts},
    table::Table,
};
use serde_json::Value;

/// Which routes are shown, and how much of them.
#[derive(clap::Args)]
pub struct Filter {
    /// Filter listeners by route name field
    #[arg(long)]
    name: Option<String>,
    /// Output more information
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub verbose: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { name: None, verbose: true }
    }
}

/// How many domains the table shows.
const MAX_DOMAINS: usize = 2;

/// The route configurations that pass: those of ports in the order of the numbers, then the others by name.
pub fn select(dump: &Dump, filter: &Filter) -> Vec<Value> {
    let mut routes = dump.routes();
    routes.retain(|route| filter.name.as_ref().is_none_or(|name| name == text(route, "/name")));
    routes.sort_by_key(|route| {
        let name = text(route, "/name");
        (name.parse::<u32>().unwrap_or(u32::MAX), name.to_owned())
    });
    routes.into_iter().cloned().collect()
}

/// Istio's table: one row for each route, without those that pass through.
pub fn table(configurations: &[Value], verbose: bool) -> String {
    if !verbose {
        let mut table = Table::new(["NAME", "VIRTUAL HOSTS"]);
        for configuration in configurations {
            table.push([text(configuration, "/name").to_owned(), list(configuration, "/virtual_hosts").len().to_string()]);
        }
        return table.render();
    }
    let mut table = Table::new(["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"]);
    for configuration in configurations {
        for host in list(configuration, "/virtual_hosts") {
            let row = |matched: String, object: String| {
                [text(configuration, "/name").to_owned(), text(host, "/name").to_owned(), domains(host), matched, object]
            };
            let routes = list(host, "/routes");
            if routes.is_empty() {
                table.push(row("/*".to_owned(), "404".to_owned()));
            }
            for route in routes.iter().filter(|route| text(route, "/route/cluster") != "PassthroughCluster") {
                table.push(row(matched(route), origin::object(route)));
            }
        }
    }
    table.render()
}

/// The path that a route matches; headers are not shown.
pub fn matched(route: &Value) -> String {
    let parts = [
        ("/match/prefix", "", "*"),
        ("/match/path", "", ""),
        ("/match/path_separated_prefix", "PathPrefix:", ""),
        ("/match/safe_regex/regex", "regex ", ""),
    ];
    let found = parts.map(|(pointer, before, after)| match text(route, pointer) {
        "" => String::new(),
        path => format!("{before}{path}{after}"),
    });
    found.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The only domain, or else the first of those without a port and without the longer forms of one that is there.
fn domains(host: &Value) -> String {
    let all = texts(host, "/domains");
    if let [only] = all.as_slice() {
        return (*only).to_owned();
    }
    // `[fd00::1]` is an address alone.
    let without_port: Vec<&str> = all.into_iter().filter(|domain| !domain.contains(':') || domain.ends_with(']')).collect();
    let longer_form = |domain: &&str| {
        let shorter = [".svc.cluster.local", ".svc"].into_iter().filter_map(|suffix| domain.strip_suffix(suffix));
        shorter.into_iter().any(|shorter| without_port.contains(&shorter))
    };
    let shown: Vec<&str> = without_port.iter().copied().filter(|domain| !longer_form(domain)).collect();
    let first = shown.iter().copied().take(MAX_DOMAINS).collect::<Vec<_>>().join(", ");
    match shown.len().saturating_sub(MAX_DOMAINS) {
        0 => first,
        more => format!("{first} + {more} more..."),
    }
}
