//! Envoy's filter of JSON web tokens: which requests it refuses, and what it leaves of the others.

use crate::{admission::Admitted, call::Call, outcome::End};
use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use xds_api::envoy::config::core::v3::data_source::Specifier;
use xds_api::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, JwtProvider, JwtRequirement, jwt_provider::JwksSourceSpecifier, jwt_requirement::RequiresType,
    requirement_rule::RequirementType,
};

/// The name of the filter, under which payloads are left.
const NAME: &str = "envoy.filters.http.jwt_authn";

/// Why a token does not do, in the order of how much it says about the request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Status {
    Missed,
    UnknownIssuer,
    BadFormat,
    Audience,
    Expired,
    NotYetValid,
    Signature,
}

impl Status {
    /// Envoy's text.
    fn text(self) -> &'static str {
        match self {
            Self::Missed => "Jwt is missing",
            Self::UnknownIssuer => "Jwt issuer is not configured",
            Self::BadFormat => "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
            Self::Audience => "Audiences in Jwt are not allowed",
            Self::Expired => "Jwt is expired",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Signature => "Jwt verification fails",
        }
    }
}

/// A token that was verified.
struct Verified<'a> {
    provider: &'a JwtProvider,
    place: Place,
    payload: Value,
    encoded: String,
}

/// Verifies the tokens of a request; removes those that the workload is not to see.
///
/// # Errors
/// The answer to a request that is refused.
pub fn verify(filter: &JwtAuthentication, admitted: &mut Admitted) -> Result<(), End> {
    let call = &admitted.call;
    let preflight = call.method == "OPTIONS" && call.header("origin").is_some() && call.header("access-control-request-method").is_some();
    // The rules that are built here match every path.
    let requirement = filter.rules.first().and_then(|rule| match &rule.requirement_type {
        Some(RequirementType::Requires(requirement)) => Some(requirement),
        _ => None,
    });
    let Some(requirement) = requirement.filter(|_| !(preflight && filter.bypass_cors_preflight)) else { return Ok(()) };
    let verified = required(requirement, filter, call)
        .map_err(|status| End::Response { status: if status == Status::Audience { 403 } else { 401 }, body: status.text().to_owned() })?;
    for token in verified {
        let provider = token.provider;
        if !provider.payload_in_metadata.is_empty() {
            admitted.metadata.set(NAME, &provider.payload_in_metadata, with_lists(&token.payload, provider));
        }
        if !provider.forward_payload_header.is_empty() {
            admitted.call.headers.insert(provider.forward_payload_header.to_ascii_lowercase(), token.encoded);
        }
        for claim in &provider.claim_to_headers {
            let found = claim.claim_name.split('.').try_fold(&token.payload, |value, name| value.get(name));
            if let Some(text) = found.and_then(Value::as_str) {
                admitted.call.headers.insert(claim.header_name.to_ascii_lowercase(), text.to_owned());
            }
        }
        if !provider.forward {
            token.place.remove(&mut admitted.call);
        }
    }
    Ok(())
}

fn required<'a>(requirement: &JwtRequirement, filter: &'a JwtAuthentication, call: &Call) -> Result<Vec<Verified<'a>>, Status> {
    match &requirement.requires_type {
        Some(RequiresType::ProviderName(name)) => {
            let provider = filter.providers.get(name).ok_or(Status::UnknownIssuer)?;
            by_provider(provider, call)
        }
        Some(RequiresType::RequiresAll(all)) => {
            let mut out = Vec::new();
            for requirement in &all.requirements {
                out.extend(required(requirement, filter, call)?);
            }
            Ok(out)
        }
        Some(RequiresType::RequiresAny(any)) => {
            let mut worst = Status::Missed;
            for alternative in &any.requirements {
                let met = match &alternative.requires_type {
                    Some(RequiresType::AllowMissing(_)) => missing(&any.requirements, filter, call),
                    _ => required(alternative, filter, call),
                };
                match met {
                    Ok(verified) => return Ok(verified),
                    Err(status) => worst = worst.max(status),
                }
            }
            Err(worst)
        }
        // Nothing else is built here.
        _ => Ok(Vec::new()),
    }
}

/// No token at the places of the providers among the alternatives; a token that is there was found wanting before.
fn missing<'a>(alternatives: &[JwtRequirement], filter: &JwtAuthentication, call: &Call) -> Result<Vec<Verified<'a>>, Status> {
    let providers = alternatives.iter().filter_map(|requirement| match &requirement.requires_type {
        Some(RequiresType::ProviderName(name)) => filter.providers.get(name),
        _ => None,
    });
    let mut tokens = providers.flat_map(|provider| tokens(provider, call));
    if tokens.next().is_none() { Ok(Vec::new()) } else { Err(Status::Missed) }
}

/// Every token at the provider's places must be its own and valid.
fn by_provider<'a>(provider: &'a JwtProvider, call: &Call) -> Result<Vec<Verified<'a>>, Status> {
    let tokens = tokens(provider, call);
    if tokens.is_empty() {
        return Err(Status::Missed);
    }
    tokens.into_iter().map(|(place, token)| valid(provider, place, &token, call.now)).collect()
}

/// Where a token stands.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Header(String),
    Parameter,
    Cookie,
}

