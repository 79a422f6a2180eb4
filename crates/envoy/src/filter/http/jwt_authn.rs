//! Verifies the JSON web tokens of requests (Istio's `convertToEnvoyJwtConfig`).

use crate::filter::http_filter;
use istio_api::security::request_authentication::JwtRule;
use std::collections::{BTreeMap, BTreeSet};
use xds_api::envoy::config::{
    core::v3::{DataSource, data_source::Specifier},
    route::v3::{RouteMatch, route_match::PathSpecifier},
};
use xds_api::envoy::extensions::filters::{
    http::jwt_authn::v3::{
        JwtAuthentication, JwtClaimToHeader, JwtHeader, JwtProvider, JwtRequirement, JwtRequirementAndList, JwtRequirementOrList,
        RequirementRule,
        jwt_provider::{JwksSourceSpecifier, NormalizePayload},
        jwt_requirement::RequiresType,
        requirement_rule::RequirementType,
    },
    network::http_connection_manager::v3::HttpFilter,
};
use xds_api::google::protobuf::Empty;

/// The name of the filter, also of its dynamic metadata.
pub const NAME: &str = "envoy.filters.http.jwt_authn";

/// The key in that metadata under which the payload of a verified token stands.
pub const PAYLOAD: &str = "payload";

/// Claims that are lists separated by spaces in every token.
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// A set of no keys: no token passes.
const NO_KEYS: &str = r#"{"keys":[]}"#;

/// One issuer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct JwtIssuer<'a> {
    /// What RequestAuthentication says of it.
    pub rule: &'a JwtRule,
    /// Its keys (JWKS); `None` while they are not known, and every token of the issuer is refused.
    pub keys: Option<&'a str>,
}

/// The filter, if there is any issuer. `clear_route_cache` chooses the route anew after a token is verified, for routes that
/// look at claims.
pub fn jwt_authn(issuers: &[JwtIssuer<'_>], clear_route_cache: bool) -> Option<HttpFilter> {
    if issuers.is_empty() {
        return None;
    }
    let names: Vec<String> = (0..issuers.len()).map(|index| format!("origins-{index}")).collect();
    let providers: BTreeMap<_, _> =
        names.iter().cloned().zip(issuers.iter().map(|issuer| provider(issuer, clear_route_cache))).collect();
    let everything = RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".to_owned())), ..RouteMatch::default() };
    let configuration = JwtAuthentication {
        providers,
        rules: vec![RequirementRule {
            r#match: Some(everything),
            requirement_type: Some(RequirementType::Requires(requirement(&names))),
        }],
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

fn provider(issuer: &JwtIssuer<'_>, clear_route_cache: bool) -> JwtProvider {
    let rule = issuer.rule;
    let claims: BTreeSet<&str> = SPACE_DELIMITED.into_iter().chain(rule.space_delimited_claims.iter().map(String::as_str)).collect();
    let keys = DataSource { specifier: Some(Specifier::InlineString(issuer.keys.unwrap_or(NO_KEYS).to_owned())), ..DataSource::default() };
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
        normalize_payload_in_metadata: Some(NormalizePayload {
            space_delimited_claims: claims.into_iter().map(str::to_owned).collect(),
        }),
        clear_route_cache,
        jwks_source_specifier: Some(JwksSourceSpecifier::LocalJwks(keys)),
        ..JwtProvider::default()
    }
}
