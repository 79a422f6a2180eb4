//! EnvoyFilter (`networking/v1alpha3/envoy_filter.proto`): patches of the generated Envoy configuration.

use crate::crd::rules;
use crate::{
    message::{enumeration, message},
    networking::sidecar::WorkloadSelector,
    scalar::Struct,
    selector::PolicyTargetReference,
};
use std::collections::BTreeMap;

message! {
    /// EnvoyFilter patches the Envoy configuration that is generated for proxies. It depends on names and shapes that may
    /// change with every release.
    #[schemars(extend("x-kubernetes-validations" = rules::one_attachment(&["workloadSelector", "targetRefs"])))]
    pub struct EnvoyFilter {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub workload_selector: Option<WorkloadSelector>,
        /// The waypoints or Gateway API gateways instead.
        #[schemars(extend("maxItems" = 16))]
        pub target_refs: Vec<PolicyTargetReference>,
        /// The patches, applied in order.
        pub config_patches: Vec<EnvoyConfigObjectPatch>,
        /// Among several EnvoyFilters, the one with the lower number is applied first.
        pub priority: i32,
    }

    /// A patch.
    pub struct EnvoyConfigObjectPatch {
        /// What is patched.
        pub apply_to: ApplyTo,
        /// Which objects of that kind are patched; unset means all.
        #[serde(rename = "match")]
        pub matches: Option<EnvoyConfigObjectMatch>,
        /// What happens to them.
        pub patch: Option<Patch>,
    }

    /// Which objects are patched.
    #[schemars(extend("x-kubernetes-validations" = rules::waypoint_match()))]
    pub struct EnvoyConfigObjectMatch {
        /// In which direction, or kind of proxy, the object is.
        pub context: PatchContext,
        /// Which proxies are meant.
        pub proxy: Option<ProxyMatch>,
        /// Which listener and what in it.
        pub listener: Option<ListenerMatch>,
        /// Which route configuration and what in it.
        pub route_configuration: Option<RouteConfigurationMatch>,
        /// Which cluster.
        pub cluster: Option<ClusterMatch>,
        /// Which part of a waypoint is meant.
        pub waypoint: Option<WaypointMatch>,
    }
    oneof object: EnvoyConfigObject {
        listener => Listener(ListenerMatch),
        route_configuration => RouteConfiguration(RouteConfigurationMatch),
        cluster => Cluster(ClusterMatch),
        waypoint => Waypoint(WaypointMatch),
    }

    /// Which proxies.
    pub struct ProxyMatch {
        /// An RE2 expression for the proxy's version.
        pub proxy_version: String,
        /// Node metadata that must be equal.
        pub metadata: BTreeMap<String, String>,
    }

    /// Which cluster.
    pub struct ClusterMatch {
        /// The port of the service.
        pub port_number: u32,
        /// The host of the service in full.
        pub service: String,
        /// The subset that the cluster is for.
        pub subset: String,
        /// The name of the cluster; excludes the other fields.
        pub name: String,
    }

    /// Which route configuration and what in it.
    pub struct RouteConfigurationMatch {
        /// The port of the service or the gateway.
        pub port_number: u32,
        /// The name of the gateway's port.
        pub port_name: String,
        /// `namespace/name` of the Gateway.
        pub gateway: String,
        /// A virtual host in it.
        pub vhost: Option<VirtualHostMatch>,
        /// The name of the route configuration.
        pub name: String,
    }

    /// Which route.
    pub struct RouteMatch {
        /// The name of the route.
        pub name: String,
        /// What the route does.
        pub action: RouteMatchAction,
    }

    /// Which virtual host.
    pub struct VirtualHostMatch {
        /// The name of the virtual host, `host:port`.
        pub name: String,
        /// One of the domains of the virtual host.
        pub domain_name: String,
        /// A route in the virtual host.
        pub route: Option<RouteMatch>,
    }

    /// Which listener and what in it.
    pub struct ListenerMatch {
        /// The port of the service or the gateway.
        pub port_number: u32,
        /// Not used.
        pub port_name: String,
        /// A filter chain in it.
        pub filter_chain: Option<FilterChainMatch>,
        /// The name of a listener filter in it.
        pub listener_filter: String,
        /// The name of the listener.
        pub name: String,
    }

    /// Which filter chain.
    pub struct FilterChainMatch {
        /// The name of the filter chain.
        pub name: String,
        /// A server name that the chain matches.
        pub sni: String,
        /// The transport protocol that the chain matches.
        pub transport_protocol: String,
        /// The application protocols it matches, separated by commas.
        pub application_protocols: String,
        /// A network filter in it.
        pub filter: Option<FilterMatch>,
        /// The port that the chain matches.
        pub destination_port: u32,
        /// The name of the chain's transport socket.
        pub transport_socket: String,
    }

    /// Which network filter.
    pub struct FilterMatch {
        /// The name of the network filter.
        pub name: String,
        /// An HTTP filter within it.
        pub sub_filter: Option<SubFilterMatch>,
    }

    /// Which HTTP filter.
    pub struct SubFilterMatch {
        /// The name of the HTTP filter.
        pub name: String,
    }

    /// What of a waypoint.
    pub struct WaypointMatch {
        /// The port of the service.
        #[schemars(extend("x-kubernetes-validations" = rules::port()))]
        pub port_number: u32,
        /// A route of the waypoint.
        pub route: Option<WaypointRouteMatch>,
        /// A filter of the waypoint.
        pub filter: Option<FilterMatch>,
    }

    /// Which route of a waypoint.
    pub struct WaypointRouteMatch {
        /// The name of the route.
        pub name: String,
    }

    /// How an object is patched.
    pub struct Patch {
        /// What is done with the value.
        pub operation: PatchOperation,
        /// The Envoy message as JSON.
        pub value: Option<Struct>,
        /// Where an added filter belongs.
        pub filter_class: FilterClass,
    }
}

