//! Virtual hosts as resources of their own (VHDS): for whom, and what Envoy must be spared.
//!
//! A stock Envoy takes them pushed, over delta, under rules that its documentation does not tell (measured on 1.37 to 1.40):
//! a route configuration without any such virtual host keeps its listener waiting until something of its own is sent, even
//! if that is a removal; Envoy subscribes once, so that the virtual hosts of every further route configuration must follow
//! it at once; what it says to have of a route configuration that it has given up, it has not; and one that has its virtual
//! hosts inline loses requests if they are taken out.

use crate::{
    connection::{Connection, Protocol},
    parcel::Extent,
    replica::{Exception, Plan},
};
use std::collections::{BTreeMap, BTreeSet};
use xds_api::{
    envoy::config::core::v3::{Node, node::UserAgentVersionType},
    google::protobuf::value::Kind,
};
use xds_wire::{ResourceName, ResourceType, Version, View};

/// How a client gets virtual hosts; decided once for a stream, by its first request for route configurations.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Delivery {
    /// Within route configurations.
    #[default]
    Inline,
    /// One by one.
    OneByOne,
}

/// What a stream knows of its client's virtual hosts.
#[derive(Default)]
pub(crate) struct VirtualHosts {
    pub delivery: Delivery,
    /// The route configurations that the client came with; `None` before it has asked for any.
    routes: Option<BTreeSet<String>>,
    /// The virtual hosts that it came with, until that is known.
    claimed: BTreeMap<String, String>,
}

/// The oldest Envoy that takes them over an aggregated stream.
const OLDEST: (u32, u32) = (1, 37);

/// A node with this key in its metadata, `true`, gets them within route configurations.
const OPT_OUT: &str = "DISABLE_VHDS";

/// Whether the client can get virtual hosts one by one.
pub fn takes_virtual_hosts(node: &Node, protocol: Protocol) -> bool {
    let Some(UserAgentVersionType::UserAgentBuildVersion(build)) = &node.user_agent_version_type else { return false };
    let version = build.version.as_ref().map(|version| (version.major_number, version.minor_number));
    let flag = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(OPT_OUT)).and_then(|value| value.kind.as_ref());
    let opted_out = match flag {
        Some(Kind::BoolValue(value)) => *value,
        Some(Kind::StringValue(text)) => text == "true",
        _ => false,
    };
    protocol == Protocol::Delta && node.user_agent_name == "envoy" && version.is_some_and(|version| version >= OLDEST) && !opted_out
}

impl Connection {
    /// Decides how the client gets virtual hosts: one that comes back goes on as before.
    pub(crate) fn decide(&mut self, versions: &BTreeMap<String, String>) {
        let known: Vec<Version> = versions.values().filter_map(|version| version.parse().ok()).collect();
        let fresh = versions.is_empty() || known.iter().any(|version| version.is_bare());
        let able = self.settings.virtual_hosts && self.view.bare_routes().is_some();
        self.hosts.delivery = if able && fresh { Delivery::OneByOne } else { Delivery::Inline };
        self.hosts.routes = Some(versions.keys().cloned().collect());
        let claimed = std::mem::take(&mut self.hosts.claimed);
        self.believe_hosts(claimed);
    }

    /// Takes note of the virtual hosts that a client says to have, as far as it also has their route configurations.
    pub(crate) fn believe_hosts(&mut self, claimed: BTreeMap<String, String>) {
        let Some(routes) = &self.hosts.routes else {
            self.hosts.claimed = claimed;
            return;
        };
        let held = claimed.into_iter().filter(|(name, _)| routes.iter().any(|routes| is_of(name, routes)));
        let held: Vec<(String, String)> = held.collect();
        for (name, version) in held {
            let name = self.shared_name(ResourceType::VirtualHost, &name);
            let exception = version.parse::<Version>().map_or(Exception::Stale, |version| Exception::Holds(version, None));
            self.types.of_mut(ResourceType::VirtualHost).replica.except(name, exception);
        }
    }

    /// Lets the virtual hosts of route configurations follow that the client did not have, or has asked for again.
    pub(crate) fn introduce(&mut self, plan: &Plan, extent: Extent, view: &View) {
        if self.hosts.delivery != Delivery::OneByOne {
            return;
        }
        for item in plan.items.iter().filter(|item| extent.covers(item) && (item.add || item.answer)) {
            let Some(routes) = item.resource.as_ref().filter(|routes| routes.version.is_bare()) else { continue };
            let prefix = format!("{}/", routes.name);
            let hosts: Vec<ResourceName> =
                view.of(ResourceType::VirtualHost).beginning_with(&prefix).map(|host| host.name.clone()).collect();
            let replica = &mut self.types.of_mut(ResourceType::VirtualHost).replica;
            if hosts.is_empty() {
                // A name that does not exist, in answer to which Envoy hears that there is nothing to wait for.
                replica.owe(ResourceName::from(format!("{prefix}-")));
            }
            hosts.into_iter().for_each(|host| replica.owe(host));
        }
    }

    /// Whether virtual hosts may be spoken of yet: only beside route configurations is it known how.
    pub(crate) fn hosts_are_decided(&self) -> bool {
        self.hosts.routes.is_some()
    }

    /// An Envoy that refuses to be told of virtual hosts one by one gets them inline.
    pub(crate) fn refuses_hosts(&mut self, kind: ResourceType, message: &str) {
        if kind == ResourceType::Route && message.contains("vhds:") {
            self.hosts.delivery = Delivery::Inline;
        }
    }
}

/// Whether the resource is a virtual host of the route configuration.
fn is_of(name: &str, routes: &str) -> bool {
    name.strip_prefix(routes).is_some_and(|rest| rest.starts_with('/'))
}
