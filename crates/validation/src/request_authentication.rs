//! RequestAuthentication (Istio's `ValidateRequestAuthentication`).

use crate::{
    amount::duration,
    report::{Field, Report, each},
    selector,
};
use istio_api::security::request_authentication::{JwtRule, RequestAuthentication};
use serde_json::Value;

pub(crate) fn validate(report: &mut Report, policy: &RequestAuthentication) {
    let at = Field::Root("spec");
    selector::attachment(report, &at, policy.selector.as_ref(), policy.target_ref.as_ref(), &policy.target_refs);
    each(report, &at, "jwtRules", &policy.jwt_rules, rule);
}

fn rule(report: &mut Report, at: &Field<'_>, rule: &JwtRule) {
    if rule.issuer.is_empty() && rule.jwks_uri.is_empty() && rule.jwks.is_empty() {
        report.error(&at.key("issuer"), "issuer must be set");
    }
    let lists = [("audiences", "audience", &rule.audiences), ("fromCookies", "cookie name", &rule.from_cookies)];
    for (field, name, texts) in lists {
        each(report, at, field, texts, |report, at, text| {
            if text.is_empty() {
                report.error(at, format!("{name} must be non-empty string"));
            }
        });
    }
    each(report, at, "fromParams", &rule.from_params, |report, at, name| {
        if name.is_empty() {
            report.error(at, "location query must be non-empty string");
        }
    });
    each(report, at, "fromHeaders", &rule.from_headers, |report, at, header| {
        if header.name.is_empty() {
            report.error(&at.key("name"), "location header name must be non-empty string");
        }
    });
    if !rule.jwks_uri.is_empty() {
        if !rule.jwks.is_empty() {
            report.error(at, "only one of jwks or jwksUri can be set");
        }
        jwks_uri(report, &at.key("jwksUri"), &rule.jwks_uri);
    }
    if !rule.jwks.is_empty() {
        jwks(report, &at.key("jwks"), &rule.jwks);
    }
    each(report, at, "outputClaimToHeaders", &rule.output_claim_to_headers, |report, at, output| {
        if output.header.is_empty() || output.claim.is_empty() {
            report.error(at, "outputClaimToHeaders header and claim value must be non-empty string");
        } else if !output.header.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
            report.error(&at.key("header"), format!("header name {} is not a valid header name", output.header));
        }
    });
    duration(report, &at.key("timeout"), rule.timeout);
}

/// The address must be absolute, `http` or `https`, with a number as its port if any.
fn jwks_uri(report: &mut Report, at: &Field<'_>, uri: &str) {
    let Some((scheme, rest)) = uri.split_once("://") else {
        report.error(at, "URI scheme \"\" is not supported; write https://");
        return;
    };
    if !matches!(scheme, "http" | "https") {
        report.error(at, format!("URI scheme {scheme:?} is not supported; write https://"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    if let Some((_, port)) = after.rsplit_once(':')
        && !port.is_empty()
        && port.parse::<u16>().is_err()
    {
        report.error(at, format!("parse {uri:?}: invalid port {:?} after host", format!(":{port}")));
    }
    if host.is_empty() {
        report.error(at, format!("{uri:?} names no host"));
    }
}

/// The members of a key that only its owner may know (RFC 7518, §6).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

fn jwks(report: &mut Report, at: &Field<'_>, text: &str) {
    let set: Value = match serde_json::from_str(text) {
        Ok(set) => set,
        Err(error) => {
            report.error(at, format!("jwks parse error: {error}"));
            return;
        }
    };
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        report.error(at, "jwks parse error: there is no list \"keys\"");
        return;
    };
    if keys.iter().any(|key| key.get("kty").and_then(Value::as_str).is_none()) {
        report.error(at, "jwks parse error: a key has no type (\"kty\")");
    }
    if keys.iter().any(|key| PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some())) {
        report.warning(at, "jwks contains private keys; publish public keys only");
    }
}
