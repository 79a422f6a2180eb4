//! Verifies the JSON web tokens of requests (Istio's `convertToEnvoyJwtConfig`).

use crate::filter::http_filter;
use istio_api::security::request_authentication::JwtRule;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use xds_api::envoy::config::{
    core::v3::{DataSource, HttpUri, data_source::Specifier, http_uri::HttpUpstreamType},
    route::v3::{RouteMatch, route_match::PathSpecifier},
};
use xds_api::envoy::extensions::filters::{
    http::jwt_authn::v3::{
        JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement, JwtRequirementAndList, JwtRequirementOrList,
        RemoteJwks, RequirementRule,
        jwt_provider::{JwksSourceSpecifier, NormalizePayload},
        jwt_requirement::RequiresType,
        requirement_rule::RequirementType,
    },
    network::http_connection_manager::v3::HttpFilter,
};
use xds_api::google::protobuf::{Duration, Empty};

/// The name of the filter, also of its dynamic metadata.
pub const NAME: &str = "envoy.filters.http.jwt_authn";

/// The key in that metadata under which the payload of a verified token stands.
pub const PAYLOAD: &str = "payload";

/// Claims that are lists separated by spaces in every token.
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// A key with which nobody can sign. Envoy refuses a listener over a set without a valid key, so this one stands in for keys
/// that are not known, and beside such as may not be valid. It is the first point of P-256 whose x is the SHA-256 of "no token
/// is signed with this key" and a counter (3), so that its private key is known to no one.
const NOBODYS_KEY: &str = r#"{"alg":"ES256","crv":"P-256","kid":"nobody","kty":"EC","x":"QEk7czyaWHuFdRgxwCcAIBZ5oSoTWMD4pJmNdtFXO6g","y":"btmFKPMtCGxVYoVkuJvF2LopsXmOleM-J4pplZBc55c"}"#;

/// One issuer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct JwtIssuer<'a> {
    /// What RequestAuthentication says of it.
    pub rule: &'a JwtRule,
    /// Where its keys (JWKS) are.
    pub keys: JwtKeys<'a>,
}

/// Where the keys of an issuer are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum JwtKeys<'a> {
    /// Here; `None` while they are not known, and every token of the issuer is refused.
    Known(Option<&'a str>),
    /// Behind this cluster, by the rule's `jwksUri`, from where Envoy fetches them itself.
    Behind(&'a str),
}

/// How long Envoy takes keys for good that it has fetched itself.
const REMOTE_CACHE: i64 = 5 * 60;
/// How long fetching may take if the rule does not say, in seconds.
const REMOTE_TIMEOUT: Duration = Duration { seconds: 5, nanos: 0 };

fn key_source(issuer: &JwtIssuer<'_>) -> JwksSourceSpecifier {
    match issuer.keys {
        JwtKeys::Known(keys) => {
            JwksSourceSpecifier::LocalJwks(DataSource { specifier: Some(Specifier::InlineString(key_set(keys))), ..DataSource::default() })
        }
        JwtKeys::Behind(cluster) => JwksSourceSpecifier::RemoteJwks(RemoteJwks {
            http_uri: Some(HttpUri {
                uri: issuer.rule.jwks_uri.clone(),
                http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.to_owned())),
                timeout: Some(issuer.rule.timeout.map_or(REMOTE_TIMEOUT, |timeout| timeout.0.into())),
            }),
            cache_duration: Some(Duration { seconds: REMOTE_CACHE, nanos: 0 }),
            ..RemoteJwks::default()
        }),
    }
}

