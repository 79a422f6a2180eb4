//! Gateway (Istio's `ValidateGateway`).

use crate::{
    host::{self, HostOwner, is_label, port, unix_path},
    report::{Field, Report, each},
    server_tls,
};
use base::Protocol;
use istio_api::Metadata;
use istio_api::networking::gateway::{Gateway, Port, Server, ServerTlsMode};
use std::collections::BTreeSet;

pub(crate) fn validate(report: &mut Report, metadata: &Metadata, gateway: &Gateway) {
    let name: &str = &metadata.name;
    let owner = match metadata.annotations.get("internal.istio.io/gateway-semantics").map(String::as_str) {
        Some("gateway") => HostOwner::GatewayApi,
        _ => HostOwner::Gateway,
    };
    let at = Field::Root("spec");
    if !is_label(name) {
        report.error(&Field::Root("metadata.name"), format!("invalid gateway name: {name:?}; it must be one DNS label, without dots"));
    }
    if gateway.servers.is_empty() {
        report.error(&at.key("servers"), "gateway must have at least one server");
    }
    let mut port_names = BTreeSet::new();
    each(report, &at, "servers", &gateway.servers, |report, at, server| {
        validate_server(report, at, server, owner);
        if let Some(port) = server.port.as_ref().filter(|port| !port.name.is_empty() && !port_names.insert(port.name.clone())) {
            report.error(&at.key("port").key("name"), format!("port names in servers must be unique: duplicate name {}", port.name));
        }
    });
    for (key, value) in gateway.selector.iter().filter(|(_, value)| value.contains('*')) {
        report.warning(&at.key("selector").key(key), format!("wildcard {value:?} is compared letter by letter in selectors"));
    }
}

fn validate_server(report: &mut Report, at: &Field<'_>, server: &Server, owner: HostOwner) {
    if server.hosts.is_empty() {
        report.error(&at.key("hosts"), "server config must contain at least one host");
    }
    each(report, at, "hosts", &server.hosts, |report, at, host| host::namespaced_host(report, at, host, owner));
    let on_socket = server.bind.starts_with("unix://");
    match server.bind.strip_prefix("unix://") {
        Some(path) => unix_path(report, &at.key("bind"), path),
        None if !server.bind.is_empty() => host::ip(report, &at.key("bind"), &server.bind),
        None => {}
    }
    if let Some(tls) = &server.tls {
        server_tls::validate(report, &at.key("tls"), tls);
    }
    let Some(port) = &server.port else {
        report.error(&at.key("port"), "port is required");
        return;
    };
    let before = report.diagnostics.len();
    server_port(report, &at.key("port"), port, on_socket);
    if report.diagnostics.len() == before {
        protocol_and_tls(report, at, server, Protocol::parse(&port.protocol));
    }
}

fn server_port(report: &mut Report, at: &Field<'_>, server: &Port, on_socket: bool) {
    if Protocol::parse(&server.protocol).is_unsupported() {
        let supported = "HTTP, HTTP2, GRPC, GRPC-WEB, MONGO, REDIS, MYSQL, TCP";
        report.error(&at.key("protocol"), format!("invalid protocol {:?}, supported protocols are {supported}", server.protocol));
    }
    if on_socket && server.number != 0 {
        report.error(&at.key("number"), format!("port number must be 0 for unix domain socket: {}", server.number));
    } else if !on_socket {
        port(report, &at.key("number"), server.number);
    }
    if server.target_port != 0 {
        port(report, &at.key("targetPort"), server.target_port);
    }
    if server.name.is_empty() {
        report.error(&at.key("name"), "port name must be set");
    }
}

fn protocol_and_tls(report: &mut Report, at: &Field<'_>, server: &Server, protocol: Protocol) {
    let tls_at = at.key("tls");
    match &server.tls {
        None if protocol.is_tls() => report.error(&tls_at, "server must have TLS settings for HTTPS/TLS protocols"),
        // Only a redirect is allowed there, which leaves the mode unset.
        Some(tls) if protocol.is_http() && tls.mode != ServerTlsMode::Passthrough => {
            report.error(&tls_at, "server cannot have TLS settings for plain text HTTP ports");
        }
        _ => {}
    }
    if let Some(tls) = &server.tls
        && tls.https_redirect
        && !protocol.is_http()
    {
        report.warning(&tls_at.key("httpsRedirect"), "tls.httpsRedirect should only be used with http servers");
    }
}
