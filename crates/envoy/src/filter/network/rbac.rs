//! Role-based access control of connections.

use crate::filter::network_filter;
use xds_api::envoy::config::listener::v3::Filter;
use xds_api::envoy::config::rbac::v3::Rbac as Rules;
use xds_api::envoy::extensions::filters::network::rbac::v3::Rbac;

/// The name of the filter, also of its dynamic metadata.
pub const NAME: &str = "envoy.filters.network.rbac";

/// Before the names of the statistics of authorization on TCP chains.
pub const STAT_PREFIX: &str = "tcp.";

/// Refuses by `rules`; `shadow_rules` are only counted, under names that begin with `shadow_prefix`.
pub fn rbac(rules: Option<Rules>, shadow_rules: Option<Rules>, shadow_prefix: &str) -> Filter {
    let rbac = Rbac {
        rules,
        shadow_rules,
        shadow_rules_stat_prefix: shadow_prefix.to_owned(),
        stat_prefix: STAT_PREFIX.to_owned(),
        ..Rbac::default()
    };
    network_filter(NAME, &rbac)
}
