//! Applications that run as the proxy's user, whose traffic is therefore never captured (`IST0144`).

use crate::{
    Mesh, code,
    foreign::DEPLOYMENT,
    report::Report,
    workload::{PROXY, is_control_plane, pods},
};
use istio_api::kubernetes::pod::{Pod, SecurityContext};

const PROXY_USER: i64 = 1337;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    const TEXT: &str = "User ID (UID) 1337 is reserved for the sidecar proxy.";
    for pod in pods(mesh).filter(|pod| !is_control_plane(&pod.metadata) && runs_as_proxy(&pod.spec)) {
        report.add(code::INVALID_APPLICATION_UID, pod.object_ref(), "", TEXT);
    }
    let deployments = mesh.foreign.deployments.iter();
    for deployment in deployments.filter(|deployment| !is_control_plane(&deployment.metadata) && runs_as_proxy(&deployment.content.pod)) {
        report.add(code::INVALID_APPLICATION_UID, deployment.object_ref(DEPLOYMENT), "", TEXT);
    }
}

fn runs_as_proxy(pod: &Pod) -> bool {
    let is_proxy = |context: Option<&SecurityContext>| context.and_then(|context| context.run_as_user) == Some(PROXY_USER);
    let applications = pod.containers.iter().filter(|container| container.name != PROXY && container.name != "istio-operator");
    is_proxy(pod.security_context.as_ref()) || applications.map(|container| container.security_context.as_ref()).any(is_proxy)
}
