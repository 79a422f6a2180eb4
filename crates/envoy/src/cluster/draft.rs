//! A cluster while it is being made: its HTTP options are packed only at the end.

use crate::filter::http::upstream_alpn::UpstreamProtocol;
use crate::filter::network::proxy_headers::http1_options;
use base::Protocol;
use istio_api::Duration;
use xds_api::Wire;
use xds_api::envoy::config::cluster::v3::{Cluster, cluster::ClusterDiscoveryType, cluster::DiscoveryType};
use xds_api::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonHttpProtocolOptions, UpstreamHttpProtocolOptions,
};
use xds_api::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig},
};
use xds_api::google::protobuf::Duration as EnvoyDuration;

/// The key of HTTP options among the protocol options of a cluster.
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The mark with which Istio ends names in statistics, so that they can be taken apart again.
const STAT_NAME_END: char = ';';

/// A cluster and its HTTP options.
pub(super) struct ClusterDraft {
    pub cluster: Cluster,
    pub http: Option<HttpProtocolOptions>,
}

impl ClusterDraft {
    /// A cluster with a name, a type and the given connect timeout.
    pub fn new(name: &str, stat_name: Option<&str>, discovery: DiscoveryType, connect_timeout: Duration) -> Self {
        let cluster = Cluster {
            name: name.to_owned(),
            alt_stat_name: format!("{}{STAT_NAME_END}", stat_name.unwrap_or(name)),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(discovery.into())),
            connect_timeout: Some(envoy_duration(connect_timeout)),
            ..Cluster::default()
        };
        Self { cluster, http: None }
    }

    /// Whether the cluster is of this type.
    pub fn is(&self, discovery: DiscoveryType) -> bool {
        self.cluster.cluster_discovery_type == Some(ClusterDiscoveryType::Type(discovery.into()))
    }

    fn http(&mut self) -> &mut HttpProtocolOptions {
        self.http.get_or_insert_default()
    }

    /// The options of HTTP of any version.
    pub fn common_http(&mut self) -> &mut CommonHttpProtocolOptions {
        self.http().common_http_protocol_options.get_or_insert_default()
    }

    /// The options that derive from the request.
    pub fn upstream_http(&mut self) -> &mut UpstreamHttpProtocolOptions {
        self.http().upstream_http_protocol_options.get_or_insert_default()
    }

    /// What counts as an error for outlier detection.
    pub fn set_error_matcher(&mut self, matcher: xds_api::envoy::config::common::matcher::v3::MatchPredicate) {
        use xds_api::envoy::extensions::upstreams::http::v3::http_protocol_options::OutlierDetection;
        self.http().outlier_detection = Some(OutlierDetection { error_matcher: Some(matcher) });
    }

    /// HTTP/2 always.
    pub fn use_http2(&mut self) {
        self.set_explicit(ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default()));
    }

    fn set_explicit(&mut self, protocol: ProtocolConfig) {
        self.http().upstream_protocol_options =
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(protocol) }));
    }

    /// The protocol of the client.
    pub fn use_client_protocol(&mut self) {
        self.http().upstream_protocol_options = Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(Http2ProtocolOptions::default()),
            ..UseDownstreamHttpConfig::default()
        }));
    }

    /// Names of headers keep their case in HTTP/1; a cluster that always speaks HTTP/2 has no case to keep.
    pub fn preserve_header_case(&mut self, protocol: Protocol) {
        if !protocol.is_http() && !protocol.is_unsupported() {
            return;
        }
        let options = http1_options(true);
        match &mut self.http().upstream_protocol_options {
            Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)) => config.http_protocol_options = Some(options),
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(_)),
            })) => {}
            _ => self.set_explicit(ProtocolConfig::HttpProtocolOptions(options)),
        }
    }

    /// The options of HTTP/2, if the cluster always speaks it.
    pub fn http2(&mut self) -> Option<&mut Http2ProtocolOptions> {
        match self.http.as_mut()?.upstream_protocol_options.as_mut()? {
            UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(options)),
            }) => Some(options),
            _ => None,
        }
    }

    /// What the cluster speaks.
    pub fn protocol(&self) -> UpstreamProtocol {
        match self.http.as_ref().and_then(|http| http.upstream_protocol_options.as_ref()) {
            Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => UpstreamProtocol::Downstream,
            Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(_)),
            })) => UpstreamProtocol::Http2,
            _ => UpstreamProtocol::Http1,
        }
    }

    /// The finished cluster.
    pub fn finish(mut self) -> Cluster {
        let Some(mut http) = self.http else { return self.cluster };
        if http.upstream_protocol_options.is_none() {
            // Envoy requires one of them; HTTP/1.1 is what a cluster without options speaks.
            let http1 = ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default());
            http.upstream_protocol_options =
                Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(http1) }));
        }
        self.cluster.typed_extension_protocol_options.insert(HTTP_PROTOCOL_OPTIONS.to_owned(), http.to_any());
        self.cluster
    }
}

/// A duration of the API in Envoy's form.
pub(super) fn envoy_duration(duration: Duration) -> EnvoyDuration {
    duration.0.into()
}

/// The same, but none for 0, which Envoy refuses in many places.
pub(super) fn positive(duration: Option<Duration>) -> Option<EnvoyDuration> {
    duration.filter(|duration| !duration.is_zero()).map(envoy_duration)
}
