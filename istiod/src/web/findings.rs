//! What is wrong, and with which object: `diagnosticsz` and `rejections`. Istio has neither.

use super::{
    Window,
    debug::{Answer, Parameters},
    proxies::encode,
};
use analysis::{Foreign, Mesh, Needs};
use base::Diagnostic;
use serde_json::{Value, json};

/// What is to be said of single objects, by file; then of objects together; then of what classes of proxies get of them.
/// Found now, for whoever asks: nothing of it is kept from turn to turn.
pub fn diagnosticsz(window: &Window, _: &Parameters) -> Answer {
    let published = window.published();
    let mesh = Mesh { store: &published.store, foreign: &Foreign::default(), snapshot: Some(&published.snapshot) };
    // A source without pods knows nothing of workloads.
    let known = if published.store.pods.is_empty() { Needs::Services } else { Needs::Workloads };
    let together = analysis::analyze(&mesh, known, false);
    let classes = xds::diagnostics(&published.snapshot, published.classes.iter());
    let all: Vec<&Diagnostic> = published.store.findings.values().flatten().chain(&together).chain(&classes).collect();
    encode(all)
}

/// The responses that proxies have refused and not accepted since, with the objects behind them.
pub fn rejections(window: &Window, _: &Parameters) -> Answer {
    let rejections = window.front.rejections();
    let rows = rejections.values().map(|rejection| {
        let resources: Vec<Value> =
            rejection.resources.iter().map(|(name, version)| json!({"name": **name, "version": version.to_string()})).collect();
        json!({
            "proxy": *rejection.proxy,
            "type": rejection.kind.url(),
            "resources": resources,
            "objects": rejection.origins,
            "message": rejection.message,
        })
    });
    Ok(rows.collect())
}
