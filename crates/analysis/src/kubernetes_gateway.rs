//! The Gateway API: policies that select its gateways by labels, which has no effect (`IST0166`), and definitions that are
//! too old (`IST0176`).

use crate::{Mesh, code, foreign::DEFINITION, mesh::rows, report::Report, workload::pods};
use base::ObjectRef;
use std::collections::BTreeMap;

/// The label of pods that serve a gateway.
const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The annotation of definitions that says their version.
const BUNDLE_VERSION: &str = "gateway.networking.k8s.io/bundle-version";

/// The oldest versions that are read.
const OLDEST: [(&str, [u64; 3]); 3] = [
    ("grpcroutes.gateway.networking.k8s.io", [1, 1, 0]),
    ("backendtlspolicies.gateway.networking.k8s.io", [1, 4, 0]),
    ("tlsroutes.gateway.networking.k8s.io", [1, 5, 0]),
];

pub(crate) fn selectors(mesh: &Mesh<'_>, report: &mut Report) {
    let store = mesh.store;
    let mut check = |object: ObjectRef, attached: bool, labels: Option<&BTreeMap<String, String>>| {
        let Some(labels) = labels.filter(|_| !attached) else { return };
        for pod in pods(mesh).filter(|pod| pod.metadata.namespace == object.namespace && pod.metadata.labels.contain(labels)) {
            let Some(gateway) = pod.metadata.labels.get(GATEWAY_NAME) else { continue };
            let text = format!(
                "Ineffective selector on Kubernetes Gateway {gateway}. Use the TargetRef field to attach this resource to the Kubernetes Gateway."
            );
            report.add(code::INEFFECTIVE_SELECTOR, object.clone(), "spec.selector", text);
        }
    };
    for policy in rows(&store.authorization_policies) {
        check(policy.object_ref(), policy.spec.target_ref.is_some(), policy.spec.selector.as_ref().map(|selector| &selector.match_labels));
    }
    for policy in rows(&store.request_authentications) {
        check(policy.object_ref(), policy.spec.target_ref.is_some(), policy.spec.selector.as_ref().map(|selector| &selector.match_labels));
    }
    for policy in rows(&store.telemetries) {
        check(policy.object_ref(), policy.spec.target_ref.is_some(), policy.spec.selector.as_ref().map(|selector| &selector.match_labels));
    }
    for policy in rows(&store.wasm_plugins) {
        check(policy.object_ref(), policy.spec.target_ref.is_some(), policy.spec.selector.as_ref().map(|selector| &selector.match_labels));
    }
}

pub(crate) fn versions(mesh: &Mesh<'_>, report: &mut Report) {
    for definition in &mesh.foreign.definitions {
        let name = &*definition.metadata.name;
        let Some((_, oldest)) = OLDEST.iter().find(|(known, _)| *known == name) else { continue };
        let Some(installed) = definition.metadata.annotations.get(BUNDLE_VERSION) else { continue };
        let Some(numbers) = numbers(installed) else { continue };
        if numbers < *oldest {
            let oldest = oldest.map(|number| number.to_string()).join(".");
            let installed = installed.trim_start_matches('v');
            let text = format!(
                "The Gateway API CRD {name} has version {installed}, below the minimum {oldest} that is read; its objects have no effect. \
                 Install a newer version of the Gateway API."
            );
            report.add(code::GATEWAY_API_CRD_VERSION_BELOW_MINIMUM, definition.object_ref(DEFINITION), "", text);
        }
    }
}

/// The three numbers of `v1.4.0-rc.1`.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let plain = version.trim_start_matches('v').split(['-', '+']).next()?;
    let mut parts = plain.split('.').map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?];
    parts.next().is_none().then_some(numbers)
}
