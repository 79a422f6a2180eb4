//! DestinationRule (`networking/v1alpha3/destination_rule.proto`): how connections to a service are made.

use crate::schema::cel;
use crate::{
    duration::Duration,
    message::{enumeration, message},
    selector::{PortSelector, WorkloadSelector},
};
use serde_json::json;
use std::collections::BTreeMap;

message! {
    /// DestinationRule says how connections to a service are made, after routing: load balancing, limits, TLS, when a failing
    /// endpoint is set aside, and which subsets the service has.
    #[schemars(extend("required" = ["host"]))]
    pub struct DestinationRule {
        /// The service, possibly with a wildcard; a short name belongs to the namespace of the object.
        pub host: String,
        /// The policy for all of the service.
        pub traffic_policy: Option<TrafficPolicy>,
        /// Named parts of the service.
        pub subsets: Vec<Subset>,
        /// The namespaces that see the object: `*`, `.` or names; empty means the mesh's default.
        pub export_to: Vec<String>,
        /// The client workloads for which the rule applies; unset means all that see it.
        pub workload_selector: Option<WorkloadSelector>,
    }

    /// How to connect.
    pub struct TrafficPolicy {
        /// How an endpoint is chosen.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits and timeouts.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// When an endpoint is set aside.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the service.
        pub tls: Option<ClientTlsSettings>,
        /// Policies that replace the listed blocks for one port.
        #[schemars(extend("maxItems" = 4096))]
        pub port_level_settings: Vec<PortTrafficPolicy>,
        /// Tunnels TCP through another host.
        pub tunnel: Option<TunnelSettings>,
        /// PROXY protocol towards the service.
        pub proxy_protocol: Option<ProxyProtocol>,
        /// Limits retries in relation to requests.
        pub retry_budget: Option<RetryBudget>,
    }

    /// The policy for one port.
    pub struct PortTrafficPolicy {
        /// The port of the service.
        pub port: Option<PortSelector>,
        /// How an endpoint is chosen.
        pub load_balancer: Option<LoadBalancerSettings>,
        /// Limits and timeouts.
        pub connection_pool: Option<ConnectionPoolSettings>,
        /// When an endpoint is set aside.
        pub outlier_detection: Option<OutlierDetection>,
        /// TLS towards the service.
        pub tls: Option<ClientTlsSettings>,
    }

    /// Tunnels TCP in HTTP requests.
    #[schemars(extend("required" = ["targetHost", "targetPort"]))]
    pub struct TunnelSettings {
        /// `CONNECT` (also if empty) or `POST`.
        pub protocol: String,
        /// The host behind the tunnel.
        pub target_host: String,
        /// The port of the host behind the tunnel.
        pub target_port: u32,
    }

    /// PROXY protocol towards the service.
    pub struct ProxyProtocol {
        /// Which version.
        pub version: ProxyProtocolVersion,
    }

    /// Limits retries in relation to requests.
    pub struct RetryBudget {
        /// Retries at a time, in percents of the active requests; unset means 20.
        #[schemars(extend("minimum" = 0, "maximum" = 100))]
        pub percent: Option<f64>,
        /// Retries at a time that are allowed in any case; 0 means 3.
        pub min_retry_concurrency: u32,
        /// Not supported by Envoy's budget.
        #[schemars(extend("x-kubernetes-validations" = cel(&[])))]
        pub budget_interval: Option<Duration>,
    }

    /// A named part of a service.
    #[schemars(extend("required" = ["name"]))]
    pub struct Subset {
        /// The name by which routes mean the subset.
        pub name: String,
        /// The labels of the endpoints that make up the subset.
        pub labels: BTreeMap<String, String>,
        /// Merged over the rule's policy block by block.
        pub traffic_policy: Option<TrafficPolicy>,
    }

    /// How an endpoint is chosen.
    pub struct LoadBalancerSettings {
        /// An algorithm without settings of its own.
        pub simple: Option<SimpleLb>,
        /// An endpoint by the hash of something in the request, so that a client stays with it.
        pub consistent_hash: Option<ConsistentHashLb>,
        /// By load that the endpoints report; not implemented by Istio.
        pub backend_utilization: Option<BackendUtilizationLb>,
        /// How localities (regions, zones and subzones) are preferred or share the traffic.
        pub locality_lb_setting: Option<LocalityLoadBalancerSetting>,
        /// Preference of the own zone.
        pub zone_aware_lb_setting: Option<ZoneAwareLoadBalancerSetting>,
        /// Deprecated: the duration of `warmup`.
        pub warmup_duration_secs: Option<Duration>,
        /// New endpoints get their full share of the traffic only after some time.
        pub warmup: Option<WarmupConfiguration>,
    }
    oneof lb_policy: LbPolicy {
        simple => Simple(SimpleLb),
        consistent_hash => ConsistentHash(ConsistentHashLb),
        backend_utilization => BackendUtilization(BackendUtilizationLb),
    }

    /// Choice by hash.
    pub struct ConsistentHashLb {
        /// The hash is that of this header.
        pub http_header_name: Option<String>,
        /// The hash is that of a cookie, which is made if it is missing.
        pub http_cookie: Option<HttpCookie>,
        /// The hash is that of the client's address.
        pub use_source_ip: Option<bool>,
        /// The hash is that of this query parameter.
        pub http_query_parameter_name: Option<String>,
        /// Endpoints stand on a ring (also if neither algorithm is given).
        pub ring_hash: Option<RingHash>,
        /// Endpoints stand in a table, by Google's Maglev.
        pub maglev: Option<MagLev>,
        /// Deprecated: use that of `ringHash`.
        pub minimum_ring_size: u64,
    }
    oneof hash_key: HashKey {
        http_header_name => HttpHeaderName(str),
        http_cookie => HttpCookie(HttpCookie),
        use_source_ip => UseSourceIp(bool),
        http_query_parameter_name => HttpQueryParameterName(str),
    }
    oneof hash_algorithm: HashAlgorithm { ring_hash => RingHash(RingHash), maglev => MagLev(MagLev) }

    /// Ring hash.
    pub struct RingHash {
        /// The least number of places on the ring; more spread the load better. 0 means 1024.
        pub minimum_ring_size: u64,
    }

    /// Maglev.
    pub struct MagLev {
        /// The number of places in the table, a prime; 0 means 65537.
        pub table_size: u64,
    }

    /// The cookie that holds the hash.
    #[schemars(extend("required" = ["name"]))]
    pub struct HttpCookie {
        /// The name of the cookie.
        pub name: String,
        /// The path that a new cookie is for.
        pub path: String,
        /// How long a new cookie lives; 0s makes a session cookie, unset makes none.
        #[schemars(extend("x-kubernetes-validations" = cel(&[])))]
        pub ttl: Option<Duration>,
        /// Further attributes of a cookie that is made.
        pub attributes: Vec<HttpCookieAttribute>,
    }

    /// An attribute of a cookie.
    #[schemars(extend("required" = ["name"]))]
    pub struct HttpCookieAttribute {
        /// The name of the attribute, such as SameSite.
        pub name: String,
        /// Its value; empty for a flag.
        pub value: String,
    }

    /// Choice by reported load.
    pub struct BackendUtilizationLb {
        /// How long a new endpoint must report before its weight counts.
        #[schemars(extend("x-kubernetes-validations" = cel(&[])))]
        pub weight_stabilization_period: Option<Duration>,
        /// After how long without report a weight is void.
        #[schemars(extend("x-kubernetes-validations" = cel(&[])))]
        pub weight_expiration_period: Option<Duration>,
        /// How often weights change.
        #[schemars(extend("x-kubernetes-validations" = cel(&[])))]
        pub weight_update_period: Option<Duration>,
        /// How much errors count as load.
        pub error_utilization_penalty_percent: u32,
        /// Which reported metrics are used.
        pub metric_names_for_computing_utilization: Vec<String>,
    }

    /// The slow start of new endpoints.
    #[schemars(extend("required" = ["duration"]))]
    pub struct WarmupConfiguration {
        /// How long it takes until a new endpoint has its full share.
        pub duration: Option<Duration>,
        /// The share in percents with which a new endpoint begins; unset means 10.
        #[schemars(extend("minimum" = 0, "maximum" = 100))]
        pub minimum_percent: Option<f64>,
        /// How the share grows: 1.0 (also if unset) is linear, more is faster at the beginning.
        #[schemars(extend("minimum" = 0))]
        pub aggression: Option<f64>,
    }

    /// Limits and timeouts.
    pub struct ConnectionPoolSettings {
        /// Limits and timeouts of connections.
        pub tcp: Option<TcpSettings>,
        /// Limits and timeouts of requests.
        pub http: Option<HttpSettings>,
    }

    /// Limits and timeouts of connections.
    pub struct TcpSettings {
        /// Connections at a time; 0 means no limit.
        pub max_connections: i32,
        /// How long a connection may take to be made; unset means the mesh's.
        pub connect_timeout: Option<Duration>,
        /// Probes of connections without traffic.
        pub tcp_keepalive: Option<TcpKeepalive>,
        /// How long a connection may live; unset means no limit.
        pub max_connection_duration: Option<Duration>,
        /// How long a connection may be without traffic: of TCP, and of HTTP if that sets none; 0s turns it off.
        #[schemars(extend("x-kubernetes-validations" = cel(&[])))]
        pub idle_timeout: Option<Duration>,
    }

    /// Keep-alive of sockets; what is 0 or unset is the system's.
    pub struct TcpKeepalive {
        /// How many unanswered probes make a connection dead.
        pub probes: u32,
        /// How long a connection is without traffic before the first probe.
        pub time: Option<Duration>,
        /// The time between probes.
        pub interval: Option<Duration>,
    }

    /// Limits and timeouts of requests.
    pub struct HttpSettings {
        /// Requests that wait for a connection; 0 means no limit.
        pub http1_max_pending_requests: i32,
        /// Requests at a time, of HTTP/1.1 too; 0 means no limit.
        pub http2_max_requests: i32,
        /// Requests until a connection is closed; 0 means no limit, 1 turns keep-alive off.
        pub max_requests_per_connection: i32,
        /// Retries at a time; 0 means no limit.
        pub max_retries: i32,
        /// How long a connection may be without requests; unset means an hour.
        pub idle_timeout: Option<Duration>,
        /// Whether HTTP/1.1 is sent as HTTP/2.
        pub h2_upgrade_policy: H2UpgradePolicy,
        /// Whether the protocol of the client is kept.
        pub use_client_protocol: bool,
        /// Streams per connection of HTTP/2; 0 means Envoy's default.
        pub max_concurrent_streams: i32,
        /// Pings on connections of HTTP/2.
        pub http2_keep_alive: Option<ConnectionKeepalive>,
    }

    /// Pings of HTTP/2.
    pub struct ConnectionKeepalive {
        /// The time between pings.
        pub interval: Option<Duration>,
        /// How long an answer may take before the connection is closed.
        pub timeout: Option<Duration>,
    }

    /// When an endpoint is set aside.
    pub struct OutlierDetection {
        /// Deprecated and without effect.
        pub consecutive_errors: i32,
        /// Whether failures to connect are counted apart.
        pub split_external_local_origin_errors: bool,
        /// Failures to connect in a row; 0 turns the check off.
        pub consecutive_local_origin_failures: Option<u32>,
        /// Statuses 502, 503 and 504 in a row; 0 turns the check off.
        pub consecutive_gateway_errors: Option<u32>,
        /// Statuses 5xx in a row; 0 turns the check off.
        #[serde(rename = "consecutive5xxErrors")]
        pub consecutive_5xx_errors: Option<u32>,
        /// The time between two looks at the endpoints; unset means 10s.
        pub interval: Option<Duration>,
        /// How long an endpoint is set aside, times the number of times that it was; unset means 30s.
        pub base_ejection_time: Option<Duration>,
        /// The share of endpoints that may be set aside at a time; 0 means 10.
        pub max_ejection_percent: i32,
        /// Below this share of healthy endpoints, none is set aside and all are used.
        pub min_health_percent: i32,
        /// The statuses that count as errors; empty means 5xx.
        #[schemars(extend("x-each" = json!({ "minimum": 100, "maximum": 599 })))]
        pub outlier_detection_http_error_codes: Vec<u32>,
    }

    /// TLS of a client.
    pub struct ClientTlsSettings {
        /// Whether and how TLS is used.
        pub mode: ClientTlsMode,
        /// The file of the client's certificate.
        pub client_certificate: String,
        /// The file of its key.
        pub private_key: String,
        /// The file of the authorities that may have signed the server's certificate; empty means the system's.
        pub ca_certificates: String,
        /// The Secret with the files' contents in place of the files.
        pub credential_name: String,
        /// Which subject names the server's certificate may have; empty means any.
        pub subject_alt_names: Vec<String>,
        /// The server name to send.
        pub sni: String,
        /// Skips the check of the server's certificate.
        pub insecure_skip_verify: Option<bool>,
        /// The file of revoked certificates.
        pub ca_crl: String,
    }

    /// Preference of localities.
    pub struct LocalityLoadBalancerSetting {
        /// Shares of traffic by locality.
        pub distribute: Vec<Distribute>,
        /// Which region serves another one that fails.
        pub failover: Vec<Failover>,
        /// Labels in order of their weight: an endpoint that shares more of the first labels is preferred.
        pub failover_priority: Vec<String>,
        /// Overrides whether the mesh's setting is on.
        pub enabled: Option<bool>,
    }

    /// Shares of the traffic of one locality.
    pub struct Distribute {
        /// `region/zone/subzone`, possibly with `*` at the end.
        pub from: String,
        /// Percents by locality; they sum up to 100.
        pub to: BTreeMap<String, u32>,
    }

    /// Where the traffic of a region goes if the region fails.
    pub struct Failover {
        /// The region that fails.
        pub from: String,
        /// The region that serves instead.
        pub to: String,
    }

    /// Preference of the own zone as far as its share of endpoints allows.
    pub struct ZoneAwareLoadBalancerSetting {
        /// Overrides whether the mesh's setting is on.
        pub enabled: Option<bool>,
        /// Which region serves another one that fails.
        pub failover: Vec<Failover>,
        /// Labels in order of their weight: an endpoint that shares more of the first labels is preferred.
        pub failover_priority: Vec<String>,
        /// With fewer endpoints, zones do not matter.
        #[schemars(extend("minimum" = 1))]
        pub min_cluster_size: Option<u32>,
    }
}

