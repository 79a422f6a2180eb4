//! A server of a Gateway that is not served, because another one has its port or host.

use crate::{Mesh, code, report::Report, workload::pods};
use base::Labels;
use model::MergedGateway;
use std::collections::BTreeSet;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    // Every set of labels by which a workload could be told: those of pods that serve anything, and where there are none,
    // what a Gateway asks for.
    let mut workloads: BTreeSet<Labels> = BTreeSet::new();
    for gateway in snapshot.gateways.iter() {
        let serving: Vec<_> = pods(mesh).filter(|pod| pod.metadata.labels.contain(&gateway.spec.selector)).collect();
        let keys = || snapshot.gateways.iter().flat_map(|gateway| gateway.spec.selector.keys());
        let told = |labels: &Labels| {
            Labels::from(
                keys().filter_map(|key| Some((key.clone(), labels.get(key)?.to_owned()))).collect::<std::collections::BTreeMap<_, _>>(),
            )
        };
        if serving.is_empty() {
            workloads.insert(Labels::from(gateway.spec.selector.clone()));
        }
        workloads.extend(serving.iter().map(|pod| told(&pod.metadata.labels)));
    }
    let mut said = BTreeSet::new();
    for (loser, winner) in workloads.iter().flat_map(|labels| MergedGateway::dropped(snapshot, labels)) {
        let name = |server: &model::GatewayServer| server.server.port.as_ref().map(|port| port.name.clone()).unwrap_or_default();
        let text = if loser.protocol.is_tls() == winner.protocol.is_tls() && loser.protocol.is_http() == winner.protocol.is_http() {
            let shared = loser.hosts.iter().find(|(_, host)| winner.hosts.iter().any(|(_, other)| other == host));
            let host = shared.map(|(_, host)| host.to_string()).unwrap_or_default();
            format!(
                "the server {} is not served: {} has the host {host} at port {} already; leave the host to one of the two",
                name(&loser),
                winner.origin,
                loser.declared_port
            )
        } else {
            format!(
                "the server {} ({}) is not served: the server {} of {} has port {} already with {}, which cannot share it; give one of the \
                 two another port",
                name(&loser),
                loser.protocol.as_str(),
                name(&winner),
                winner.origin,
                loser.declared_port,
                winner.protocol.as_str()
            )
        };
        if said.insert((loser.origin.clone(), text.clone())) {
            report.add(code::GATEWAY_SERVER_DROPPED, loser.origin.clone(), "spec.servers", text);
        }
    }
}
