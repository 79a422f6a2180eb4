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
        /// Lower is applied first.
        pub priority: i32,
    }

    /// A patch.
    pub struct EnvoyConfigObjectPatch {
        /// What is patched.
        pub apply_to: ApplyTo,
        /// Which of them.
        #[serde(rename = "match")]
        pub matches: Option<EnvoyConfigObjectMatch>,
        /// How.
        pub patch: Option<Patch>,
    }

    /// Which objects are patched.
    #[schemars(extend("x-kubernetes-validations" = rules::waypoint_match()))]
    pub struct EnvoyConfigObjectMatch {
        /// In which direction or kind of proxy.
        pub context: PatchContext,
        /// In which proxies.
        pub proxy: Option<ProxyMatch>,
        /// Which listener and what in it.
        pub listener: Option<ListenerMatch>,
        /// Which route configuration and what in it.
        pub route_configuration: Option<RouteConfigurationMatch>,
        /// Which cluster.
        pub cluster: Option<ClusterMatch>,
        /// What of a waypoint.
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
        /// The subset.
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
        /// What it does.
        pub action: RouteMatchAction,
    }

    /// Which virtual host.
    pub struct VirtualHostMatch {
        /// `host:port`
        pub name: String,
        /// One of its domains.
        pub domain_name: String,
        /// A route in it.
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
        /// Its name.
        pub name: String,
        /// A server name it matches.
        pub sni: String,
        /// The transport protocol it matches.
        pub transport_protocol: String,
        /// The application protocols it matches, separated by commas.
        pub application_protocols: String,
        /// A network filter in it.
        pub filter: Option<FilterMatch>,
        /// The port it matches.
        pub destination_port: u32,
        /// The name of its transport socket.
        pub transport_socket: String,
    }

    /// Which network filter.
    pub struct FilterMatch {
        /// Its name.
        pub name: String,
        /// A filter within it.
        pub sub_filter: Option<SubFilterMatch>,
    }

    /// Which HTTP filter.
    pub struct SubFilterMatch {
        /// Its name.
        pub name: String,
    }

    /// What of a waypoint.
    pub struct WaypointMatch {
        /// The port of the service.
        #[schemars(extend("x-kubernetes-validations" = rules::port()))]
        pub port_number: u32,
        /// A route.
        pub route: Option<WaypointRouteMatch>,
        /// A filter.
        pub filter: Option<FilterMatch>,
    }

    /// Which route of a waypoint.
    pub struct WaypointRouteMatch {
        /// Its name.
        pub name: String,
    }

    /// How an object is patched.
    pub struct Patch {
        /// What happens.
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