enumeration! {
    /// What is patched.
    pub enum ApplyTo {
        /// Not said, which is an error.
        Invalid = "INVALID",
        /// A listener.
        Listener = "LISTENER",
        /// A filter chain.
        FilterChain = "FILTER_CHAIN",
        /// A network filter.
        NetworkFilter = "NETWORK_FILTER",
        /// An HTTP filter.
        HttpFilter = "HTTP_FILTER",
        /// A route configuration.
        RouteConfiguration = "ROUTE_CONFIGURATION",
        /// A virtual host.
        VirtualHost = "VIRTUAL_HOST",
        /// A route.
        HttpRoute = "HTTP_ROUTE",
        /// A cluster.
        Cluster = "CLUSTER",
        /// A resource of ECDS.
        ExtensionConfig = "EXTENSION_CONFIG",
        /// The proxy's bootstrap.
        Bootstrap = "BOOTSTRAP",
        /// A listener filter.
        ListenerFilter = "LISTENER_FILTER",
    }

    /// In which direction or kind of proxy.
    pub enum PatchContext {
        /// All.
        Any = "ANY",
        /// Inbound of sidecars.
        SidecarInbound = "SIDECAR_INBOUND",
        /// Outbound of sidecars.
        SidecarOutbound = "SIDECAR_OUTBOUND",
        /// Gateways.
        Gateway = "GATEWAY",
        /// Waypoints.
        Waypoint = "WAYPOINT",
    }

    /// What a route does.
    pub enum RouteMatchAction {
        /// Anything.
        Any = "ANY",
        /// Forwards.
        Route = "ROUTE",
        /// Redirects.
        Redirect = "REDIRECT",
        /// Answers.
        DirectResponse = "DIRECT_RESPONSE",
    }

    /// What happens to an object.
    pub enum PatchOperation {
        /// Not said, which is an error.
        Invalid = "INVALID",
        /// Merged into it, lists appended.
        Merge = "MERGE",
        /// Added to the list.
        Add = "ADD",
        /// Removed.
        Remove = "REMOVE",
        /// Added before the matched one.
        InsertBefore = "INSERT_BEFORE",
        /// Added after the matched one.
        InsertAfter = "INSERT_AFTER",
        /// Added at the beginning.
        InsertFirst = "INSERT_FIRST",
        /// Put in its place.
        Replace = "REPLACE",
        /// Merged into it, lists replaced.
        MergeAndReplaceList = "MERGE_AND_REPLACE_LIST",
    }

    /// Where an added filter belongs.
    pub enum FilterClass {
        /// As the operation says.
        Unspecified = "UNSPECIFIED",
        /// After authentication.
        Authn = "AUTHN",
        /// After authorization.
        Authz = "AUTHZ",
        /// Before statistics.
        Stats = "STATS",
    }
}