/// The filter, if there is any issuer. `clear_route_cache` chooses the route anew after a token is verified, for routes that
/// look at claims.
pub fn jwt_authn(issuers: &[JwtIssuer<'_>], clear_route_cache: bool) -> Option<HttpFilter> {
    if issuers.is_empty() {
        return None;
    }
    let names: Vec<String> = (0..issuers.len()).map(|index| format!("origins-{index}")).collect();
    let providers: BTreeMap<_, _> = names.iter().cloned().zip(issuers.iter().map(|issuer| provider(issuer, clear_route_cache))).collect();
    let everything = RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() };
    let configuration = JwtAuthentication {
        providers,
        rules: vec![RequirementRule { r#match: Some(everything), requirement_type: Some(RequirementType::Requires(requirement(&names))) }],
        // Browsers send preflights without credentials.
        bypass_cors_preflight: true,
        ..JwtAuthentication::default()
    };
    Some(http_filter(NAME, &configuration))
}

/// A request may come without a token; but every token that it has must be valid. With several issuers that is: a token of
/// one of them, or all of them satisfied. The second alone would fail for issuers whose tokens stand at the same place.
fn requirement(names: &[String]) -> JwtRequirement {
    let by = |name: &String| JwtRequirement { requires_type: Some(RequiresType::ProviderName(name.clone())) };
    let missing = || JwtRequirement { requires_type: Some(RequiresType::AllowMissing(Empty::default())) };
    let any = |requirements| JwtRequirement { requires_type: Some(RequiresType::RequiresAny(JwtRequirementOrList { requirements })) };
    let optional = |name| any(vec![by(name), missing()]);
    match names {
        [only] => optional(only),
        _ => {
            let all = JwtRequirementAndList { requirements: names.iter().map(optional).collect() };
            let all = JwtRequirement { requires_type: Some(RequiresType::RequiresAll(all)) };
            any(names.iter().map(by).chain([all]).collect())
        }
    }
}

/// A set that Envoy takes, whatever the issuer says.
fn key_set(keys: Option<&str>) -> String {
    let set: Option<Value> = keys.and_then(|text| serde_json::from_str(text).ok());
    let known = set.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    // An RSA key of the usual form: 2048 bits or more, the exponent 65537.
    let number = |key: &Value| key.get("n").and_then(Value::as_str).is_some_and(|text| text.len() >= 342 && is_base64url(text));
    let is = |key: &Value, name: &str, text: &str| key.get(name).is_some_and(|value| value == text);
    let surely_valid = |key: &Value| is(key, "kty", "RSA") && is(key, "e", "AQAB") && number(key);
    if let Some(text) = keys.filter(|_| known.iter().any(surely_valid)) {
        return text.to_owned();
    }
    let keys: Vec<String> = known.iter().map(Value::to_string).chain([NOBODYS_KEY.to_owned()]).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn is_base64url(text: &str) -> bool {
    text.len() % 4 != 1 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn provider(issuer: &JwtIssuer<'_>, clear_route_cache: bool) -> JwtProvider {
    let rule = issuer.rule;
    let claims: BTreeSet<&str> = SPACE_DELIMITED.into_iter().chain(rule.space_delimited_claims.iter().map(String::as_str)).collect();
    JwtProvider {
        issuer: rule.issuer.clone(),
        audiences: rule.audiences.clone(),
        forward: rule.forward_original_token,
        forward_payload_header: rule.output_payload_to_header.clone(),
        from_headers: rule
            .from_headers
            .iter()
            .map(|header| JwtHeader { name: header.name.clone(), value_prefix: header.prefix.clone() })
            .collect(),
        from_params: rule.from_params.clone(),
        from_cookies: rule.from_cookies.clone(),
        claim_to_headers: rule
            .output_claim_to_headers
            .iter()
            .map(|claim| JwtClaimToHeader { header_name: claim.header.clone(), claim_name: claim.claim.clone(), ..Default::default() })
            .collect(),
        payload_in_metadata: PAYLOAD.to_owned(),
        normalize_payload_in_metadata: Some(NormalizePayload { space_delimited_claims: claims.into_iter().map(str::to_owned).collect() }),
        clear_route_cache,
        jwks_source_specifier: Some(key_source(issuer)),
        ..JwtProvider::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envoy_never_gets_a_set_without_a_valid_key() {
        let nobody = format!(r#"{{"keys":[{NOBODYS_KEY}]}}"#);
        assert_eq!(key_set(None), nobody);
        assert_eq!(key_set(Some("no JSON")), nobody);
        assert_eq!(key_set(Some(r#"{"keys":{}}"#)), nobody);
        let rsa = format!(r#"{{"keys":[{{"kty":"RSA","e":"AQAB","n":"{}"}}]}}"#, "x".repeat(342));
        assert_eq!(key_set(Some(&rsa)), rsa);
        // Its point may not be one of the curve.
        let curve = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#;
        assert_eq!(key_set(Some(&format!(r#"{{"keys":[{curve}]}}"#))), format!(r#"{{"keys":[{curve},{NOBODYS_KEY}]}}"#));
    }
}
