//! What is to be said about a class of proxies, rather than about an object alone.

use crate::class::{ClassKey, Target};
use base::{Diagnostic, Protocol};
use envoy::authz::{HttpField, http_fields};
use istio_api::security::authorization_policy::{Action, Rule};
use istio_api::security::peer_authentication::MutualTlsMode;
use model::{Certificates, CredentialUser, PolicySubject, ProxyKind, Referrer, Snapshot, WorkloadPolicies};
use std::collections::BTreeSet;

/// Everything that is to be said about the classes and about policies that apply to them.
pub fn diagnostics<'a>(snapshot: &Snapshot, classes: impl Iterator<Item = &'a ClassKey>) -> Vec<Diagnostic> {
    let (sidecars, gateways): (Vec<_>, Vec<_>) = classes.partition(|class| class.kind == ProxyKind::Sidecar);
    let mut out = BTreeSet::new();
    credentials(snapshot, &gateways, &mut out);
    without_certificate(snapshot, &sidecars, &mut out);
    if snapshot.authorization_policies.iter().next().is_some() {
        authorization(snapshot, &sidecars, &mut out);
        out.extend(crate::resolve::authorization::diagnostics(snapshot));
    }
    out.into_iter().collect()
}

/// Credentials that a connected gateway does not get.
fn credentials(snapshot: &Snapshot, gateways: &[&ClassKey], out: &mut BTreeSet<Diagnostic>) {
    for class in gateways {
        let user = CredentialUser { namespace: &class.namespace, cluster: Some(&class.cluster), referrer: Referrer::Gateway };
        let selecting = snapshot.gateways_in_reach(&class.namespace).filter(|gateway| class.labels.contain(&gateway.spec.selector));
        out.extend(selecting.flat_map(|gateway| snapshot.credential_findings(gateway, user)));
    }
}

/// Rules that ask for what connections do not have, and policies that ask several providers.
fn authorization(snapshot: &Snapshot, sidecars: &[&ClassKey], out: &mut BTreeSet<Diagnostic>) {
    for class in sidecars {
        let subject = PolicySubject { namespace: &class.namespace, labels: &class.labels };
        let policies = snapshot.authorization_policies.of_workload(subject);
        if policies.custom.len() > 1 && !snapshot.features.multiple_custom_providers {
            several_providers(&policies, out);
        }
        for target in class.targets.iter().filter(|target| is_tcp(snapshot, target)) {
            http_rules(&policies, target.target, out);
        }
    }
}

fn is_tcp(snapshot: &Snapshot, target: &Target) -> bool {
    let service = snapshot.services.get(&mut incremental::Cx::default(), &target.service);
    let protocol = service.and_then(|service| service.port(target.port)).map(|port| port.protocol);
    protocol.is_some_and(|protocol| !protocol.is_http() && !protocol.is_unsupported() && protocol != Protocol::Udp)
}

fn several_providers(policies: &WorkloadPolicies, out: &mut BTreeSet<Diagnostic>) {
    let names: Vec<&str> = policies.custom.keys().map(String::as_str).collect();
    for policy in policies.custom.values().flatten() {
        let text = format!(
            "everything that the policy matches is refused: policies of one workload ask several providers ({}); let them ask one, or \
             start istiod with PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS=true",
            names.join(", ")
        );
        out.insert(Diagnostic::error("SeveralExtensionProviders", Some(policy.object_ref()), "spec.provider.name", text));
    }
}

/// A rule on a TCP port with fields that only requests have. A rule whose operations all name other ports is not meant there.
fn http_rules(policies: &WorkloadPolicies, port: u16, out: &mut BTreeSet<Diagnostic>) {
    let elsewhere = |rule: &Rule| {
        let ports = |operation: &istio_api::security::authorization_policy::Operation| {
            !operation.ports.is_empty() && !operation.ports.iter().any(|wanted| wanted.parse() == Ok(port))
        };
        !rule.to.is_empty() && rule.to.iter().all(|to| to.operation.as_ref().is_some_and(ports))
    };
    for policy in policies.iter() {
        for (index, rule) in policy.spec.rules.iter().enumerate().filter(|(_, rule)| !elsewhere(rule)) {
            let Some(field) = http_fields(rule).into_iter().next() else { continue };
            let field = match field {
                HttpField::Source(at) => format!("spec.rules[{index}].from[{at}].source"),
                HttpField::Operation(at) => format!("spec.rules[{index}].to[{at}].operation"),
                HttpField::Condition(at) => format!("spec.rules[{index}].when[{at}].key"),
            };
            let effect = match policy.spec.action {
                Action::Allow => "so the rule allows nothing there",
                Action::Deny => "so the rule refuses whatever its other fields match",
                Action::Audit => "so the rule logs whatever its other fields match",
                Action::Custom => "so the provider is asked about whatever its other fields match",
            };
            let text = format!(
                "only HTTP requests have this, and port {port} of a workload that the policy applies to is TCP, {effect}; name the HTTP \
                 ports in operation.ports, or use fields that connections have (principals, namespaces, ipBlocks, ports)"
            );
            out.insert(Diagnostic::warning("HttpRuleOnTcpPort", Some(policy.object_ref()), field, text));
        }
    }
}

/// Ports that refuse every connection, because a policy demands mutual TLS of a proxy that has no certificate.
fn without_certificate(snapshot: &Snapshot, sidecars: &[&ClassKey], out: &mut BTreeSet<Diagnostic>) {
    for class in sidecars.iter().filter(|class| class.certificates == Certificates::None) {
        let policies = &snapshot.peer_authentications;
        let ports: BTreeSet<u16> = class.targets.iter().map(|target| target.target).collect();
        for port in ports {
            if policies.mode(&class.namespace, &class.labels, port) != MutualTlsMode::Strict {
                continue;
            }
            let origin = policies.deciding(&class.namespace, &class.labels, port).map(|policy| policy.object_ref());
            let text = format!(
                "port {port} of a workload in {} refuses every connection: mutual TLS is demanded, and its proxy has no certificate; \
                 start the proxy with an agent, or allow plain text (mode PERMISSIVE or DISABLE)",
                class.namespace
            );
            out.insert(Diagnostic::warning("ProxyWithoutCertificate", origin, "spec.mtls.mode", text));
        }
    }
}
