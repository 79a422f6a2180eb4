//! `/metrics`: Istio's names where we have the thing, and the counters of our own work.

use super::Window;
use crate::pipeline::Published;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use base::{Level, ObjectRef};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Display, Write},
    time::Instant,
};

/// The routes of this file; the uptime counts from here.
pub fn routes() -> Router<Window> {
    let started = Instant::now();
    Router::new().route("/metrics", get(move |State(window): State<Window>| async move { metrics(&window, started) }))
}

fn metrics(window: &Window, started: Instant) -> Response {
    match window.metrics.text() {
        Ok(text) => {
            let mut page = Page { text };
            page.write_process(started);
            page.write_published(&window.published());
            (StatusCode::OK, [(header::CONTENT_TYPE, observability::Metrics::content_type())], page.text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The text of the page. What is added here is read off the newest cut; it needs no registry, and no locks on the way of
/// a turn. The names are none of those that crates register.
struct Page {
    text: String,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Page {
    fn write_process(&mut self, started: Instant) {
        self.write(
            "istiod_uptime_seconds",
            "gauge",
            "Seconds since the process started.",
            "",
            format!("{:.3}", started.elapsed().as_secs_f64()),
        );
        self.write("pilot_info", "gauge", "The version of the control plane.", &format!("{{version=\"{VERSION}\"}}"), 1);
        self.write("istio_build", "gauge", "The build of the component.", &format!("{{component=\"pilot\",tag=\"{VERSION}\"}}"), 1);
    }

    fn write_published(&mut self, published: &Published) {
        let snapshot = &published.snapshot;
        self.gauge("pilot_services", "Services known to the control plane.", snapshot.services.len());
        self.gauge("pilot_virt_services", "VirtualServices known to the control plane.", snapshot.virtual_services.all.len());
        self.gauge("pilot_vservice_dup_domain", "Host names that several VirtualServices of the mesh claim.", duplicate_hosts(published));
        self.gauge("pilot_total_rejected_configs", "Objects that are not used, or not in full.", rejected_objects(published));
        self.gauge("istiod_classes", "Classes of proxies that are served the same.", published.classes.len());
        self.gauge("istiod_overlay_rows", "Resources that one class has for itself over the shared ones.", published.overlay_rows);
        let statistics = published.statistics;
        self.counter("istiod_turns_total", "Turns taken.", statistics.turns);
        self.counter("istiod_endpoint_turns_total", "Turns that touched endpoints only.", statistics.endpoint_turns);
        self.counter("istiod_classes_generated_total", "Classes generated as a whole.", statistics.classes_generated);
        self.counter("istiod_cluster_rows_built_total", "Rows of clusters built, one for each service.", statistics.cluster_rows);
        self.counter("istiod_endpoint_rows_built_total", "ClusterLoadAssignments built.", statistics.endpoint_rows);
        self.counter("istiod_virtual_host_rows_built_total", "Virtual hosts built.", statistics.virtual_host_rows);
        self.counter("istiod_route_rows_built_total", "Route configurations put together.", statistics.route_rows);
        self.counter("istiod_listener_rows_built_total", "Listeners built.", statistics.listener_rows);
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.write(name, "gauge", help, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.write(name, "counter", help, "", value);
    }

    fn write(&mut self, name: &str, kind: &str, help: &str, labels: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}");
    }
}

/// Of the VirtualServices of the mesh that claim one host name, sidecars use the oldest that they see.
fn duplicate_hosts(published: &Published) -> usize {
    let mut claims: BTreeMap<_, usize> = BTreeMap::new();
    for row in &published.snapshot.virtual_services.all {
        if row.gateways.contains(model::MESH_GATEWAY) {
            row.hosts.iter().for_each(|host| *claims.entry(host).or_default() += 1);
        }
    }
    claims.values().filter(|claims| **claims > 1).count()
}

fn rejected_objects(published: &Published) -> usize {
    let errors = published.store.findings.values().flatten().filter(|finding| finding.level == Level::Error);
    errors.filter_map(|finding| finding.object.as_ref()).collect::<BTreeSet<&ObjectRef>>().len()
}
