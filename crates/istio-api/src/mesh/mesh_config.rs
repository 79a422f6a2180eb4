//! MeshConfig (`mesh/v1alpha1/config.proto`) with Istio's defaults (`pkg/config/mesh/mesh.go`).

use super::{ExtensionProvider, ProxyConfig, extension_provider, fields, lay_over};
use crate::{
    duration::Duration,
    message::{configuration, enumeration, message},
    networking::{
        destination_rule::{
            ClientTlsSettings, ConnectionPoolSettings, LocalityLoadBalancerSetting, OutlierDetection, TcpKeepalive,
            ZoneAwareLoadBalancerSetting,
        },
        virtual_service::HttpRetry,
    },
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

configuration! {
    /// Settings of the mesh; unset fields have Istio's defaults.
    pub struct MeshConfig {
        /// Where sidecars take outbound traffic.
        pub proxy_listen_port: i32,
        /// Where sidecars take inbound traffic.
        pub proxy_inbound_listen_port: i32,
        /// Where sidecars are an HTTP proxy; 0 for nowhere.
        pub proxy_http_port: i32,
        /// For connections to services.
        pub connect_timeout: Option<Duration>,
        /// For idle HBONE tunnels.
        pub hbone_idle_timeout: Option<Duration>,
        /// How long Envoy waits for the first bytes when it sniffs; 0s means without end.
        pub protocol_detection_timeout: Option<Duration>,
        /// Keep-alive of connections to services; unset turns it off.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// The class of Ingress that is served.
        pub ingress_class: String,
        /// The Service whose addresses become the status of Ingress.
        pub ingress_service: String,
        /// Which Ingress is served.
        pub ingress_controller_mode: IngressControllerMode,
        /// The value of the label `istio` of the gateway for Ingress.
        pub ingress_selector: String,
        /// Whether traces are made.
        pub enable_tracing: bool,
        /// The file of access logs; empty for none.
        pub access_log_file: String,
        /// Their format; empty means Istio's.
        pub access_log_format: String,
        /// Their encoding.
        pub access_log_encoding: AccessLogEncoding,
        /// Whether access logs go to the service in `defaultConfig`.
        pub enable_envoy_access_log_service: bool,
        /// Whether listeners do not log connections that match no filter chain.
        pub disable_envoy_listener_log: bool,
        /// Settings of proxies.
        pub default_config: ProxyConfig,
        /// What happens to outbound traffic for unknown hosts.
        pub outbound_traffic_policy: OutboundTrafficPolicy,
        /// Where inbound traffic for unknown ports goes.
        pub inbound_traffic_policy: InboundTrafficPolicy,
        /// Where configuration comes from, beside the API server.
        pub config_sources: Vec<ConfigSource>,
        /// Whether sidecars use mutual TLS by themselves.
        pub enable_auto_mtls: Option<bool>,
        /// The trust domain of the mesh.
        pub trust_domain: String,
        /// Trust domains that mean the same.
        pub trust_domain_aliases: Vec<String>,
        /// Further authorities that workloads trust.
        pub ca_certificates: Vec<CertificateData>,
        /// The `exportTo` of services without one.
        pub default_service_export_to: Vec<String>,
        /// The `exportTo` of VirtualServices without one.
        pub default_virtual_service_export_to: Vec<String>,
        /// The `exportTo` of DestinationRules without one.
        pub default_destination_rule_export_to: Vec<String>,
        /// The namespace whose policies are for the whole mesh.
        pub root_namespace: String,
        /// Preference of localities.
        pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        /// Preference of the own zone.
        pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// How often Envoy resolves names.
        pub dns_refresh_rate: Option<Duration>,
        /// Whether HTTP/1.1 is sent as HTTP/2.
        pub h2_upgrade_policy: H2UpgradePolicy,
        /// The pattern of names of inbound clusters in statistics.
        pub inbound_cluster_stat_name: String,
        /// The pattern of names of outbound clusters in statistics.
        pub outbound_cluster_stat_name: String,
        /// Deprecated and without effect.
        pub certificates: Vec<Certificate>,
        /// Which services stay within their cluster.
        pub service_settings: Vec<ServiceSettings>,
        /// Which services of ambient span clusters.
        pub service_scope_configs: Vec<ServiceScopeConfigs>,
        /// Whether the agent merges the metrics of application and proxy.
        pub enable_prometheus_merge: Option<bool>,
        /// Deprecated and without effect.
        pub verify_certificate_at_client: Option<bool>,
        /// An authority outside the control plane.
        pub ca: Option<Ca>,
        /// Backends of authorization, traces, metrics and logs; laid over the built-in ones by name.
        pub extension_providers: Vec<ExtensionProvider>,
        /// Which of them are used unless a Telemetry says so.
        pub default_providers: Option<DefaultProviders>,
        /// Which namespaces belong to the mesh; none mean all.
        pub discovery_selectors: Vec<LabelSelector>,
        /// How paths are made comparable.
        pub path_normalization: Option<ProxyPathNormalization>,
        /// The retries of routes without policy.
        pub default_http_retry_policy: Option<HttpRetry>,
        /// The retries of inbound routes.
        pub default_inbound_http_retry_policy: Option<HttpRetry>,
        /// Mutual TLS between workloads.
        #[serde(rename = "meshMTLS")]
        pub mesh_mtls: Option<TlsConfig>,
        /// All other TLS.
        pub tls_defaults: Option<TlsConfig>,
        /// Under the DestinationRules of all services.
        pub default_traffic_policy: Option<DefaultTrafficPolicy>,
        /// How far ServiceEntries may export.
        pub service_entry_visibility: Option<ServiceEntryVisibility>,
    }
}

impl Default for MeshConfig {
    fn default() -> Self {
        let everyone = || vec!["*".to_string()];
        Self {
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            proxy_http_port: 0,
            connect_timeout: Some(Duration::from_secs(10)),
            hbone_idle_timeout: None,
            protocol_detection_timeout: Some(Duration::from_secs(0)),
            tcp_keepalive: None,
            ingress_class: "istio".into(),
            ingress_service: "istio-ingressgateway".into(),
            ingress_controller_mode: IngressControllerMode::Strict,
            ingress_selector: "ingressgateway".into(),
            enable_tracing: true,
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            enable_envoy_access_log_service: false,
            disable_envoy_listener_log: false,
            default_config: ProxyConfig::default(),
            outbound_traffic_policy: OutboundTrafficPolicy { mode: OutboundTrafficMode::AllowAny, tls: None },
            inbound_traffic_policy: InboundTrafficPolicy::default(),
            config_sources: Vec::new(),
            enable_auto_mtls: Some(true),
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            ca_certificates: Vec::new(),
            default_service_export_to: everyone(),
            default_virtual_service_export_to: everyone(),
            default_destination_rule_export_to: everyone(),
            root_namespace: "istio-system".into(),
            locality_lb_setting: Some(LocalityLoadBalancerSetting { enabled: Some(true), ..Default::default() }),
            zone_aware_lb_setting: None,
            dns_refresh_rate: Some(Duration::from_secs(60)),
            h2_upgrade_policy: H2UpgradePolicy::DoNotUpgrade,
            inbound_cluster_stat_name: String::new(),
            outbound_cluster_stat_name: String::new(),
            certificates: Vec::new(),
            service_settings: Vec::new(),
            service_scope_configs: Vec::new(),
            enable_prometheus_merge: Some(true),
            verify_certificate_at_client: None,
            ca: None,
            extension_providers: extension_provider::built_in(),
            default_providers: None,
            discovery_selectors: Vec::new(),
            path_normalization: None,
            default_http_retry_policy: None,
            default_inbound_http_retry_policy: None,
            mesh_mtls: None,
            tls_defaults: None,
            default_traffic_policy: None,
            service_entry_visibility: None,
        }
    }
}

impl MeshConfig {
    /// The mesh's settings of a ConfigMap, laid over Istio's defaults. Unknown fields are skipped (they can be reported
    /// by [`super::mesh_config_schema`]); errors are wrong types and unknown enum values.
    pub fn from_yaml_value(document: Value) -> Result<Self, serde_json::Error> {
        Self::default().overlaid(document)
    }

    /// These settings with those of `document` laid over them. As in Istio, every given field replaces its predecessor
    /// as a whole, but `defaultConfig` is merged field by field, providers by name, and trust domain aliases add up.
    pub fn overlaid(&self, document: Value) -> Result<Self, serde_json::Error> {
        let mut overlay = fields(document)?;
        let default_config = overlay.remove("defaultConfig").unwrap_or_default();
        let providers: Vec<ExtensionProvider> = take(&mut overlay, "extensionProviders")?;
        let aliases: Vec<String> = take(&mut overlay, "trustDomainAliases")?;

        let mut merged = fields(serde_json::to_value(self)?)?;
        lay_over(&mut merged, overlay);
        let mut merged: Self = serde_json::from_value(Value::Object(merged))?;

        merged.default_config = self.default_config.overlaid(default_config)?;
        for provider in providers {
            match merged.extension_providers.iter_mut().find(|known| known.name == provider.name) {
                Some(known) => *known = provider,
                None => merged.extension_providers.push(provider),
            }
        }
        let aliases: BTreeSet<String> = self.trust_domain_aliases.iter().cloned().chain(aliases).collect();
        merged.trust_domain_aliases = aliases.into_iter().collect();
        Ok(merged)
    }

    /// Whether sidecars use mutual TLS by themselves.
    pub fn auto_mtls(&self) -> bool {
        self.enable_auto_mtls.unwrap_or(true)
    }

    /// The provider of that name.
    pub fn extension_provider(&self, name: &str) -> Option<&ExtensionProvider> {
        self.extension_providers.iter().find(|provider| provider.name == name)
    }
}

/// Takes a list out of the fields; null and missing are the empty list.
fn take<T: serde::de::DeserializeOwned>(fields: &mut serde_json::Map<String, Value>, field: &str) -> Result<Vec<T>, serde_json::Error> {
    Ok(serde_json::from_value::<Option<Vec<T>>>(fields.remove(field).unwrap_or_default())?.unwrap_or_default())
}

message! {
    /// What happens to outbound traffic for unknown hosts.
    pub struct OutboundTrafficPolicy {
        /// Whether it is let through.
        pub mode: OutboundTrafficMode,
        /// TLS for hosts that are resolved on the way.
        pub tls: Option<ClientTlsSettings>,
    }

    /// Where inbound traffic for unknown ports goes.
    pub struct InboundTrafficPolicy {
        /// To which address.
        pub mode: InboundTrafficMode,
    }

    /// Further authorities that workloads trust.
    pub struct CertificateData {
        /// As PEM.
        pub pem: Option<String>,
        /// Where a SPIFFE bundle is fetched.
        pub spiffe_bundle_url: Option<String>,
        /// For Kubernetes signers of these names only.
        pub cert_signers: Vec<String>,
        /// For these trust domains; empty means that of the mesh and its aliases.
        pub trust_domains: Vec<String>,
    }
    oneof certificate_data: CertificateSource { pem => Pem(str), spiffe_bundle_url => SpiffeBundleUrl(str) }

    /// Settings of some services.
    pub struct ServiceSettings {
        /// The settings.
        pub settings: Option<Settings>,
        /// The services, possibly with a wildcard.
        pub hosts: Vec<String>,
    }

    /// Settings of a service.
    pub struct Settings {
        /// Whether clients only use endpoints of their own cluster.
        pub cluster_local: bool,
    }

    /// Which services of ambient span clusters.
    pub struct ServiceScopeConfigs {
        /// Namespaces of the services.
        pub namespace_selector: Option<LabelSelector>,
        /// The services.
        pub services_selector: Option<LabelSelector>,
        /// How far.
        pub scope: Scope,
    }

    /// An authority outside the control plane.
    pub struct Ca {
        /// `host:port`
        pub address: String,
        /// TLS towards it.
        pub tls_settings: Option<ClientTlsSettings>,
        /// For a request; unset means 10s.
        pub request_timeout: Option<Duration>,
        /// Whether the control plane asks it, not the agent.
        pub istiod_side: bool,
    }

    /// Which providers are used unless a Telemetry says so.
    pub struct DefaultProviders {
        /// Of traces.
        pub tracing: Vec<String>,
        /// Of metrics.
        pub metrics: Vec<String>,
        /// Of access logs.
        pub access_logging: Vec<String>,
    }

    /// How paths are made comparable.
    pub struct ProxyPathNormalization {
        /// How far.
        pub normalization: NormalizationType,
    }

    /// Parameters of TLS.
    pub struct TlsConfig {
        /// The lowest version.
        pub min_protocol_version: MeshTlsProtocol,
        /// In Envoy's names; empty means Istio's default.
        pub ecdh_curves: Vec<String>,
        /// In Envoy's names; empty means Istio's default.
        pub cipher_suites: Vec<String>,
    }

    /// Under the DestinationRules of all services.
    pub struct DefaultTrafficPolicy {
        /// Limits and timeouts.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// When an endpoint is set aside.
        pub outlier_detection: Option<OutlierDetection>,
    }

    /// Kubernetes' selector over labels; all conditions must hold.
    pub struct LabelSelector {
        /// All of these labels are required.
        pub match_labels: BTreeMap<String, String>,
        /// Further conditions.
        pub match_expressions: Vec<LabelSelectorRequirement>,
    }

    /// A condition on a label.
    pub struct LabelSelectorRequirement {
        /// The label.
        pub key: String,
        /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
        pub operator: String,
        /// For `In` and `NotIn`.
        pub values: Vec<String>,
    }

    /// How far ServiceEntries may export.
    pub struct ServiceEntryVisibility {
        /// Unless a policy says otherwise.
        pub default_visibility: EntryVisibility,
        /// Whether it also binds sidecars, not only ambient.
        pub apply_to_sidecars: bool,
        /// The first match counts.
        pub policies: Vec<ServiceEntryVisibilityPolicy>,
    }

    /// How far some ServiceEntries may export.
    pub struct ServiceEntryVisibilityPolicy {
        /// How far.
        pub visibility: EntryVisibility,
        /// Which of them.
        pub matching_rules: Vec<MatchRule>,
    }

    /// Which ServiceEntries.
    pub struct MatchRule {
        /// By the labels of their namespace.
        pub namespace_selector: Option<LabelSelector>,
    }

    /// A source of configuration.
    pub struct ConfigSource {
        /// `k8s://`, `xds://` or `fs://` and a path.
        pub address: String,
        /// TLS towards it.
        pub tls_settings: Option<ClientTlsSettings>,
        /// What is asked of it.
        pub subscribed_resources: Vec<SubscribedResource>,
    }

    /// Deprecated and without effect.
    pub struct Certificate {
        /// The Secret.
        pub secret_name: String,
        /// The names in the certificate.
        pub dns_names: Vec<String>,
    }
}

enumeration! {
    /// Which Ingress is served.
    pub enum IngressControllerMode {
        /// As DEFAULT.
        Unspecified = "UNSPECIFIED",
        /// None.
        Off = "OFF",
        /// That of the class, and that without class.
        Default = "DEFAULT",
        /// Only that of the class.
        Strict = "STRICT",
    }

    /// Encodings of access logs.
    pub enum AccessLogEncoding {
        /// Text.
        Text = "TEXT",
        /// JSON.
        Json = "JSON",
    }

    /// Whether outbound traffic for unknown hosts is let through.
    pub enum OutboundTrafficMode {
        /// No.
        RegistryOnly = "REGISTRY_ONLY",
        /// Yes, to the address that the client asked for.
        AllowAny = "ALLOW_ANY",
        /// Yes, to the host that the request names.
        AllowAnyDynamicDns = "ALLOW_ANY_DYNAMIC_DNS",
    }

    /// To which address inbound traffic for unknown ports goes.
    pub enum InboundTrafficMode {
        /// That of the workload.
        Passthrough = "PASSTHROUGH",
        /// 127.0.0.1.
        Localhost = "LOCALHOST",
    }

    /// Whether HTTP/1.1 is sent as HTTP/2 (in the mesh's spelling, without a default).
    pub enum H2UpgradePolicy {
        /// No.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Yes.
        Upgrade = "UPGRADE",
    }

    /// How far a service of ambient reaches.
    pub enum Scope {
        /// Its cluster.
        Local = "LOCAL",
        /// All clusters.
        Global = "GLOBAL",
    }

    /// How paths are made comparable.
    pub enum NormalizationType {
        /// As BASE.
        Default = "DEFAULT",
        /// Not at all.
        None = "NONE",
        /// By RFC 3986.
        Base = "BASE",
        /// Also `//` becomes `/`.
        MergeSlashes = "MERGE_SLASHES",
        /// Also `%2F` becomes `/`.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }

    /// Versions of TLS that the mesh allows as the lowest.
    pub enum MeshTlsProtocol {
        /// The default, 1.2.
        Auto = "TLS_AUTO",
        /// 1.2
        V1_2 = "TLSV1_2",
        /// 1.3
        V1_3 = "TLSV1_3",
    }

    /// How far a ServiceEntry may export.
    pub enum EntryVisibility {
        /// As PUBLIC.
        Unspecified = "VISIBILITY_UNSPECIFIED",
        /// To nobody.
        None = "NONE",
        /// To its namespace.
        Namespace = "NAMESPACE",
        /// To everyone.
        Public = "PUBLIC",
    }

    /// What is asked of a source of configuration.
    pub enum SubscribedResource {
        /// Services.
        ServiceRegistry = "SERVICE_REGISTRY",
    }
}
