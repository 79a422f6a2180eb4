//! The annotations that Istio registers (`istio.io/api`, `annotation`), with the kinds that they are for.

/// One of them.
pub struct Registered {
    /// Its name.
    pub name: &'static str,
    /// Whether it is of the past.
    pub deprecated: bool,
    /// The kinds that it is for; `Any` for all.
    pub kinds: &'static [&'static str],
}

const fn current(name: &'static str, kinds: &'static [&'static str]) -> Registered {
    Registered { name, deprecated: false, kinds }
}

const fn deprecated(name: &'static str, kinds: &'static [&'static str]) -> Registered {
    Registered { name, deprecated: true, kinds }
}

/// In Istio's order.
pub const REGISTERED: &[Registered] = &[
    current("prometheus.istio.io/merge-metrics", &["Pod"]),
    deprecated("alpha.istio.io/kubernetes-serviceaccounts", &["Service"]),
    deprecated("alpha.istio.io/canonical-serviceaccounts", &["Service"]),
    current("networking.istio.io/exportTo", &["Service"]),
    deprecated("sidecar.istio.io/inject", &["Pod"]),
    current("sidecar.istio.io/status", &["Pod"]),
    current("sidecar.istio.io/rewriteAppHTTPProbers", &["Pod"]),
    deprecated("sidecar.istio.io/discoveryAddress", &["Pod"]),
    current("sidecar.istio.io/proxyImage", &["Pod"]),
    current("sidecar.istio.io/proxyImageType", &["Pod"]),
    current("sidecar.istio.io/proxyCPU", &["Pod"]),
    current("sidecar.istio.io/proxyCPULimit", &["Pod"]),
    current("sidecar.istio.io/proxyMemory", &["Pod"]),
    current("sidecar.istio.io/proxyMemoryLimit", &["Pod"]),
    current("sidecar.istio.io/interceptionMode", &["Pod"]),
    current("sidecar.istio.io/bootstrapOverride", &["Pod"]),
    deprecated("sidecar.istio.io/statsInclusionPrefixes", &["Pod"]),
    deprecated("sidecar.istio.io/statsInclusionSuffixes", &["Pod"]),
    deprecated("sidecar.istio.io/statsInclusionRegexps", &["Pod"]),
    current("sidecar.istio.io/statsHistogramBuckets", &["Pod"]),
    current("sidecar.istio.io/statsFlushInterval", &["Pod"]),
    current("sidecar.istio.io/statsEvictionInterval", &["Pod"]),
    current("sidecar.istio.io/statsHistogramBins", &["Pod"]),
    current("sidecar.istio.io/userVolume", &["Pod"]),
    current("sidecar.istio.io/userVolumeMount", &["Pod"]),
    current("status.sidecar.istio.io/port", &["Pod"]),
    current("sidecar.istio.io/logLevel", &["Pod"]),
    current("sidecar.istio.io/componentLogLevel", &["Pod"]),
    current("sidecar.istio.io/agentLogLevel", &["Pod"]),
    current("sidecar.istio.io/nativeSidecar", &["Pod"]),
    current("readiness.status.sidecar.istio.io/initialDelaySeconds", &["Pod"]),
    current("readiness.status.sidecar.istio.io/periodSeconds", &["Pod"]),
    current("readiness.status.sidecar.istio.io/failureThreshold", &["Pod"]),
    current("readiness.status.sidecar.istio.io/applicationPorts", &["Pod"]),
    current("traffic.istio.io/nodeSelector", &["Service"]),
    current("traffic.sidecar.istio.io/includeOutboundIPRanges", &["Pod"]),
    current("traffic.sidecar.istio.io/excludeOutboundIPRanges", &["Pod"]),
    current("traffic.sidecar.istio.io/includeInboundPorts", &["Pod"]),
    current("traffic.sidecar.istio.io/excludeInboundPorts", &["Pod"]),
    current("traffic.sidecar.istio.io/excludeInterfaces", &["Pod"]),
    current("traffic.sidecar.istio.io/includeOutboundPorts", &["Pod"]),
    current("traffic.sidecar.istio.io/excludeOutboundPorts", &["Pod"]),
    deprecated("traffic.sidecar.istio.io/kubevirtInterfaces", &["Pod"]),
    current("kubernetes.io/ingress.class", &["Ingress"]),
    current("galley.istio.io/analyze-suppress", &["Any"]),
    current("proxy.istio.io/config", &["Pod"]),
    current("istio.io/dry-run", &["AuthorizationPolicy"]),
    current("istio.io/rev", &["Pod"]),
    current("proxy.istio.io/overrides", &["Pod"]),
    current("inject.istio.io/templates", &["Pod"]),
    deprecated("sidecar.istio.io/extraStatTags", &["Pod"]),
    current("istio.io/autoRegistrationGroup", &["WorkloadEntry"]),
    current("istio.io/workloadController", &["WorkloadEntry"]),
    current("istio.io/connectedAt", &["WorkloadEntry"]),
    current("istio.io/disconnectedAt", &["WorkloadEntry"]),
    current("topology.istio.io/controlPlaneClusters", &["Namespace"]),
    current("gateway.istio.io/controller-version", &["Any"]),
    current("ambient.istio.io/redirection", &["Pod"]),
    current("ambient.istio.io/waypoint-inbound-binding", &["GatewayClass", "Gateway"]),
    current("gateway.istio.io/service-account", &["Gateway"]),
    current("gateway.istio.io/name-override", &["Gateway"]),
    current("networking.istio.io/service-type", &["Gateway"]),
    current("networking.istio.io/traffic-distribution", &["Namespace", "Service", "ServiceEntry"]),
    current("istio.io/use-waypoint-canary-weight", &["Service", "ServiceEntry", "Namespace"]),
    current("ambient.istio.io/bypass-inbound-capture", &["Pod"]),
    current("istio.io/reroute-virtual-interfaces", &["Pod"]),
    current("ambient.istio.io/dns-capture", &["Pod"]),
    deprecated("sidecar.istio.io/statsCompression", &["Pod"]),
];