enumeration! {
    /// Versions of the PROXY protocol.
    pub enum ProxyProtocolVersion {
        /// Text.
        V1 = "V1",
        /// Binary.
        V2 = "V2",
    }

    /// Plain algorithms of load balancing.
    pub enum SimpleLb {
        /// The default, LEAST_REQUEST.
        Unspecified = "UNSPECIFIED",
        /// Deprecated: LEAST_REQUEST.
        LeastConn = "LEAST_CONN",
        /// Any endpoint.
        Random = "RANDOM",
        /// The address that the client asked for.
        Passthrough = "PASSTHROUGH",
        /// In turn.
        RoundRobin = "ROUND_ROBIN",
        /// The better of two random ones.
        LeastRequest = "LEAST_REQUEST",
    }

    /// Whether HTTP/1.1 is sent as HTTP/2.
    pub enum H2UpgradePolicy {
        /// As the mesh says.
        Default = "DEFAULT",
        /// No.
        DoNotUpgrade = "DO_NOT_UPGRADE",
        /// Yes.
        Upgrade = "UPGRADE",
    }

    /// Kinds of TLS of a client.
    pub enum ClientTlsMode {
        /// Plain text.
        Disable = "DISABLE",
        /// Only the server has a certificate.
        Simple = "SIMPLE",
        /// The client has the given certificate.
        Mutual = "MUTUAL",
        /// The client has the mesh's certificate.
        IstioMutual = "ISTIO_MUTUAL",
    }
}
