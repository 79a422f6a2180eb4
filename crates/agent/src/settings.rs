//! What the agent is told: parsed once, from Istio's environment variables, `PROXY_CONFIG` and the downward API.

use crate::certificate::KeyAlgorithm;
use crate::environment::{Environment, PrometheusAnnotations, downward, duration_field};
use base::SpiffeIdentity;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why the agent cannot start; nothing but another environment helps.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable has a value that cannot be used.
    #[error("{name}={value:?}: {expected}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// `PROXY_CONFIG` is not a `ProxyConfig`.
    #[error("PROXY_CONFIG: {0}")]
    ProxyConfig(String),
}

/// Of which kind the Envoy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum NodeKind {
    /// Beside an application.
    Sidecar,
    /// A gateway.
    Router,
}

impl NodeKind {
    /// As it stands in a node id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
        }
    }
}

/// The fields of MeshConfig's `ProxyConfig` that an agent reads.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// Where istiod is.
    pub discovery_address: Option<String>,
    /// Where Envoy's files are.
    pub config_path: Option<PathBuf>,
    /// Envoy itself.
    pub binary_path: Option<PathBuf>,
    /// `cluster` of the node.
    pub service_cluster: Option<String>,
    /// Port of Envoy's admin pages.
    pub proxy_admin_port: Option<u16>,
    /// Port of the agent's own pages.
    pub status_port: Option<u16>,
    /// Worker threads; 0 is one for each CPU.
    pub concurrency: Option<u32>,
    /// `NONE`: plain text to istiod.
    pub control_plane_auth_policy: Option<String>,
    /// How long draining connections are let alone.
    pub drain_duration: Option<String>,
    /// How long Envoy goes on after the pod was asked to end.
    pub termination_drain_duration: Option<String>,
    /// Further variables, as if they stood in the environment.
    pub proxy_metadata: BTreeMap<String, String>,
    /// The mesh.
    pub mesh_id: Option<String>,
}

/// Everything, by value.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sidecar or gateway.
    pub kind: NodeKind,
    /// The pod.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// Its addresses, the first being the one in the node id.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whose certificate it asks for.
    pub identity: SpiffeIdentity,
    /// `<namespace>.svc.<cluster domain>`.
    pub dns_domain: String,
    /// The cluster.
    pub cluster_id: String,
    /// Node metadata from `ISTIO_META_*`, as text or, where it is JSON, as what it says.
    pub metadata: Map<String, Value>,
    /// The proxy's settings.
    pub proxy: ProxyConfig,
    /// Where istiod is, for configuration.
    pub discovery_address: String,
    /// Where istiod is, for certificates.
    pub ca_address: String,
    /// Whether istiod is spoken to in plain text.
    pub plaintext: bool,
    /// The service-account token.
    pub token: Option<PathBuf>,
    /// The roots that istiod is trusted by.
    pub roots: PathBuf,
    /// The socket for secrets.
    pub sds_socket: PathBuf,
    /// The socket for configuration.
    pub xds_socket: PathBuf,
    /// Where the bootstrap is written.
    pub bootstrap: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
    /// Port of Envoy's admin pages, 15000.
    pub admin_port: u16,
    /// Port of the agent's pages, 15020.
    pub status_port: u16,
    /// Port at which Envoy answers readiness for the kubelet, 15021.
    pub ready_port: u16,
    /// Port at which Envoy's own metrics are, 15090.
    pub prometheus_port: u16,
    /// The lifetime of certificates.
    pub lifetime: Duration,
    /// See [`crate::Renewal::grace`].
    pub grace: f64,
    /// See [`crate::Renewal::jitter`].
    pub jitter: f64,
    /// The kind of key.
    pub algorithm: KeyAlgorithm,
    /// How long Envoy goes on after the pod was asked to end, 5 s.
    pub termination_drain: Duration,
    /// How long connections drain, 45 s.
    pub drain: Duration,
    /// End as soon as no connection is left (`EXIT_ON_ZERO_ACTIVE_CONNECTIONS`).
    pub exit_on_zero_connections: bool,
    /// Where the application has metrics of its own (`ISTIO_PROMETHEUS_ANNOTATIONS`): port and path.
    pub application_metrics: Option<(u16, String)>,
    /// Level of Envoy's log.
    pub log_level: String,
    /// Levels of Envoy's components.
    pub component_log_level: String,
}

/// The environment and the files of the downward API, which a test can make up.
pub struct Surroundings {
    /// Environment variables.
    pub environment: BTreeMap<String, String>,
    /// `key="value"` lines of the pod's labels.
    pub labels: String,
    /// The same of its annotations.
    pub annotations: String,
    /// The host's own address, for where `INSTANCE_IP` is not set.
    pub address: Option<IpAddr>,
}

