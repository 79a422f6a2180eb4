//! A config dump (`envoy.admin.v3.ConfigDump`) in the spelling of Envoy's own, and the resources in it.

use crate::json::{list, text};
use anyhow::Context;
use serde_json::Value;
use std::collections::BTreeSet;

/// A whole dump.
pub struct Dump(Value);

/// A list of resources in a part of the dump: the type of the part, the list, and where in its items the resource is.
type Place = (&'static str, &'static str, &'static str);

const CLUSTERS: [Place; 2] =
    [("ClustersConfigDump", "/dynamic_active_clusters", "/cluster"), ("ClustersConfigDump", "/static_clusters", "/cluster")];
const ENDPOINTS: [Place; 2] = [
    ("EndpointsConfigDump", "/dynamic_endpoint_configs", "/endpoint_config"),
    ("EndpointsConfigDump", "/static_endpoint_configs", "/endpoint_config"),
];
const LISTENERS: [Place; 2] =
    [("ListenersConfigDump", "/dynamic_listeners", "/active_state/listener"), ("ListenersConfigDump", "/static_listeners", "/listener")];
const ROUTES: [Place; 2] =
    [("RoutesConfigDump", "/dynamic_route_configs", "/route_config"), ("RoutesConfigDump", "/static_route_configs", "/route_config")];

impl Dump {
    /// An error says what the text is not.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text).context("not JSON; a config dump is what Envoy answers to /config_dump")?;
        anyhow::ensure!(
            value.get("configs").is_some_and(Value::is_array),
            "no config dump, which has a list of \"configs\"; it is what Envoy answers to /config_dump?include_eds"
        );
        Ok(Self(value))
    }

    /// All of it.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The clusters.
    pub fn clusters(&self) -> Vec<&Value> {
        self.resources(&CLUSTERS)
    }

    /// The listeners that take connections.
    pub fn listeners(&self) -> Vec<&Value> {
        self.resources(&LISTENERS)
    }

    /// The route configurations.
    pub fn routes(&self) -> Vec<&Value> {
        self.resources(&ROUTES)
    }

    /// The assignments that came by EDS, and those within clusters.
    pub fn endpoints(&self) -> Vec<Value> {
        let mut all: Vec<Value> = self.resources(&ENDPOINTS).into_iter().cloned().collect();
        let known: BTreeSet<String> = all.iter().map(|assignment| text(assignment, "/cluster_name").to_owned()).collect();
        let within = self.clusters().into_iter().filter_map(|cluster| cluster.get("load_assignment"));
        all.extend(within.filter(|assignment| !known.contains(text(assignment, "/cluster_name"))).cloned());
        all
    }

    fn resources(&self, places: &[Place]) -> Vec<&Value> {
        let parts = list(&self.0, "/configs").iter();
        let found = parts.flat_map(|part| {
            let of_part = places.iter().filter(|(message, ..)| text(part, "/@type").ends_with(&format!(".{message}")));
            of_part.flat_map(|(_, items, resource)| list(part, items).iter().filter_map(|item| item.pointer(resource)))
        });
        found.collect()
    }
}
