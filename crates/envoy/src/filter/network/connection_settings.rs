//! Limits and timeouts towards clients (`ProxyConfig.connectionSettings`): those of a profile, and what the user sets.

use istio_api::Duration;
use istio_api::mesh::proxy_config::{
    ConnectionProfile, ConnectionSettings, HeadersWithUnderscoresAction as Underscores, PathWithEscapedSlashesAction as Slashes,
};
use xds_api::envoy::config::core::v3::{HttpProtocolOptions, http_protocol_options::HeadersWithUnderscoresAction};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, http_connection_manager::PathWithEscapedSlashesAction,
};
use xds_api::google::protobuf::Duration as EnvoyDuration;

/// What the profile EDGE bounds the memory of a connection to, in bytes (Envoy's advice for proxies at the edge).
const EDGE_BUFFER: i32 = 32 * 1024;

/// The settings with those of their profile filled in.
pub fn resolved(settings: &ConnectionSettings) -> ConnectionSettings {
    if settings.profile != ConnectionProfile::Edge {
        return settings.clone();
    }
    let mut out = settings.clone();
    let seconds = |value: Option<Duration>, default: u64| value.or(Some(Duration::from_secs(default)));
    out.listener_per_connection_buffer_limit_bytes = out.listener_per_connection_buffer_limit_bytes.or(Some(EDGE_BUFFER));
    out.cluster_per_connection_buffer_limit_bytes = out.cluster_per_connection_buffer_limit_bytes.or(Some(EDGE_BUFFER));
    out.http_idle_timeout = seconds(out.http_idle_timeout, 3600);
    out.http_stream_idle_timeout = seconds(out.http_stream_idle_timeout, 300);
    out.http_request_timeout = seconds(out.http_request_timeout, 300);
    out.http_request_headers_timeout = seconds(out.http_request_headers_timeout, 60);
    out.http_max_concurrent_streams = out.http_max_concurrent_streams.or(Some(100));
    out.http2_initial_stream_window_size = out.http2_initial_stream_window_size.or(Some(64 * 1024));
    out.http2_initial_connection_window_size = out.http2_initial_connection_window_size.or(Some(1024 * 1024));
    if out.http_headers_with_underscores_action == Underscores::Unspecified {
        out.http_headers_with_underscores_action = Underscores::RejectRequest;
    }
    out.http_merge_slashes = out.http_merge_slashes.or(Some(true));
    if out.http_path_with_escaped_slashes_action == Slashes::Unspecified {
        out.http_path_with_escaped_slashes_action = Slashes::UnescapeAndRedirect;
    }
    out
}

/// A limit in bytes, if it is one.
pub fn limit(bytes: Option<i32>) -> Option<u32> {
    bytes.and_then(|bytes| u32::try_from(bytes).ok())
}

/// Sets everything that is said in resolved settings.
pub(super) fn apply(manager: &mut HttpConnectionManager, settings: &ConnectionSettings) {
    let envoy = |duration: Option<Duration>| -> Option<EnvoyDuration> { duration.map(|duration| duration.0.into()) };
    let common = manager.common_http_protocol_options.get_or_insert_default();
    let set = |target: &mut Option<EnvoyDuration>, value: Option<Duration>| *target = envoy(value).or(target.take());
    set(&mut common.idle_timeout, settings.http_idle_timeout);
    set(&mut common.max_connection_duration, settings.http_max_connection_duration);
    set(&mut common.max_stream_duration, settings.http_max_stream_duration);
    if let Some(action) = underscores(settings.http_headers_with_underscores_action) {
        common.set_headers_with_underscores_action(action);
    }
    if *common == HttpProtocolOptions::default() {
        manager.common_http_protocol_options = None;
    }
    set(&mut manager.drain_timeout, settings.http_drain_timeout);
    set(&mut manager.request_timeout, settings.http_request_timeout);
    set(&mut manager.request_headers_timeout, settings.http_request_headers_timeout);
    set(&mut manager.stream_idle_timeout, settings.http_stream_idle_timeout);
    let streams = limit(settings.http_max_concurrent_streams);
    let windows = (limit(settings.http2_initial_stream_window_size), limit(settings.http2_initial_connection_window_size));
    if streams.is_some() || windows != (None, None) {
        let http2 = manager.http2_protocol_options.get_or_insert_default();
        http2.max_concurrent_streams = streams.map(Into::into);
        http2.initial_stream_window_size = windows.0.map(Into::into);
        http2.initial_connection_window_size = windows.1.map(Into::into);
    }
    if let Some(merge) = settings.http_merge_slashes {
        manager.merge_slashes = merge;
    }
    if let Some(action) = slashes(settings.http_path_with_escaped_slashes_action) {
        manager.set_path_with_escaped_slashes_action(action);
    }
}

fn underscores(action: Underscores) -> Option<HeadersWithUnderscoresAction> {
    Some(match action {
        Underscores::Unspecified => return None,
        Underscores::Allow => HeadersWithUnderscoresAction::Allow,
        Underscores::RejectRequest => HeadersWithUnderscoresAction::RejectRequest,
        Underscores::DropHeader => HeadersWithUnderscoresAction::DropHeader,
    })
}

fn slashes(action: Slashes) -> Option<PathWithEscapedSlashesAction> {
    Some(match action {
        Slashes::Unspecified => return None,
        Slashes::KeepUnchanged => PathWithEscapedSlashesAction::KeepUnchanged,
        Slashes::RejectRequest => PathWithEscapedSlashesAction::RejectRequest,
        Slashes::UnescapeAndRedirect => PathWithEscapedSlashesAction::UnescapeAndRedirect,
        Slashes::UnescapeAndForward => PathWithEscapedSlashesAction::UnescapeAndForward,
    })
}