impl Place {
    fn remove(&self, call: &mut Call) {
        if let Self::Header(name) = self {
            call.headers.remove(name);
        }
    }
}

fn tokens(provider: &JwtProvider, call: &Call) -> Vec<(Place, String)> {
    let mut out = Vec::new();
    let default = provider.from_headers.is_empty() && provider.from_params.is_empty() && provider.from_cookies.is_empty();
    let named = provider.from_headers.iter().map(|header| (header.name.as_str(), header.value_prefix.as_str()));
    for (name, prefix) in named.chain(default.then_some(("Authorization", "Bearer "))) {
        let name = name.to_ascii_lowercase();
        if let Some(token) = call.header(&name).and_then(|value| value.split_once(prefix)).map(|(_, token)| token) {
            let end = token.find(|c: char| !(c.is_ascii_alphanumeric() || "._-=+/".contains(c))).unwrap_or(token.len());
            out.push((Place::Header(name), token.get(..end).unwrap_or_default().to_owned()));
        }
    }
    let parameters: Vec<_> = call.query().trim_start_matches('?').split('&').filter_map(|part| part.split_once('=')).collect();
    for name in provider.from_params.iter().map(String::as_str).chain(default.then_some("access_token")) {
        out.extend(parameters.iter().filter(|(key, _)| *key == name).map(|(_, token)| (Place::Parameter, (*token).to_owned())));
    }
    let cookies = call.header("cookie").unwrap_or_default();
    let cookies: Vec<_> = cookies.split(';').filter_map(|cookie| cookie.trim().split_once('=')).collect();
    for name in &provider.from_cookies {
        out.extend(cookies.iter().filter(|(key, _)| key == name).map(|(_, token)| (Place::Cookie, (*token).to_owned())));
    }
    out
}

fn valid<'a>(provider: &'a JwtProvider, place: Place, token: &str, now: Option<u64>) -> Result<Verified<'a>, Status> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return Err(Status::BadFormat) };
    let json = |part: &str| URL_SAFE_NO_PAD.decode(part).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let (header_json, payload_json) = json(header).zip(json(payload)).ok_or(Status::BadFormat)?;
    let claim = |name: &str| payload_json.get(name);
    if claim("iss").and_then(Value::as_str) != Some(&provider.issuer) {
        return Err(Status::UnknownIssuer);
    }
    if let Some(now) = now {
        let skew = 60;
        if claim("nbf").and_then(Value::as_u64).is_some_and(|begin| begin > now + skew) {
            return Err(Status::NotYetValid);
        }
        if claim("exp").and_then(Value::as_u64).is_some_and(|end| now > end + skew) {
            return Err(Status::Expired);
        }
    }
    if !provider.audiences.is_empty()
        && !audiences(claim("aud")).iter().any(|audience| provider.audiences.iter().any(|a| same(a, audience)))
    {
        return Err(Status::Audience);
    }
    let signed = format!("{header}.{payload}");
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Status::BadFormat)?;
    if !keys(provider).iter().any(|key| verifies(key, &header_json, signed.as_bytes(), &signature)) {
        return Err(Status::Signature);
    }
    Ok(Verified { provider, place, encoded: (*payload).to_owned(), payload: payload_json })
}

fn audiences(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    }
}

/// The scheme and a slash at the end count for nothing.
fn same(a: &str, b: &str) -> bool {
    let bare = |text: &str| {
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        text.strip_suffix('/').unwrap_or(text).to_owned()
    };
    bare(a) == bare(b)
}

fn keys(provider: &JwtProvider) -> Vec<Value> {
    let Some(JwksSourceSpecifier::LocalJwks(source)) = &provider.jwks_source_specifier else { return Vec::new() };
    let Some(Specifier::InlineString(text)) = &source.specifier else { return Vec::new() };
    let set: Option<Value> = serde_json::from_str(text).ok();
    set.and_then(|set| set.get("keys").and_then(Value::as_array).cloned()).unwrap_or_default()
}

/// RS256 and ES256, which tests use.
fn verifies(key: &Value, header: &Value, signed: &[u8], signature: &[u8]) -> bool {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let (wanted, own) = (text(header, "kid"), text(key, "kid"));
    if wanted.is_some() && own.is_some() && wanted != own {
        return false;
    }
    let number = |name: &str| text(key, name).and_then(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()).unwrap_or_default();
    match (text(header, "alg").as_deref(), text(key, "kty").as_deref()) {
        (Some("RS256"), Some("RSA")) => RsaPublicKeyComponents { n: number("n"), e: number("e") }
            .verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, signature)
            .is_ok(),
        (Some("ES256"), Some("EC")) => {
            let point = [vec![4], number("x"), number("y")].concat();
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).is_ok()
        }
        _ => false,
    }
}

/// The claims that are lists separated by spaces become lists.
fn with_lists(payload: &Value, provider: &JwtProvider) -> Value {
    let mut out = payload.clone();
    let names = provider.normalize_payload_in_metadata.iter().flat_map(|normalize| &normalize.space_delimited_claims);
    for name in names {
        if let Some(Value::String(text)) = out.get(name) {
            let list: Vec<Value> = text.split(' ').filter(|part| !part.is_empty()).map(Value::from).collect();
            if let Some(place) = out.get_mut(name) {
                *place = Value::Array(list);
            }
        }
    }
    out
}
