//! Filters: one file each, and `order.rs`, the one table that orders them.
//!
//! In: what a filter depends on. Out: a filter packed under the name by which Envoy and EnvoyFilter objects know it.
//! Never: which listener it stands in.
//! Istio's own filters (`istio.metadata_exchange`, `istio.alpn`, `istio.stats`) do not exist in a stock Envoy and are left
//! out; metrics come from an access logger.
//! Read first: `order.rs`, then `network/http_connection_manager.rs`.

pub mod http;
pub mod listener;
pub mod network;
pub mod order;

use xds_api::Wire;
use xds_api::envoy::config::listener::v3::{Filter, ListenerFilter, filter, listener_filter};
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::{HttpFilter, http_filter};

/// An HTTP filter of that name.
pub(crate) fn http_filter(name: &str, configuration: &impl Wire) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(configuration.to_any())),
        ..HttpFilter::default()
    }
}

/// A network filter of that name.
pub(crate) fn network_filter(name: &str, configuration: &impl Wire) -> Filter {
    Filter { name: name.to_owned(), config_type: Some(filter::ConfigType::TypedConfig(configuration.to_any())) }
}

/// A listener filter of that name, which is always on.
pub(crate) fn listener_filter(name: &str, configuration: &impl Wire) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        filter_disabled: None,
        config_type: Some(listener_filter::ConfigType::TypedConfig(configuration.to_any())),
    }
}
