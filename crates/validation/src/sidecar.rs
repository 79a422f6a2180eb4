//! Sidecar (Istio's `ValidateSidecar`).

use crate::{
    destination_rule::connection_pool,
    host::{self, HostOwner, fqdn_error, port, port_name, unix_path},
    report::{Field, Report, each},
    selector::selector_labels,
    server_tls,
    service_entry::protocol,
    virtual_service::destination,
};
use base::Protocol;
use istio_api::networking::{
    gateway::{ServerTlsMode, ServerTlsSettings},
    sidecar::{CaptureMode, IstioEgressListener, IstioIngressListener, OutboundTrafficMode, OutboundTrafficPolicy, Sidecar, SidecarPort},
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn validate(report: &mut Report, namespace: &str, sidecar: &Sidecar) {
    let at = Field::Root("spec");
    if let Some(workloads) = &sidecar.workload_selector {
        let at = at.key("workloadSelector");
        if workloads.labels.is_empty() {
            report.warning(&at, "sidecar: workload selector specified without labels, will be applied to all services in namespace");
        }
        selector_labels(report, &at.key("labels"), &workloads.labels);
    }
    let nothing = sidecar.outbound_traffic_policy.is_none() && sidecar.inbound_connection_pool.is_none();
    if sidecar.ingress.is_empty() && sidecar.egress.is_empty() && nothing {
        report.error(&at, "sidecar: empty configuration provided");
    }
    let mut numbers = BTreeSet::new();
    each(report, &at, "ingress", &sidecar.ingress, |report, at, listener| ingress(report, at, listener, &mut numbers));
    if let Some(pool) = &sidecar.inbound_connection_pool {
        connection_pool(report, &at.key("inboundConnectionPool"), pool);
    }
    egress_order(report, &at, &sidecar.egress);
    let (mut numbers, mut sockets) = (BTreeSet::new(), BTreeSet::new());
    each(report, &at, "egress", &sidecar.egress, |report, at, listener| {
        if let Some(port) = &listener.port {
            egress_port(report, at, listener, port);
            let unique = if listener.bind.starts_with("unix://") {
                sockets.insert(listener.bind.clone())
            } else {
                numbers.insert((port.number, listener.bind.clone()))
            };
            if !unique {
                report.error(&at.key("port"), "sidecar: ports on IP bound listeners and unix domain sockets must be unique");
            }
        }
        egress_hosts(report, at, namespace, &listener.hosts);
    });
    if let Some(policy) = &sidecar.outbound_traffic_policy {
        outbound(report, &at.key("outboundTrafficPolicy"), policy);
    }
}

fn ingress(report: &mut Report, at: &Field<'_>, listener: &IstioIngressListener, numbers: &mut BTreeSet<u32>) {
    let Some(inbound) = &listener.port else {
        report.error(&at.key("port"), "sidecar: port is required for ingress listeners");
        return;
    };
    listener_port(report, &at.key("port"), inbound);
    if !listener.bind.is_empty() {
        host::ip(report, &at.key("bind"), &listener.bind);
    }
    if !numbers.insert(inbound.number) {
        report.error(&at.key("port").key("number"), "sidecar: ports on IP bound listeners must be unique");
    }
    if !listener.default_endpoint.is_empty() {
        default_endpoint(report, &at.key("defaultEndpoint"), &listener.default_endpoint);
    }
    let speaks = Protocol::parse(&inbound.protocol);
    if let Some(tls) = &listener.tls {
        ingress_tls(report, &at.key("tls"), tls, speaks);
    }
    if let Some(pool) = &listener.connection_pool {
        let at = at.key("connectionPool");
        connection_pool(report, &at, pool);
        if pool.http.is_some() && !speaks.is_http() && !speaks.is_unsupported() {
            let (number, name, protocol) = (inbound.number, &inbound.name, inbound.protocol.to_ascii_lowercase());
            report.warning(
                &at.key("http"),
                format!(
                    "sidecar: HTTP connection pool settings are configured for port {number} ({name:?}) but its protocol is not HTTP \
                     ({protocol}); only TCP settings will apply"
                ),
            );
        }
    }
}

fn listener_port(report: &mut Report, at: &Field<'_>, listener: &SidecarPort) {
    if !listener.name.is_empty() {
        port_name(report, &at.key("name"), &listener.name);
    }
    protocol(report, &at.key("protocol"), &listener.protocol);
    port(report, &at.key("number"), listener.number);
}

fn default_endpoint(report: &mut Report, at: &Field<'_>, endpoint: &str) {
    if let Some(path) = endpoint.strip_prefix("unix://") {
        unix_path(report, at, path);
        return;
    }
    let form = "sidecar: defaultEndpoint must be of form 127.0.0.1:<port>,0.0.0.0:<port>,[::1]:port,[::]:port,unix://filepath or unset";
    let Some((address, number)) = endpoint.rsplit_once(':') else {
        report.error(at, form);
        return;
    };
    if !["", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"].contains(&address) {
        report.error(at, form);
    }
    match number.parse() {
        Ok(number) => port(report, at, number),
        Err(_) => report.error(at, format!("sidecar: defaultEndpoint port ({number}) is not a number")),
    }
}

fn ingress_tls(report: &mut Report, at: &Field<'_>, tls: &ServerTlsSettings, speaks: Protocol) {
    let unsupported = [
        ("httpsRedirect", "httpsRedirect", tls.https_redirect),
        ("credentialName", "credentialName", !tls.credential_name.is_empty()),
        ("credentialNames", "credentialNames", !tls.credential_names.is_empty()),
        ("tlsCertificates", "tls_certificates", !tls.tls_certificates.is_empty()),
    ];
    for (field, name, _) in unsupported.iter().filter(|(_, _, set)| *set) {
        report.error(&at.key(field), format!("sidecar: {name} is not currently supported"));
    }
    if matches!(tls.mode, ServerTlsMode::IstioMutual | ServerTlsMode::AutoPassthrough) {
        report.error(&at.key("mode"), format!("configuration is invalid: cannot set mode to {} in sidecar ingress tls", tls.mode.as_str()));
    }
    if !speaks.is_tls() {
        report.error(at, "server cannot have TLS settings for non HTTPS/TLS ports");
    }
    server_tls::validate(report, at, tls);
}

/// The listener without port takes what the others leave, so there is one, at the end.
fn egress_order(report: &mut Report, at: &Field<'_>, egress: &[IstioEgressListener]) {
    let at = at.key("egress");
    let mut found = false;
    for (index, _) in egress.iter().enumerate().filter(|(_, listener)| listener.port.is_none()) {
        if found {
            report.error(&at.index(index), "sidecar: egress can have only one listener with empty port");
        } else if index + 1 != egress.len() {
            report.error(&at.index(index), "sidecar: the egress listener with empty port should be the last listener in the list");
        }
        found = true;
    }
}

fn egress_port(report: &mut Report, at: &Field<'_>, listener: &IstioEgressListener, outbound: &SidecarPort) {
    let Some(path) = listener.bind.strip_prefix("unix://") else {
        listener_port(report, &at.key("port"), outbound);
        if !listener.bind.is_empty() {
            host::ip(report, &at.key("bind"), &listener.bind);
        }
        return;
    };
    unix_path(report, &at.key("bind"), path);
    if listener.capture_mode == CaptureMode::Iptables {
        report.error(&at.key("captureMode"), "sidecar: captureMode must be DEFAULT/NONE for unix domain socket listeners");
    }
    if outbound.number != 0 {
        report.error(&at.key("port").key("number"), "sidecar: port number must be 0 for unix domain socket listeners");
    }
    protocol(report, &at.key("port").key("protocol"), &outbound.protocol);
}

fn egress_hosts(report: &mut Report, at: &Field<'_>, own: &str, hosts: &[String]) {
    if hosts.is_empty() {
        report.error(&at.key("hosts"), "sidecar: egress listener must contain at least one host");
    }
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    each(report, at, "hosts", hosts, |report, at, text| {
        if let Some((namespace, name)) = text.split_once('/') {
            let namespace = if namespace == "." { own } else { namespace };
            let names = seen.entry(namespace.to_owned()).or_default();
            let known = if name == "*" { !names.is_empty() } else { names.contains(name) || names.contains("*") };
            if known {
                report.warning(at, format!("duplicated egress host: {text}"));
            }
            names.insert(name.to_owned());
        }
        host::namespaced_host(report, at, text, HostOwner::Sidecar);
    });
    let excluded = seen.keys().filter(|namespace| namespace.starts_with('~') && namespace.len() > 1).count();
    if seen.get("*").is_some_and(|names| names.contains("*")) && seen.len() > 1 + excluded {
        report.warning(&at.key("hosts"), "`*/*` host select all resources, no other hosts can be added");
    }
}

fn outbound(report: &mut Report, at: &Field<'_>, policy: &OutboundTrafficPolicy) {
    let Some(proxy) = &policy.egress_proxy else { return };
    let at = at.key("egressProxy");
    if policy.mode != OutboundTrafficMode::AllowAny {
        report.error(&at, "sidecar: egress_proxy must be set only with ALLOW_ANY outbound_traffic_policy mode");
    }
    if let Some(error) = fqdn_error(&proxy.host) {
        report.error(&at.key("host"), error);
    }
    if proxy.port.is_none() {
        report.error(&at.key("port"), "sidecar: egress_proxy port must be non-nil");
    }
    destination(report, &at, proxy);
}