impl Settings {
    /// Reads them.
    pub fn new(kind: NodeKind, domain: &str, surroundings: &Surroundings) -> Result<Self, SettingsError> {
        let text = surroundings.environment.get("PROXY_CONFIG").map(String::as_str).unwrap_or_default();
        let proxy: ProxyConfig = if text.trim().is_empty() {
            ProxyConfig::default()
        } else {
            serde_saphyr::from_str(text).map_err(|error| SettingsError::ProxyConfig(error.to_string()))?
        };
        let environment = Environment { variables: &surroundings.environment, further: &proxy.proxy_metadata };
        let namespace = environment.text("POD_NAMESPACE").unwrap_or("default").to_owned();
        let trust_domain = environment.text("TRUST_DOMAIN").unwrap_or("cluster.local");
        let service_account = environment.text("SERVICE_ACCOUNT").unwrap_or("default");
        let plaintext = proxy.control_plane_auth_policy.as_deref() == Some("NONE");
        let default_address = if plaintext { "istiod.istio-system.svc:15010" } else { "istiod.istio-system.svc:15012" };
        let discovery_address = proxy.discovery_address.clone().unwrap_or_else(|| default_address.to_owned());
        let config_path = proxy.config_path.clone().unwrap_or_else(|| "./etc/istio/proxy".into());
        let dns_domain = if domain.is_empty() { format!("{namespace}.svc.cluster.local") } else { domain.to_owned() };
        Ok(Self {
            kind,
            pod: environment.text("POD_NAME").or(environment.text("HOSTNAME")).unwrap_or("unknown").to_owned(),
            addresses: environment.addresses(surroundings.address)?,
            labels: downward(&surroundings.labels),
            annotations: downward(&surroundings.annotations),
            identity: SpiffeIdentity {
                trust_domain: trust_domain.to_owned(),
                namespace: namespace.clone(),
                service_account: service_account.to_owned(),
            },
            dns_domain,
            cluster_id: environment.text("ISTIO_META_CLUSTER_ID").unwrap_or("Kubernetes").to_owned(),
            metadata: environment.metadata(),
            ca_address: environment.text("CA_ADDR").unwrap_or(&discovery_address).to_owned(),
            discovery_address,
            plaintext,
            token: environment.token(plaintext),
            roots: environment.text("XDS_ROOT_CA").unwrap_or("./var/run/secrets/istio/root-cert.pem").into(),
            sds_socket: environment.text("WORKLOAD_IDENTITY_SOCKET").unwrap_or("./var/run/secrets/workload-spiffe-uds/socket").into(),
            xds_socket: config_path.join("XDS"),
            bootstrap: config_path.join("envoy-rev.json"),
            envoy: proxy.binary_path.clone().unwrap_or_else(|| "/usr/local/bin/envoy".into()),
            admin_port: proxy.proxy_admin_port.unwrap_or(15000),
            status_port: proxy.status_port.filter(|port| *port != 0).unwrap_or(15020),
            ready_port: environment.number("ENVOY_STATUS_PORT", 15021)?,
            prometheus_port: environment.number("ENVOY_PROMETHEUS_PORT", 15090)?,
            lifetime: environment.duration("SECRET_TTL", Duration::from_secs(24 * 3600))?,
            grace: environment.ratio("SECRET_GRACE_PERIOD_RATIO", 0.5)?,
            jitter: environment.ratio("SECRET_GRACE_PERIOD_RATIO_JITTER", 0.01)?,
            algorithm: environment.algorithm()?,
            termination_drain: duration_field(proxy.termination_drain_duration.as_deref(), "terminationDrainDuration", 5)?,
            drain: duration_field(proxy.drain_duration.as_deref(), "drainDuration", 45)?,
            exit_on_zero_connections: environment.text("EXIT_ON_ZERO_ACTIVE_CONNECTIONS") == Some("true"),
            application_metrics: environment.text("ISTIO_PROMETHEUS_ANNOTATIONS").and_then(PrometheusAnnotations::parse),
            log_level: "warning".to_owned(),
            component_log_level: "misc:error".to_owned(),
            namespace,
            proxy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(pairs: &[(&str, &str)]) -> Surroundings {
        Surroundings {
            environment: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            labels: "app=\"cart\"\nnote=\"a \\\"b\\\"\"\n".into(),
            annotations: String::new(),
            address: None,
        }
    }

    #[test]
    fn istios_variables() {
        let given = surroundings(&[
            ("PROXY_CONFIG", "{\"discoveryAddress\":\"istiod.mesh.svc:15012\",\"proxyMetadata\":{\"ISTIO_META_HTTP10\":\"1\"}}"),
            ("POD_NAME", "cart-1"),
            ("POD_NAMESPACE", "shop"),
            ("SERVICE_ACCOUNT", "cart"),
            ("INSTANCE_IP", "10.0.0.7"),
            ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
            ("ISTIO_META_POD_PORTS", "[{\"containerPort\":80}]"),
            ("SECRET_TTL", "1h30m"),
        ]);
        let settings = Settings::new(NodeKind::Sidecar, "", &given).unwrap();
        assert_eq!(settings.identity.to_string(), "spiffe://cluster.local/ns/shop/sa/cart");
        assert_eq!(settings.ca_address, "istiod.mesh.svc:15012");
        assert_eq!(settings.lifetime, Duration::from_secs(5400));
        assert_eq!(settings.labels.get("note").map(String::as_str), Some("a \"b\""));
        assert_eq!(settings.metadata.get("HTTP10"), Some(&Value::String("1".into())));
        assert!(settings.metadata.get("POD_PORTS").is_some_and(Value::is_array));
        assert_eq!(settings.dns_domain, "shop.svc.cluster.local");
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        let error = Settings::new(NodeKind::Sidecar, "", &surroundings(&[("SECRET_TTL", "soon")])).unwrap_err();
        assert_eq!(error.to_string(), "SECRET_TTL=\"soon\": a duration such as 24h");
    }
}
