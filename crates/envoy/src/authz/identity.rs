//! What policies say of the peer's certificate, as matchers of its SPIFFE identity.

use super::text;
use xds_api::envoy::r#type::matcher::v3::StringMatcher;

/// What stands before the trust domain.
const SPIFFE: &str = "spiffe://";

/// `source.principals`: an identity without `spiffe://`; `*` is any peer with a certificate.
pub fn principal(value: &str) -> StringMatcher {
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(""), _) => text::regex(".+"),
        (Some(end), _) => text::regex(format!("{SPIFFE}.*{}", text::quote(end))),
        (None, Some(start)) => text::prefix(&format!("{SPIFFE}{start}")),
        (None, None) => text::exact(&format!("{SPIFFE}{value}")),
    }
}

/// `source.namespaces`
pub fn namespace(value: &str) -> StringMatcher {
    text::regex(format!(".*/ns/{}/.*", text::quote_with_wildcards(value)))
}

/// `source.serviceAccounts`: `namespace/name`, or a name of the policy's own namespace. Anything may stand between and after
/// the two, as other meshes put more into an identity, but only whole elements of a path.
pub fn service_account(value: &str, own_namespace: &str) -> StringMatcher {
    let (namespace, name) = value.split_once('/').unwrap_or((own_namespace, value));
    text::regex(format!("{SPIFFE}.+/ns/{}/(.+/|)sa/{}(/.+)?", text::quote(namespace), text::quote(name)))
}

/// `source.trustDomains`
pub fn trust_domain(value: &str) -> StringMatcher {
    match (value, value.contains('*')) {
        ("*", _) => text::regex(".+"),
        (_, false) => text::prefix(&format!("{SPIFFE}{value}/")),
        (_, true) => {
            let parts: Vec<_> = value.split('*').map(text::quote).collect();
            text::regex(format!("{SPIFFE}{}/.*", parts.join("[^/]*")))
        }
    }
}
