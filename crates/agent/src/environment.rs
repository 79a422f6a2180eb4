//! Istio's environment variables, each with its default and what it may hold.

use crate::certificate::KeyAlgorithm;
use crate::settings::SettingsError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Prefix of variables that become node metadata.
const METADATA_PREFIX: &str = "ISTIO_META_";

/// Variables, and those that `proxyMetadata` adds; the environment wins.
pub(crate) struct Environment<'a> {
    pub variables: &'a BTreeMap<String, String>,
    pub further: &'a BTreeMap<String, String>,
}

impl<'a> Environment<'a> {
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name).or_else(|| self.further.get(name)).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub fn number(&self, name: &'static str, default: u16) -> Result<u16, SettingsError> {
        let parse = |value: &str| value.parse().map_err(|_| variable(name, value, "a port"));
        self.text(name).map_or(Ok(default), parse)
    }

    pub fn ratio(&self, name: &'static str, default: f64) -> Result<f64, SettingsError> {
        let parse = |value: &str| match value.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
            _ => Err(variable(name, value, "a number from 0 to 1")),
        };
        self.text(name).map_or(Ok(default), parse)
    }

    pub fn duration(&self, name: &'static str, default: Duration) -> Result<Duration, SettingsError> {
        self.text(name).map_or(Ok(default), |value| duration(value).ok_or_else(|| variable(name, value, "a duration such as 24h")))
    }

    pub fn algorithm(&self) -> Result<KeyAlgorithm, SettingsError> {
        let curve = self.text("ECC_CURVE");
        match (self.text("ECC_SIGNATURE_ALGORITHM"), self.text("WORKLOAD_RSA_KEY_SIZE")) {
            (Some("ECDSA"), _) if curve == Some("P384") => Ok(KeyAlgorithm::EcdsaP384),
            (Some("ECDSA"), _) | (None, None) => Ok(KeyAlgorithm::EcdsaP256),
            (Some(other), _) => Err(variable("ECC_SIGNATURE_ALGORITHM", other, "ECDSA, or nothing")),
            (None, Some("2048")) => Ok(KeyAlgorithm::Rsa2048),
            (None, Some(other)) => Err(variable("WORKLOAD_RSA_KEY_SIZE", other, "2048, or nothing for ECDSA on P-256")),
        }
    }

    /// Kubernetes projects it under Istio's path; `JWT_POLICY=none` and plain text send none.
    pub fn token(&self, plaintext: bool) -> Option<PathBuf> {
        let path = self.text("TOKEN_PATH").unwrap_or("./var/run/secrets/tokens/istio-token");
        (!plaintext && self.text("JWT_POLICY") != Some("none")).then(|| path.into())
    }

    pub fn addresses(&self, own: Option<IpAddr>) -> Result<Vec<IpAddr>, SettingsError> {
        let Some(list) = self.text("INSTANCE_IPS").or(self.text("INSTANCE_IP")) else {
            return Ok(own.into_iter().collect());
        };
        list.split(',').map(|text| text.trim().parse().map_err(|_| variable("INSTANCE_IP", list, "an IP address"))).collect()
    }

    pub fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        // Text that is an object or a list is meant as one; a number or a word stays text, as istiod expects.
        let parse = |value: &str| match serde_json::from_str(value) {
            Ok(parsed @ (Value::Object(_) | Value::Array(_))) => parsed,
            _ => Value::String(value.to_owned()),
        };
        for (name, value) in self.further.iter().chain(self.variables) {
            if let Some(key) = name.strip_prefix(METADATA_PREFIX).filter(|key| !key.is_empty()) {
                metadata.insert(key.to_owned(), parse(value));
            }
        }
        metadata
    }
}

fn variable(name: &'static str, value: &str, expected: &'static str) -> SettingsError {
    SettingsError::Variable { name, value: value.to_owned(), expected }
}

pub(crate) fn duration_field(value: Option<&str>, name: &'static str, default: u64) -> Result<Duration, SettingsError> {
    value.map_or(Ok(Duration::from_secs(default)), |value| duration(value).ok_or_else(|| variable(name, value, "a duration such as 5s")))
}

/// Go's durations, as far as anybody writes them here: `1h30m`, `45s`, `500ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let number: f64 = number.parse().ok()?;
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = tail;
    }
    Some(total)
}

/// `key="value"` lines, the values quoted as in Go.
pub(crate) fn downward(text: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.trim_matches('"').to_owned())))
    };
    text.lines().filter_map(pair).collect()
}

/// What injection has found in the annotations `prometheus.io/*` of the pod.
#[derive(Deserialize)]
pub(crate) struct PrometheusAnnotations {
    scrape: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    port: String,
}

impl PrometheusAnnotations {
    /// Port 80 and `/metrics` unless said otherwise, as Prometheus itself has it.
    pub fn parse(text: &str) -> Option<(u16, String)> {
        let annotations: Self = serde_json::from_str(text).ok()?;
        let path = if annotations.path.is_empty() { "/metrics".to_owned() } else { annotations.path };
        let port = if annotations.port.is_empty() { Ok(80) } else { annotations.port.parse() };
        (annotations.scrape == "true").then_some((port.ok()?, path))
    }
}
