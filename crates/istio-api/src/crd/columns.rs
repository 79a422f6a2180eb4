//! What `kubectl get` shows of each kind.

use crate::Kind;
use serde_json::{Value, json};

/// The columns beside the name, in order.
pub(super) fn of(kind: Kind) -> Vec<Value> {
    let age = ("Age", "date", ".metadata.creationTimestamp", "When the object was created.");
    let columns: &[(&str, &str, &str, &str)] = match kind {
        Kind::VirtualService => &[
            ("Gateways", "string", ".spec.gateways", "The gateways that apply the rules; empty means all sidecars."),
            ("Hosts", "string", ".spec.hosts", "The hosts that the rules are for."),
            age,
        ],
        Kind::DestinationRule => &[("Host", "string", ".spec.host", "The service that the policy is for."), age],
        Kind::ServiceEntry => &[
            ("Hosts", "string", ".spec.hosts", "The names of the service."),
            ("Location", "string", ".spec.location", "Whether the service belongs to the mesh."),
            ("Resolution", "string", ".spec.resolution", "How the endpoints are found."),
            age,
        ],
        Kind::WorkloadEntry => &[age, ("Address", "string", ".spec.address", "Where the workload is reached.")],
        Kind::PeerAuthentication => &[("Mode", "string", ".spec.mtls.mode", "Whether mutual TLS is asked for."), age],
        Kind::AuthorizationPolicy => &[("Action", "string", ".spec.action", "What happens to requests that match."), age],
        Kind::WorkloadGroup | Kind::Telemetry | Kind::WasmPlugin | Kind::TrafficExtension => &[age],
        // Istio defines none for the others; the API server then shows the age.
        _ => &[],
    };
    let column = |(name, kind, path, description): &(&str, &str, &str, &str)| json!({ "name": name, "type": kind, "jsonPath": path, "description": description });
    columns.iter().map(column).collect()
}
