//! VirtualService (`networking/v1alpha3/virtual_service.proto`): how requests for a host are routed.

use crate::{
    duration::Duration,
    message::{enumeration, message},
    scalar::Bytes,
    selector::PortSelector,
};
use std::collections::BTreeMap;

message! {
    /// VirtualService routes the requests and connections for a host: by path, header, port, server name or client to
    /// weighted destinations, a redirect or a fixed answer, with timeouts, retries, faults and mirrors.
    pub struct VirtualService {
        /// The hosts the rules are for; short names belong to the namespace of the object.
        pub hosts: Vec<String>,
        /// `namespace/name` of Gateways, or `mesh` for all sidecars; empty means `mesh`.
        pub gateways: Vec<String>,
        /// Rules for HTTP, the first match wins.
        pub http: Vec<HttpRoute>,
        /// Rules for TLS that is not terminated, by SNI.
        pub tls: Vec<TlsRoute>,
        /// Rules for opaque TCP.
        pub tcp: Vec<TcpRoute>,
        /// The namespaces that see the object: `*`, `.`, `~` or names; empty means the mesh's default.
        pub export_to: Vec<String>,
    }

    /// Where traffic goes: a service of the registry.
    #[schemars(extend("required" = ["host"]))]
    pub struct Destination {
        /// The service; a short name belongs to the namespace of the object.
        pub host: String,
        /// A subset of the service's DestinationRule.
        pub subset: String,
        /// The port of the service; may be left out if it has only one.
        pub port: Option<PortSelector>,
    }

    /// A rule for HTTP requests.
    pub struct HttpRoute {
        /// The route's name in access logs and for EnvoyFilter matches.
        pub name: String,
        /// Any of these must match; none match everything.
        #[serde(rename = "match")]
        pub matches: Vec<HttpMatchRequest>,
        /// The weighted destinations.
        pub route: Vec<HttpRouteDestination>,
        /// Answer with a redirect instead of forwarding.
        pub redirect: Option<HttpRedirect>,
        /// Answer with a fixed response instead of forwarding.
        pub direct_response: Option<HttpDirectResponse>,
        /// The VirtualService that holds the rules for this match.
        pub delegate: Option<Delegate>,
        /// Changes of path and authority.
        pub rewrite: Option<HttpRewrite>,
        /// How long the whole request may take; unset means no limit.
        pub timeout: Option<Duration>,
        /// How failed requests are tried again; unset means the mesh's default.
        pub retries: Option<HttpRetry>,
        /// Faults to inject.
        pub fault: Option<HttpFaultInjection>,
        /// A copy of the traffic goes here.
        pub mirror: Option<Destination>,
        /// Copies of the traffic go to these.
        pub mirrors: Vec<HttpMirrorPolicy>,
        /// Deprecated: whole percents of `mirror`.
        #[serde(alias = "mirror_percent")]
        #[schemars(extend("x-alias" = "mirror_percent"))]
        pub mirror_percent: Option<u32>,
        /// The share of requests that `mirror` gets; unset means all.
        pub mirror_percentage: Option<Percent>,
        /// Cross-origin resource sharing.
        pub cors_policy: Option<CorsPolicy>,
        /// Changes of headers.
        pub headers: Option<Headers>,
    }

    /// The VirtualService to which a rule delegates.
    pub struct Delegate {
        /// The name of the other VirtualService.
        pub name: String,
        /// The namespace of the other VirtualService; empty means that of this one.
        pub namespace: String,
    }

    /// Changes of headers in both directions.
    pub struct Headers {
        /// Changes before the request goes to the destination.
        pub request: Option<HeaderOperations>,
        /// Changes before the response goes to the caller.
        pub response: Option<HeaderOperations>,
    }

    /// Changes of headers in one direction.
    pub struct HeaderOperations {
        /// Headers that are overwritten.
        pub set: BTreeMap<String, String>,
        /// Headers that a value is appended to.
        pub add: BTreeMap<String, String>,
        /// Headers that are removed.
        pub remove: Vec<String>,
    }

    /// A rule for TLS connections that are passed through.
    #[schemars(extend("required" = ["match"]))]
    pub struct TlsRoute {
        /// Any of these must match.
        #[serde(rename = "match")]
        pub matches: Vec<TlsMatchAttributes>,
        /// The destinations and their weights.
        pub route: Vec<RouteDestination>,
    }

    /// A rule for TCP connections.
    pub struct TcpRoute {
        /// Any of these must match; none match everything.
        #[serde(rename = "match")]
        pub matches: Vec<L4MatchAttributes>,
        /// The destinations and their weights.
        pub route: Vec<RouteDestination>,
    }

    /// A condition on HTTP requests; all given fields must match.
    pub struct HttpMatchRequest {
        /// A name for the condition, which is joined to the route's name.
        pub name: String,
        /// The path must match.
        pub uri: Option<StringMatch>,
        /// The scheme must match.
        pub scheme: Option<StringMatch>,
        /// The method must match.
        pub method: Option<StringMatch>,
        /// The authority (the Host header) must match.
        pub authority: Option<StringMatch>,
        /// Headers by lower-case name; an empty match asks only for presence.
        pub headers: BTreeMap<String, StringMatch>,
        /// The port that was called.
        pub port: u32,
        /// Labels of the client workload.
        pub source_labels: BTreeMap<String, String>,
        /// Overrides the VirtualService's gateways.
        pub gateways: Vec<String>,
        /// These query parameters must match.
        pub query_params: BTreeMap<String, StringMatch>,
        /// Whether upper and lower case are the same in exact and prefix matches of `uri`.
        pub ignore_uri_case: bool,
        /// Headers that must not match.
        pub without_headers: BTreeMap<String, StringMatch>,
        /// The namespace of the client workload.
        pub source_namespace: String,
        /// Turns on statistics per route under this prefix.
        pub stat_prefix: String,
    }

    /// A weighted destination of HTTP.
    #[schemars(extend("required" = ["destination"]))]
    pub struct HttpRouteDestination {
        /// Where requests go.
        pub destination: Option<Destination>,
        /// The share is weight by the sum of weights; 0 everywhere means equal shares of one destination.
        pub weight: i32,
        /// Changes of headers for this destination only.
        pub headers: Option<Headers>,
    }

    /// A weighted destination of TCP and TLS.
    #[schemars(extend("required" = ["destination"]))]
    pub struct RouteDestination {
        /// Where connections go.
        pub destination: Option<Destination>,
        /// The share is weight by the sum of weights.
        pub weight: i32,
    }

    /// A condition on TCP connections.
    pub struct L4MatchAttributes {
        /// IP addresses or ranges of the destination.
        pub destination_subnets: Vec<String>,
        /// The port that was called.
        pub port: u32,
        /// Not used by Istio.
        pub source_subnet: String,
        /// Labels of the client workload.
        pub source_labels: BTreeMap<String, String>,
        /// Overrides the VirtualService's gateways.
        pub gateways: Vec<String>,
        /// The namespace of the client workload.
        pub source_namespace: String,
    }

    /// A condition on TLS connections.
    #[schemars(extend("required" = ["sniHosts"]))]
    pub struct TlsMatchAttributes {
        /// Server names, possibly with a wildcard; must lie within the VirtualService's hosts.
        pub sni_hosts: Vec<String>,
        /// IP addresses or ranges of the destination.
        pub destination_subnets: Vec<String>,
        /// The port that was called.
        pub port: u32,
        /// Labels of the client workload.
        pub source_labels: BTreeMap<String, String>,
        /// Overrides the VirtualService's gateways.
        pub gateways: Vec<String>,
        /// The namespace of the client workload.
        pub source_namespace: String,
    }

    /// A redirect as the answer.
    pub struct HttpRedirect {
        /// Replaces the whole path.
        pub uri: String,
        /// Replaces the authority.
        pub authority: String,
        /// Replaces the port.
        pub port: Option<u32>,
        /// How the port is derived instead.
        pub derive_port: Option<RedirectPortSelection>,
        /// Replaces the scheme.
        pub scheme: String,
        /// 301 (also if 0), 302, 303, 307 or 308.
        pub redirect_code: u32,
        /// Replaces the matched prefix.
        pub prefix_rewrite: String,
    }
    oneof redirect_port: RedirectPort { port => Number(u32), derive_port => Derived(RedirectPortSelection) }

    /// A fixed answer.
    #[schemars(extend("required" = ["status"]))]
    pub struct HttpDirectResponse {
        /// The status code.
        pub status: u32,
        /// The body; empty if unset.
        pub body: Option<HttpBody>,
    }

    /// The body of a fixed answer.
    pub struct HttpBody {
        /// The body as text.
        pub string: Option<String>,
        /// The body as binary data, in base64.
        pub bytes: Option<Bytes>,
    }
    oneof content: HttpBodyContent { string => String(str), bytes => Bytes(Bytes) }

    /// Changes of path and authority before forwarding.
    pub struct HttpRewrite {
        /// Replaces the matched prefix, or the whole path if the match was not a prefix.
        pub uri: String,
        /// Replaces the authority.
        pub authority: String,
        /// Replaces what an expression matches in the path.
        pub uri_regex_rewrite: Option<RegexRewrite>,
    }

    /// A replacement by expression.
    pub struct RegexRewrite {
        /// The RE2 expression that is looked for in the path.
        #[serde(rename = "match")]
        pub matches: String,
        /// The replacement, with `\1` for groups.
        pub rewrite: String,
    }

    /// A condition on a text.
    pub struct StringMatch {
        /// The text must be this.
        pub exact: Option<String>,
        /// The text must begin so.
        pub prefix: Option<String>,
        /// The whole text must match this RE2 expression.
        pub regex: Option<String>,
    }
    oneof matcher: StringMatcher { exact => Exact(str), prefix => Prefix(str), regex => Regex(str) }

    /// A retry policy.
    pub struct HttpRetry {
        /// How often to retry; 0 turns retries off.
        pub attempts: i32,
        /// How long each attempt may take, the first included; unset means the timeout of the route.
        pub per_try_timeout: Option<Duration>,
        /// Which failures are tried again: Envoy's conditions and status codes, separated by commas.
        pub retry_on: String,
        /// Whether to retry in other localities.
        pub retry_remote_localities: Option<bool>,
        /// Whether to avoid the hosts that were tried; unset means yes.
        pub retry_ignore_previous_hosts: Option<bool>,
        /// The shortest time between attempts, which grows with each.
        pub backoff: Option<Duration>,
    }

    /// Cross-origin resource sharing.
    pub struct CorsPolicy {
        /// Deprecated: exact origins.
        pub allow_origin: Vec<String>,
        /// Which origins are allowed.
        pub allow_origins: Vec<StringMatch>,
        /// The methods that other origins may use (`Access-Control-Allow-Methods`).
        pub allow_methods: Vec<String>,
        /// The headers that other origins may send (`Access-Control-Allow-Headers`).
        pub allow_headers: Vec<String>,
        /// The headers that other origins may read (`Access-Control-Expose-Headers`).
        pub expose_headers: Vec<String>,
        /// How long the answer to a preflight request may be kept (`Access-Control-Max-Age`).
        pub max_age: Option<Duration>,
        /// Whether other origins may send cookies (`Access-Control-Allow-Credentials`).
        pub allow_credentials: Option<bool>,
        /// What happens to preflight requests of other origins.
        pub unmatched_preflights: UnmatchedPreflights,
    }

    /// Faults to inject.
    pub struct HttpFaultInjection {
        /// Delays before forwarding.
        pub delay: Option<Delay>,
        /// Errors in place of an answer of the destination.
        pub abort: Option<Abort>,
    }

    /// A delay for a share of the requests.
    pub struct Delay {
        /// Deprecated: whole percents of the requests.
        pub percent: i32,
        /// How long requests are delayed.
        pub fixed_delay: Option<Duration>,
        /// Not supported by Istio.
        pub exponential_delay: Option<Duration>,
        /// The share of requests; unset means none of them.
        pub percentage: Option<Percent>,
    }
    oneof delay_type: DelayType { fixed_delay => Fixed(Duration), exponential_delay => Exponential(Duration) }

    /// An error for a share of the requests.
    pub struct Abort {
        /// The status code of HTTP that is answered.
        pub http_status: Option<i32>,
        /// The status of gRPC that is answered, by name.
        pub grpc_status: Option<String>,
        /// Not supported by Istio.
        pub http2_error: Option<String>,
        /// The share of requests that are answered so.
        pub percentage: Option<Percent>,
    }
    oneof error_type: AbortError { http_status => HttpStatus(i32), grpc_status => GrpcStatus(str), http2_error => Http2Error(str) }

    /// A destination of copies.
    #[schemars(extend("required" = ["destination"]))]
    pub struct HttpMirrorPolicy {
        /// Where copies go.
        pub destination: Option<Destination>,
        /// The share of requests that are copied; unset means all.
        pub percentage: Option<Percent>,
    }

    /// A share in percents.
    pub struct Percent {
        /// Percents from 0.0 to 100.0.
        pub value: f64,
    }
}

enumeration! {
    /// How a redirect's port follows from the request.
    pub enum RedirectPortSelection {
        /// 80 for http, 443 for https.
        FromProtocolDefault = "FROM_PROTOCOL_DEFAULT",
        /// The port of the request.
        FromRequestPort = "FROM_REQUEST_PORT",
    }

    /// What happens to preflight requests whose origin matches none.
    pub enum UnmatchedPreflights {
        /// As FORWARD.
        Unspecified = "UNSPECIFIED",
        /// They reach the destination.
        Forward = "FORWARD",
        /// They are answered without CORS headers.
        Ignore = "IGNORE",
    }
}
