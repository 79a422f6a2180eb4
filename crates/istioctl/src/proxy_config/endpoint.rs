//! Endpoints: what an Envoy says of each, or what istiod has sent.

use crate::{
    json::{list, number, text},
    table::Table,
};
use serde_json::Value;

/// Which endpoints are shown.
#[derive(clap::Args, Default)]
pub struct Filter {
    /// Filter endpoints by address field
    #[arg(long)]
    address: Option<String>,
    /// Filter endpoints by Port field
    #[arg(long)]
    port: Option<u64>,
    /// Filter endpoints by cluster name field
    #[arg(long)]
    cluster: Option<String>,
    /// Filter endpoints by status field (healthy, unhealthy, draining, unknown, …)
    #[arg(long)]
    status: Option<String>,
}

/// One endpoint of one cluster, in the order of the table.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    address: String,
    port: u64,
    cluster: &'a str,
    status: &'a str,
    outlier_check: &'static str,
}

impl<'a> Row<'a> {
    /// An endpoint of a `ClusterLoadAssignment`: what the proxy knows of outliers is not in it.
    fn of_assignment(cluster: &'a str, endpoint: &'a Value) -> Self {
        let (address, port) = address(endpoint.pointer("/endpoint/address"));
        Self { address, port, cluster, status: known(text(endpoint, "/health_status")), outlier_check: "-" }
    }

    /// A host of a `ClusterStatus`.
    fn of_status(cluster: &'a str, host: &'a Value) -> Self {
        let (address, port) = address(host.get("address"));
        let failed = host.pointer("/health_status/failed_outlier_check").and_then(Value::as_bool).unwrap_or_default();
        let status = known(text(host, "/health_status/eds_health_status"));
        Self { address, port, cluster, status, outlier_check: if failed { "FAILED" } else { "OK" } }
    }

    fn passes(&self, filter: &Filter) -> bool {
        let same = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(text));
        same(&filter.address, &self.address)
            && filter.port.is_none_or(|port| port == self.port)
            && same(&filter.cluster, self.cluster)
            && same(&filter.status, self.status)
    }
}

/// The groups with the endpoints that pass; groups without any are left out.
pub fn select(mut groups: Vec<Value>, filter: &Filter) -> Vec<Value> {
    for group in &mut groups {
        let cluster = name(group).to_owned();
        if let Some(Value::Array(hosts)) = group.get_mut("host_statuses") {
            hosts.retain(|host| Row::of_status(&cluster, host).passes(filter));
        }
        for locality in group.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(Value::Array(endpoints)) = locality.get_mut("lb_endpoints") {
                endpoints.retain(|endpoint| Row::of_assignment(&cluster, endpoint).passes(filter));
            }
        }
    }
    groups.retain(|group| !rows(group).is_empty());
    groups.sort_by(|a, b| name(a).cmp(name(b)));
    groups
}

/// Istio's table.
pub fn table(groups: &[Value]) -> String {
    let mut all: Vec<Row> = groups.iter().flat_map(rows).collect();
    all.sort();
    let mut table = Table::new(["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"]);
    for row in all {
        let endpoint = if row.port == 0 { row.address } else { format!("{}:{}", row.address, row.port) };
        table.push([endpoint, row.status.to_owned(), row.outlier_check.to_owned(), row.cluster.to_owned()]);
    }
    table.render()
}

/// The cluster of a group of either shape.
fn name(group: &Value) -> &str {
    match text(group, "/cluster_name") {
        "" => text(group, "/name"),
        name => name,
    }
}

fn rows(group: &Value) -> Vec<Row<'_>> {
    let cluster = name(group);
    let statuses = list(group, "/host_statuses").iter().map(|host| Row::of_status(cluster, host));
    let endpoints = list(group, "/endpoints").iter().flat_map(|locality| list(locality, "/lb_endpoints"));
    statuses.chain(endpoints.map(|endpoint| Row::of_assignment(cluster, endpoint))).collect()
}

/// Proto JSON leaves out the zero of an enum.
fn known(status: &str) -> &str {
    if status.is_empty() { "UNKNOWN" } else { status }
}

/// The address and port of a `core.v3.Address`; no port for those that are none of IP.
fn address(address: Option<&Value>) -> (String, u64) {
    let address = address.unwrap_or(&Value::Null);
    if let Some(socket) = address.get("socket_address") {
        return (text(socket, "/address").to_owned(), number(socket, "/port_value"));
    }
    if let Some(pipe) = address.get("pipe") {
        return (format!("unix://{}", text(pipe, "/path")), 0);
    }
    match address.get("envoy_internal_address") {
        Some(internal) => (format!("envoy://{}/{}", text(internal, "/server_listener_name"), text(internal, "/endpoint_id")), 0),
        None => ("unknown".to_owned(), 0),
    }
}
