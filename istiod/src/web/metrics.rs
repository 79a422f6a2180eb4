//! `/metrics`: Istio's names where we have the thing, and the counters of our own work.

use super::Window;
use crate::pipeline::Published;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use std::fmt::Write;

/// The routes of this file.
pub fn routes() -> Router<Window> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(window): State<Window>) -> impl IntoResponse {
    match window.metrics.text() {
        Ok(mut text) => {
            write_published(&mut text, &window.published());
            (StatusCode::OK, [(header::CONTENT_TYPE, observability::Metrics::content_type())], text)
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}

/// The figures that are read off the newest cut; they need no registry, and no locks on the way of a turn.
fn write_published(text: &mut String, published: &Published) {
    let statistics = published.statistics;
    let rows: [(&str, &str, &str, u64); 11] = [
        ("pilot_services", "gauge", "Services known to the control plane.", published.snapshot.services.len() as u64),
        ("pilot_virt_services", "gauge", "VirtualServices known to the control plane.", published.snapshot.virtual_services.0.len() as u64),
        ("istiod_turns_total", "counter", "Turns taken.", statistics.turns),
        ("istiod_endpoint_turns_total", "counter", "Turns that touched endpoints only.", statistics.endpoint_turns),
        ("istiod_classes", "gauge", "Classes of proxies that are served the same.", published.classes as u64),
        ("istiod_overlay_rows", "gauge", "Resources that one class has for itself over the shared ones.", published.overlay_rows as u64),
        ("istiod_classes_generated_total", "counter", "Classes generated as a whole.", statistics.classes_generated),
        ("istiod_cluster_rows_built_total", "counter", "Rows of clusters built, one for each service.", statistics.cluster_rows),
        ("istiod_endpoint_rows_built_total", "counter", "ClusterLoadAssignments built.", statistics.endpoint_rows),
        ("istiod_route_rows_built_total", "counter", "Route configurations built.", statistics.route_rows),
        ("istiod_listener_rows_built_total", "counter", "Listeners built.", statistics.listener_rows),
    ];
    for (name, kind, help, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
}
