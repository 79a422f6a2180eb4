//! What all listeners of a class and direction have in common.

use super::View;
use envoy::access_log::{self, FileAccessLogInputs, MetricsProtocol, Reporter, StandardMetricsInputs, WorkloadLabels};
use envoy::filter::http::{peer_metadata::peer_metadata, stateful_session::stateful_session, upstream_alpn::upstream_alpn};
use envoy::filter::network::{connection_settings, http_connection_manager::HttpOptions, tcp_proxy::TcpOptions, tracing::TracingInputs};
use envoy::filter::order::HttpFilterPosition;
use envoy::listener::ProxyOptions;
use envoy::tls::{self, CredentialSource};
use model::{CertificateFiles, Certificates, IpFamilies, ProxyKind};
use std::net::IpAddr;
use xds_api::envoy::config::accesslog::v3::AccessLog;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The settings of listeners that report metrics as `reporter`.
pub fn of(view: &View<'_>, reporter: Reporter) -> ProxyOptions {
    let mesh = &view.snapshot.mesh;
    let file = file_log(view);
    let logs = |protocol| {
        let mut logs = access_log::standard_metrics(&StandardMetricsInputs { reporter, protocol, own: own(view) });
        logs.extend(file.clone());
        logs
    };
    let idle_timeout = view.class.idle_timeout.parse::<istio_api::Duration>().ok().map(|timeout| timeout.0);
    let features = &view.snapshot.features;
    let config = view.proxy_config();
    let topology = config.gateway_topology.as_ref();
    let settings = config.connection_settings.as_ref().map(connection_settings::resolved);
    let inbound = reporter == Reporter::Destination || view.class.kind == ProxyKind::Router;
    ProxyOptions {
        http: HttpOptions {
            access_logs: logs(MetricsProtocol::Http),
            tracing: mesh.enable_tracing.then(TracingInputs::default),
            http10: view.class.http10,
            sniff_http10: features.http10,
            headers: config.proxy_headers.clone(),
            sidecar_use_remote_address: features.sidecar_use_remote_address,
            answers_100_continue: !features.proxy_100_continue,
            idle_timeout,
            filters: filters(view, reporter),
            path_normalization: mesh.path_normalization.as_ref().map(|path| path.normalization).unwrap_or_default(),
            trusted_proxies: topology.map_or(0, |topology| topology.num_trusted_proxies),
            forward_client_certificate: topology.map(|topology| topology.forward_client_cert_details).unwrap_or_default(),
            connection_settings: settings.clone(),
        },
        tcp: TcpOptions {
            access_logs: logs(MetricsProtocol::Tcp),
            idle_timeout,
            plain_mongo: !features.mongo_filter,
            redis: features.redis_filter,
            ..TcpOptions::default()
        },
        listener_access_logs: file
            .into_iter()
            .filter(|_| !mesh.disable_envoy_listener_log)
            .map(access_log::for_unmatched_connections)
            .collect(),
        protocol_detection_timeout: mesh.protocol_detection_timeout.map(|timeout| timeout.0).unwrap_or_default(),
        exact_balance: if inbound { view.class.exact_balance.0 } else { view.class.exact_balance.1 },
        buffer_limit: settings
            .as_ref()
            .filter(|_| inbound)
            .and_then(|s| connection_settings::limit(s.listener_per_connection_buffer_limit_bytes)),
    }
}

/// The filters of every HTTP chain beside those that all proxies have.
fn filters(view: &View<'_>, reporter: Reporter) -> Vec<(HttpFilterPosition, HttpFilter)> {
    let peer = peer_metadata(reporter, &own(view)).into_iter().map(|filter| (HttpFilterPosition::PeerMetadata, filter));
    let certified = view.class.certificates == Certificates::Sds || view.class.client_files.is_some();
    let to_sidecars = reporter == Reporter::Source && certified;
    let sessions = reporter == Reporter::Source && view.snapshot.features.persistent_sessions;
    let sessions = sessions.then(|| (HttpFilterPosition::StatefulSession, stateful_session()));
    peer.chain(to_sidecars.then(|| (HttpFilterPosition::UpstreamAlpn, upstream_alpn()))).chain(sessions).collect()
}

fn own<'a>(view: &'a View<'_>) -> WorkloadLabels<'a> {
    let workload = &view.class.workload;
    WorkloadLabels {
        workload: &workload.name,
        namespace: view.class.namespace.as_str(),
        app: &workload.app,
        version: &workload.version,
        canonical_service: &workload.canonical_service,
        canonical_revision: &workload.canonical_revision,
        cluster: view.class.cluster.as_str(),
    }
}

fn file_log(view: &View<'_>) -> Option<AccessLog> {
    let mesh = &view.snapshot.mesh;
    let inputs = FileAccessLogInputs { path: &mesh.access_log_file, format: &mesh.access_log_format, encoding: mesh.access_log_encoding };
    (!mesh.access_log_file.is_empty()).then(|| access_log::file_access_log(&inputs).0)
}

/// Where credentials come from; `external` says that a provider of them is beside the proxy.
pub fn credentials(certificates: Certificates, external: bool) -> CredentialSource {
    match (certificates, external) {
        (Certificates::None, _) => CredentialSource::AdsWithFiles,
        (Certificates::Sds, true) => CredentialSource::AdsOrExternal,
        (Certificates::Sds, false) => CredentialSource::Ads,
    }
}

/// The builder's spelling.
pub fn certificate_files(files: &CertificateFiles) -> tls::CertificateFiles<'_> {
    tls::CertificateFiles { certificate: &files.certificate, key: &files.key, authorities: &files.authorities }
}

/// Whether attempts are counted in a header (`proxyHeaders.attemptCount`).
pub fn counts_attempts(view: &View<'_>) -> bool {
    let attempts = view.proxy_config().proxy_headers.as_ref().and_then(|headers| headers.attempt_count.as_ref());
    attempts.is_none_or(|header| header.disabled != Some(true))
}

/// Whether names of headers keep their case in HTTP/1 (`proxyHeaders.preserveHttp1HeaderCase`).
pub fn preserves_header_case(view: &View<'_>) -> bool {
    view.proxy_config().proxy_headers.as_ref().is_some_and(|headers| headers.preserve_http1_header_case == Some(true))
}

/// The addresses that mean all of the proxy's, and those that mean the host itself, its first family first.
pub fn addresses(families: IpFamilies) -> (Vec<IpAddr>, Vec<IpAddr>) {
    use std::net::{Ipv4Addr, Ipv6Addr};
    let v4 = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv4Addr::LOCALHOST));
    let v6 = (IpAddr::from(Ipv6Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::LOCALHOST));
    match families {
        IpFamilies::V4 => [v4].into_iter().unzip(),
        IpFamilies::V6 => [v6].into_iter().unzip(),
        IpFamilies::Dual => [v4, v6].into_iter().unzip(),
    }
}
