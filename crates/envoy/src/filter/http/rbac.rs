//! Role-based access control of requests.

use crate::filter::http_filter;
use xds_api::envoy::config::rbac::v3::Rbac as Rules;
use xds_api::envoy::extensions::filters::{http::rbac::v3::Rbac, network::http_connection_manager::v3::HttpFilter};

/// The name of the filter, also of its dynamic metadata.
pub const NAME: &str = "envoy.filters.http.rbac";

/// Refuses by `rules`; `shadow_rules` are only counted, under names that begin with `shadow_prefix`.
pub fn rbac(rules: Option<Rules>, shadow_rules: Option<Rules>, shadow_prefix: &str) -> HttpFilter {
    http_filter(NAME, &Rbac { rules, shadow_rules, shadow_rules_stat_prefix: shadow_prefix.to_owned(), ..Rbac::default() })
}
