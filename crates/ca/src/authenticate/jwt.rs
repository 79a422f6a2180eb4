//! A service-account token of Kubernetes, checked without asking anybody.

use super::jwks::{Check, KeySet, is_allowed};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

/// A longer token is not looked at; those of Kubernetes have about 1,000 bytes.
const LONGEST: usize = 16 << 10;

/// How much earlier than `nbf` a token is taken, in seconds, for clocks that are late. An expired one never is.
const LEEWAY: i64 = 60;

/// What a good token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// The namespace of the service account.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
    /// The pod that the token was made for.
    pub pod: Option<PodReference>,
    /// When it is not valid any more: seconds since 1970.
    pub expires: i64,
}

/// A pod that a token is bound to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PodReference {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What a token must say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expected {
    /// It must be for one of these audiences.
    pub audiences: Vec<String>,
    /// It must be of this issuer; `None` leaves that to the keys.
    pub issuer: Option<String>,
}

/// Why a token is not good. Never holds a part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It is no JSON Web Token in compact form.
    #[error("it is no JSON Web Token")]
    Malformed,
    /// `none`, a symmetric algorithm, or one that is not known.
    #[error("it is not signed with an algorithm that is allowed")]
    Algorithm,
    /// The key that it names is not among those of the issuer.
    #[error("it is signed with a key that is not known here")]
    UnknownKey,
    /// It was changed, or signed by somebody else.
    #[error("its signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYetValid,
    /// It was made for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// It was made by somebody else.
    #[error("it is of another issuer")]
    Issuer,
    /// It is not of a service account.
    #[error("it is not of a service account")]
    Subject,
    /// The cluster says that it is not good.
    #[error("the cluster does not authenticate it")]
    Reviewed,
}

impl TokenError {
    /// A word for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "token_unknown_key",
            Self::Signature => "token_signature",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Audience => "token_audience",
            Self::Issuer => "token_issuer",
            Self::Subject => "token_subject",
            Self::Reviewed => "token_reviewed",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Payload {
    iss: Option<String>,
    sub: String,
    #[serde(default)]
    aud: Audience,
    exp: serde_json::Number,
    nbf: Option<serde_json::Number>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
    #[default]
    None,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Reference,
    pod: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    #[serde(default)]
    uid: String,
}

/// Checks a token with the keys of its issuer. `now` is in seconds since 1970.
///
/// # Errors
/// See [`TokenError`]. The signature is checked before anything that the token says of itself.
pub fn verify(token: &str, keys: &KeySet, expected: &Expected, now: i64) -> Result<Claims, TokenError> {
    let (signed, signature, payload) = split(token)?;
    let (header, _) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let header: Header = decode(header)?;
    if header.crit.is_some() || !is_allowed(&header.alg) {
        return Err(TokenError::Algorithm);
    }
    match keys.check(&header.alg, header.kid.as_deref(), signed.as_bytes(), &signature) {
        Check::Good => {}
        Check::Bad => return Err(TokenError::Signature),
        Check::UnknownKey => return Err(TokenError::UnknownKey),
    }
    claims(decode(payload)?, expected, now)
}

/// When a token says that it expires; of a token that somebody else has found to be good.
pub(crate) fn expiry(token: &str) -> Option<i64> {
    let (_, _, payload) = split(token).ok()?;
    whole(&decode::<Payload>(payload).ok()?.exp)
}

/// The issuer that a token says to be of. Nothing is proved by it.
pub(crate) fn issuer(token: &str) -> Option<String> {
    let (_, _, payload) = split(token).ok()?;
    decode::<Payload>(payload).ok()?.iss
}

fn split(token: &str) -> Result<(&str, Vec<u8>, &str), TokenError> {
    if token.len() > LONGEST {
        return Err(TokenError::Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (_, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    if payload.contains('.') {
        return Err(TokenError::Malformed);
    }
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
    Ok((signed, signature, payload))
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

fn claims(payload: Payload, expected: &Expected, now: i64) -> Result<Claims, TokenError> {
    let expires = whole(&payload.exp).ok_or(TokenError::Malformed)?;
    if expires <= now {
        return Err(TokenError::Expired);
    }
    if let Some(from) = &payload.nbf
        && whole(from).ok_or(TokenError::Malformed)? > now.saturating_add(LEEWAY)
    {
        return Err(TokenError::NotYetValid);
    }
    if expected.issuer.as_ref().is_some_and(|issuer| payload.iss.as_ref() != Some(issuer)) {
        return Err(TokenError::Issuer);
    }
    let is_for = |audience: &String| expected.audiences.contains(audience);
    let accepted = match &payload.aud {
        Audience::One(audience) => is_for(audience),
        Audience::Several(audiences) => audiences.iter().any(is_for),
        Audience::None => false,
    };
    if !accepted {
        return Err(TokenError::Audience);
    }
    let (namespace, service_account) = service_account(&payload.sub).ok_or(TokenError::Subject)?;
    let pod = match payload.kubernetes {
        Some(bound) if bound.namespace != namespace || bound.serviceaccount.name != service_account => return Err(TokenError::Subject),
        Some(bound) => bound.pod.map(|pod| PodReference { name: pod.name, uid: pod.uid }),
        None => None,
    };
    Ok(Claims { namespace: namespace.to_owned(), service_account: service_account.to_owned(), pod, expires })
}

/// Seconds; RFC 7519 allows fractions.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        let seconds = number.as_f64().filter(|seconds| seconds.abs() < 1e15)?;
        Some(seconds as i64)
    })
}

/// `system:serviceaccount:<namespace>:<name>`, of names that Kubernetes allows: they become a part of the identity, in
/// which a slash would end a part.
pub(crate) fn service_account(subject: &str) -> Option<(&str, &str)> {
    let (namespace, name) = subject.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    let plain = |text: &str, others: &[u8]| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || others.contains(&byte);
        !text.is_empty() && text.len() <= 253 && text.bytes().all(allowed)
    };
    (plain(namespace, b"-") && plain(name, b"-.")).then_some((namespace, name))
}
