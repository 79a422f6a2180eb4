//! Rules for HTTP where only opaque bytes are seen, and the other way round.

use crate::{Mesh, code, mesh::rows, report::Report};
use base::Protocol;
use istio_api::{
    Object,
    security::authorization_policy::{AuthorizationPolicy, Rule},
};
use model::{MESH_GATEWAY, Snapshot};
use registry::Service;
use std::sync::Arc;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    virtual_services(snapshot, report);
    for policy in rows(&mesh.store.authorization_policies) {
        authorization(snapshot, policy, report);
    }
}

fn has_http(service: &Service) -> bool {
    service.ports.iter().any(|port| port.protocol.is_http() || port.protocol.is_unsupported())
}

fn all_http(service: &Service) -> bool {
    !service.ports.is_empty() && service.ports.iter().all(|port| port.protocol.is_http())
}

fn protocols(service: &Service) -> String {
    let ports = service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
    ports.map(|port| format!("{} {}", port.number, port.protocol.as_str())).collect::<Vec<_>>().join(", ")
}

fn virtual_services(snapshot: &Snapshot, report: &mut Report) {
    for rules in snapshot.virtual_services.all.iter().filter(|rules| rules.gateways.contains(MESH_GATEWAY)) {
        for host in rules.hosts.iter().filter(|host| !host.is_wildcard()) {
            let Some(service) = snapshot.service_named(host, &rules.namespace).filter(|service| !service.ports.is_empty()) else {
                continue;
            };
            let (field, what, instead) = match (&rules.spec.http[..], &rules.spec.tcp[..], &rules.spec.tls[..]) {
                ([_, ..], _, _) if !has_http(service) => {
                    ("spec.http", "rules for HTTP", "name the port of the service http, or write tcp or tls rules")
                }
                ([], [_, ..], _) | ([], _, [_, ..]) if all_http(service) => ("spec.tcp", "rules for TCP or TLS", "write http rules"),
                _ => continue,
            };
            let text = format!(
                "{} of {host} has no port for {what} ({}), so that they are never used; {instead}",
                service.origin,
                protocols(service)
            );
            report.add(code::RULES_OF_ANOTHER_PROTOCOL, rules.origin.clone(), field, text);
        }
    }
}

/// Conditions on HTTP never hold for opaque connections: an ALLOW that has them refuses all, and DENY goes by what is left.
fn authorization(snapshot: &Snapshot, policy: &Object<AuthorizationPolicy>, report: &mut Report) {
    let Some(index) = policy.spec.rules.iter().position(needs_http) else { return };
    let root = policy.metadata.namespace == snapshot.root_namespace();
    let wanted = policy.spec.selector.as_ref().map(|selector| &selector.match_labels);
    let about = |service: &&Arc<Service>| {
        let near = root || service.key.namespace == policy.metadata.namespace;
        near && wanted.is_some_and(|wanted| !service.selector.is_empty() && service.selector.contain(wanted))
    };
    let opaque = |service: &&Arc<Service>| !service.ports.is_empty() && !has_http(service);
    let Some(service) = snapshot.services_by_age.iter().filter(about).find(opaque) else { return };
    let text = format!(
        "{} of the workload has no HTTP port ({}), and on opaque connections no condition on requests (methods, paths, hosts, headers, \
         requestPrincipals) ever holds; name the port http, or use ports, namespaces and principals only",
        service.origin,
        protocols(service)
    );
    report.add(code::RULES_OF_ANOTHER_PROTOCOL, policy.object_ref(), format!("spec.rules[{index}]"), text);
}

fn needs_http(rule: &Rule) -> bool {
    let operation = rule.to.iter().filter_map(|to| to.operation.as_ref()).any(|operation| {
        let lists =
            [&operation.hosts, &operation.not_hosts, &operation.methods, &operation.not_methods, &operation.paths, &operation.not_paths];
        lists.iter().any(|list| !list.is_empty())
    });
    let source = rule.from.iter().filter_map(|from| from.source.as_ref());
    let source = source.into_iter().any(|source| !source.request_principals.is_empty() || !source.not_request_principals.is_empty());
    operation || source || rule.when.iter().any(|when| when.key.starts_with("request."))
}
