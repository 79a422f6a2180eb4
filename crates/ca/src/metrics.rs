//! The metrics of the CA: under Istio's names where Istio has the thing, and ours beside them.

use crate::signer::Signer;
use prometheus::{Error, Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector};
use std::time::SystemTime;

/// Handles to all metrics of the CA; clones are the same.
#[derive(Clone)]
pub struct Metrics {
    /// Requests for certificates.
    pub csr: IntCounter,
    /// Issued certificates.
    pub issued: IntCounter,
    /// CSRs that could not be parsed or verified.
    pub csr_parsing_errors: IntCounter,
    /// CSRs that could not be signed.
    pub csr_sign_errors: IntCounterVec,
    /// Connections of the secured port.
    pub connections: IntGauge,
    /// How far a rotation of the root is: 0 there is none, 1 roots are distributed, 2 the new one signs.
    pub rotation_phase: IntGauge,
    /// Proxies that hold it up.
    pub rotation_waiting: IntGauge,
    authentication_failures: IntCounter,
    refusals: IntCounterVec,
    tokens: IntCounterVec,
    root_expiry: Gauge,
    root_seconds: Gauge,
    chain_expiry: Gauge,
    chain_seconds: Gauge,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            csr: counter(registry, "citadel_server_csr_count", "Requests for certificates.")?,
            issued: counter(registry, "citadel_server_success_cert_issuance_count", "Certificates that were issued.")?,
            csr_parsing_errors: counter(
                registry,
                "citadel_server_csr_parsing_err_count",
                "CSRs that could not be parsed, or whose signature is wrong.",
            )?,
            csr_sign_errors: registered(
                registry,
                IntCounterVec::new(Opts::new("citadel_server_csr_sign_err_count", "CSRs that could not be signed."), &["error"]),
            )?,
            connections: registered(registry, IntGauge::new("istiod_secured_connections", "Open connections of the secured gRPC port."))?,
            rotation_phase: registered(
                registry,
                IntGauge::new(
                    "istiod_root_rotation_phase",
                    "How far a rotation of the root is: 0 none, 1 roots are distributed, 2 the new one signs.",
                ),
            )?,
            rotation_waiting: registered(
                registry,
                IntGauge::new("istiod_root_rotation_waiting", "Proxies and replicas that a rotation waits for."),
            )?,
            authentication_failures: counter(
                registry,
                "citadel_server_authentication_failure_count",
                "Callers that could not be authenticated.",
            )?,
            refusals: registered(
                registry,
                IntCounterVec::new(
                    Opts::new("istiod_secured_refusals", "Callers and connections of the secured gRPC port that were refused."),
                    &["reason"],
                ),
            )?,
            tokens: registered(
                registry,
                IntCounterVec::new(Opts::new("istiod_tokens_accepted", "Tokens that were found to be good, by what decided it."), &["by"]),
            )?,
            root_expiry: gauge(registry, "citadel_server_root_cert_expiry_timestamp", "Unix time at which the root expires.")?,
            root_seconds: gauge(registry, "citadel_server_root_cert_expiry_seconds", "Seconds until the root expires.")?,
            chain_expiry: gauge(
                registry,
                "citadel_server_cert_chain_expiry_timestamp",
                "Unix time at which the signing certificate, or one above it, expires.",
            )?,
            chain_seconds: gauge(
                registry,
                "citadel_server_cert_chain_expiry_seconds",
                "Seconds until the signing certificate, or one above it, expires.",
            )?,
        })
    }

    /// Somebody was turned away.
    pub fn refused(&self, reason: &str) {
        self.refusals.with_label_values(&[reason]).inc();
    }

    /// States when the root and what signs will expire.
    pub fn expiry(&self, signer: &Signer, now: SystemTime) {
        let now = crate::signer::seconds(now);
        let root = signer.bundle.expires();
        self.root_expiry.set(root as f64);
        self.root_seconds.set(root.saturating_sub(now) as f64);
        self.chain_expiry.set(signer.expires as f64);
        self.chain_seconds.set(signer.expires.saturating_sub(now) as f64);
    }

    pub(crate) fn authentication_failed(&self, reason: &str) {
        self.authentication_failures.inc();
        self.refused(reason);
    }

    pub(crate) fn token_checked(&self, by: &str) {
        self.tokens.with_label_values(&[by]).inc();
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: Result<C, Error>) -> Result<C, Error> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, Error> {
    registered(registry, IntCounter::new(name, help))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<Gauge, Error> {
    registered(registry, Gauge::new(name, help))
}
