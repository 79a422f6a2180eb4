//! Containers whose image injection should have filled in (`IST0146`, `IST0147`).

use crate::{
    Mesh, code,
    foreign::{DEPLOYMENT, WebhookKind},
    report::Report,
    selector::LabelSelector,
    workload::{PROXY, pods},
};
use base::Labels;
use istio_api::kubernetes::pod::Pod;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for pod in pods(mesh).filter(|pod| waits(&pod.spec)) {
        report.add(code::IMAGE_AUTO_WITHOUT_INJECTION_ERROR, pod.object_ref(), "", text("Pod", &pod.metadata.name));
    }
    let mutating = mesh.foreign.webhooks.iter().filter(|webhook| webhook.content.kind == WebhookKind::Mutating);
    let webhooks: Vec<_> =
        mutating.flat_map(|configuration| &configuration.content.webhooks).filter(|webhook| webhook.name.ends_with("istio.io")).collect();
    for deployment in mesh.foreign.deployments.iter().filter(|deployment| waits(&deployment.content.pod)) {
        let own = deployment.metadata.namespace.as_str();
        let namespace = mesh.namespace_labels(if own.is_empty() { "default" } else { own }).cloned().unwrap_or_default();
        let pod = &deployment.content.pod_metadata.labels;
        let selects = |selector: &Option<LabelSelector>, labels: &Labels| selector.as_ref().is_none_or(|selector| selector.selects(labels));
        if !webhooks.iter().any(|webhook| selects(&webhook.namespace_selector, &namespace) && selects(&webhook.object_selector, pod)) {
            let text = text(DEPLOYMENT, &deployment.metadata.name);
            report.add(code::IMAGE_AUTO_WITHOUT_INJECTION_WARNING, deployment.object_ref(DEPLOYMENT), "", text);
        }
    }
}

fn waits(pod: &Pod) -> bool {
    pod.containers.iter().any(|container| container.name == PROXY && container.image == "auto")
}

fn text(kind: &str, name: &str) -> String {
    format!("{kind} {name} contains `image: auto` but does not match any Istio injection webhook selectors.")
}
