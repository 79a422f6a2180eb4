//! The hash by which a DestinationRule keeps clients with endpoints.

use istio_api::networking::destination_rule::{ConsistentHashLb, HashKey, HttpCookie};
use xds_api::envoy::config::route::v3::route_action::{
    HashPolicy,
    hash_policy::{ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter},
};

/// What of the request is hashed; `None` if the user names nothing.
pub(super) fn hash_policy(hash: &ConsistentHashLb) -> Option<HashPolicy> {
    let specifier = match hash.hash_key()? {
        HashKey::HttpHeaderName(name) => PolicySpecifier::Header(Header { header_name: name.to_string(), ..Default::default() }),
        HashKey::HttpCookie(cookie) => PolicySpecifier::Cookie(self::cookie(cookie)),
        HashKey::UseSourceIp(source_ip) => PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: *source_ip }),
        HashKey::HttpQueryParameterName(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() }),
    };
    Some(HashPolicy { policy_specifier: Some(specifier), ..Default::default() })
}

/// Without a lifetime Envoy only reads the cookie; with one (0 for a session) it makes a missing cookie.
fn cookie(cookie: &HttpCookie) -> Cookie {
    let attribute = |name: &String, value: &String| CookieAttribute { name: name.clone(), value: value.clone() };
    Cookie {
        name: cookie.name.clone(),
        ttl: cookie.ttl.map(|ttl| ttl.0.into()),
        path: cookie.path.clone(),
        attributes: cookie.attributes.iter().map(|given| attribute(&given.name, &given.value)).collect(),
    }
}
