//! What the environment of the process turns on and off, under Istio's names.

/// Who fetches the keys behind a `jwksUri` (`PILOT_JWT_ENABLE_REMOTE_JWKS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JwksFetch {
    /// istiod, for all.
    #[default]
    Istiod,
    /// Envoy from services of the mesh, istiod from elsewhere (`hybrid`, `true`).
    Hybrid,
    /// Envoy, for all (`envoy`).
    Envoy,
}

/// The settings that configuration of traffic depends on, with Istio's defaults (`pilot/pkg/features`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Features {
    /// `PILOT_ENABLE_AMBIENT` and `PILOT_ENABLE_SENDING_HBONE`: endpoints that take HBONE are called through it.
    pub sending_hbone: bool,
    /// `PILOT_HTTP10`: HTTP/1.0 is answered everywhere.
    pub http10: bool,
    /// `PILOT_ENABLE_QUIC_LISTENERS`: HTTPS servers of gateways also speak HTTP/3.
    pub quic_listeners: bool,
    /// `PILOT_ENABLE_HEADLESS_FILTER_CHAIN_LISTENER`: a headless service has one listener with a chain for each endpoint.
    pub headless_filter_chains: bool,
    /// `PILOT_ENABLE_MONGO_FILTER`
    pub mongo_filter: bool,
    /// `PILOT_ENABLE_REDIS_FILTER`
    pub redis_filter: bool,
    /// `PILOT_SCOPE_GATEWAY_TO_NAMESPACE`: a Gateway selects workloads of its own namespace only.
    pub scope_gateway_to_namespace: bool,
    /// `PILOT_SEND_UNHEALTHY_ENDPOINTS`: endpoints that are not ready are sent always.
    pub send_unhealthy_endpoints: bool,
    /// `PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS`: they are sent where nothing would make Envoy use them.
    pub auto_send_unhealthy_endpoints: bool,
    /// `PILOT_ENABLE_PERSISTENT_SESSION_FILTER`: services may keep sessions with an endpoint.
    pub persistent_sessions: bool,
    /// `PILOT_ENABLE_SERVICEENTRY_SELECT_PODS`
    pub service_entries_select_pods: bool,
    /// `PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES`
    pub services_select_workload_entries: bool,
    /// `PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE`: a Sidecar's inbound listeners add to those of services.
    pub merge_inbound_listeners: bool,
    /// `PILOT_SIDECAR_USE_REMOTE_ADDRESS`
    pub sidecar_use_remote_address: bool,
    /// `PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN`: names with a trailing dot are known too.
    pub absolute_names: bool,
    /// `ENABLE_LOCALITY_WEIGHTED_LB_CONFIG`: localities are weighted wherever their load balancing is on.
    pub locality_weighted: bool,
    /// Not `DISABLE_SHADOW_HOST_SUFFIX`: mirrored requests have `-shadow` after their host.
    pub shadow_host_suffix: bool,
    /// `PILOT_SKIP_VALIDATE_TRUST_DOMAIN`: workloads of any trust domain may call.
    pub skip_trust_domain: bool,
    /// `PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS`: CUSTOM policies of one workload may ask several providers.
    pub multiple_custom_providers: bool,
    /// `ISTIOD_ENABLE_VHDS`, ours: proxies that can get virtual hosts one by one, so that a change of one host sends one.
    pub virtual_host_discovery: bool,
    /// `RESOLVE_HOSTNAME_GATEWAYS`: names of gateways between networks are looked up.
    pub resolves_gateway_names: bool,
    /// `ISTIO_DUAL_STACK`: a pod with addresses of both families is one endpoint.
    pub dual_stack: bool,
    /// `PILOT_FILTER_GATEWAY_CLUSTER_CONFIG`: gateways have clusters only of services that their rules name.
    pub filter_gateway_clusters: bool,
    /// `PILOT_JWT_ENABLE_REMOTE_JWKS`
    pub jwks_fetch: JwksFetch,
    /// `ENABLE_100_CONTINUE_HEADERS`: `100 Continue` is the upstream's to say.
    pub proxy_100_continue: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self::read(|_| None)
    }
}

impl Features {
    /// Reads them; `variable` gives the value of an environment variable. What is no boolean counts as not set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let flag = |name: &str, default: bool| match variable(name).as_deref() {
            // Go's `strconv.ParseBool`.
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
            _ => default,
        };
        Self {
            sending_hbone: flag("PILOT_ENABLE_AMBIENT", false) && flag("PILOT_ENABLE_SENDING_HBONE", true),
            http10: flag("PILOT_HTTP10", false),
            quic_listeners: flag("PILOT_ENABLE_QUIC_LISTENERS", false),
            headless_filter_chains: flag("PILOT_ENABLE_HEADLESS_FILTER_CHAIN_LISTENER", false),
            mongo_filter: flag("PILOT_ENABLE_MONGO_FILTER", true),
            redis_filter: flag("PILOT_ENABLE_REDIS_FILTER", false),
            scope_gateway_to_namespace: flag("PILOT_SCOPE_GATEWAY_TO_NAMESPACE", false),
            send_unhealthy_endpoints: flag("PILOT_SEND_UNHEALTHY_ENDPOINTS", false),
            auto_send_unhealthy_endpoints: flag("PILOT_AUTO_SEND_UNHEALTHY_ENDPOINTS", true),
            persistent_sessions: flag("PILOT_ENABLE_PERSISTENT_SESSION_FILTER", false),
            service_entries_select_pods: flag("PILOT_ENABLE_SERVICEENTRY_SELECT_PODS", true),
            services_select_workload_entries: flag("PILOT_ENABLE_K8S_SELECT_WORKLOAD_ENTRIES", true),
            merge_inbound_listeners: flag("PILOT_ALLOW_SIDECAR_SERVICE_INBOUND_LISTENER_MERGE", false),
            sidecar_use_remote_address: flag("PILOT_SIDECAR_USE_REMOTE_ADDRESS", false),
            absolute_names: flag("PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN", true),
            locality_weighted: flag("ENABLE_LOCALITY_WEIGHTED_LB_CONFIG", false),
            shadow_host_suffix: !flag("DISABLE_SHADOW_HOST_SUFFIX", true),
            skip_trust_domain: flag("PILOT_SKIP_VALIDATE_TRUST_DOMAIN", false),
            multiple_custom_providers: flag("PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS", false),
            virtual_host_discovery: flag("ISTIOD_ENABLE_VHDS", false),
            resolves_gateway_names: flag("RESOLVE_HOSTNAME_GATEWAYS", true),
            dual_stack: flag("ISTIO_DUAL_STACK", false),
            filter_gateway_clusters: flag("PILOT_FILTER_GATEWAY_CLUSTER_CONFIG", false),
            jwks_fetch: match variable("PILOT_JWT_ENABLE_REMOTE_JWKS").as_deref() {
                Some("hybrid" | "true") => JwksFetch::Hybrid,
                Some("envoy") => JwksFetch::Envoy,
                _ => JwksFetch::Istiod,
            },
            proxy_100_continue: flag("ENABLE_100_CONTINUE_HEADERS", true),
        }
    }
}
