//! Of which services a gateway has clusters where it has not those of all (`PILOT_FILTER_GATEWAY_CLUSTER_CONFIG`).

use super::authentication;
use crate::class::ClassKey;
use base::Hostname;
use istio_api::mesh::extension_provider::{ExtensionProvider, Provider};
use istio_api::networking::virtual_service::{Destination, HttpRoute};
use model::{MergedGateway, PolicySubject, ProxyKind, Snapshot, VirtualService};
use registry::Resolution;
use std::collections::BTreeSet;

/// The host names that the rules of its Gateways lead to, those of extension providers, and those that it asks for keys of
/// issuers (Istio's `GatewayServices`);
/// `None` is all: also for gateways that pass mutual TLS through by the server's name, which may be any.
pub fn hosts(snapshot: &Snapshot, key: &ClassKey) -> Option<BTreeSet<Hostname>> {
    if !snapshot.features.filter_gateway_clusters || key.kind != ProxyKind::Router || snapshot.passes_by_name(&key.labels) {
        return None;
    }
    let mut hosts: BTreeSet<Hostname> = snapshot.mesh.extension_providers.iter().filter_map(host_of).collect();
    let subject = PolicySubject { namespace: &key.namespace, labels: &key.labels };
    hosts.extend(authentication::key_hosts(snapshot, subject));
    for gateway in MergedGateway::names(snapshot, &key.namespace, &key.labels) {
        for vs in snapshot.virtual_services.visible(&key.namespace, &gateway) {
            hosts.extend(destinations(vs, &gateway).map(|destination| Hostname::new(&destination.host)));
        }
    }
    let aliases: Vec<Hostname> = hosts.iter().filter_map(|host| alias(snapshot, key, host)).collect();
    hosts.extend(aliases);
    Some(hosts)
}

/// The destinations of the rules that hold at a gateway.
fn destinations<'a>(vs: &'a VirtualService, gateway: &'a str) -> impl Iterator<Item = &'a Destination> {
    let holds = move |http: &&HttpRoute| {
        http.matches.is_empty() || http.matches.iter().any(|m| m.gateways.is_empty() || m.gateways.iter().any(|name| name == gateway))
    };
    let http = vs.spec.http.iter().filter(holds).flat_map(|http| {
        let routes = http.route.iter().filter_map(|route| route.destination.as_ref());
        let mirrors = http.mirrors.iter().filter_map(|mirror| mirror.destination.as_ref());
        routes.chain(&http.mirror).chain(mirrors)
    });
    let opaque = vs.spec.tls.iter().flat_map(|tls| &tls.route).chain(vs.spec.tcp.iter().flat_map(|tcp| &tcp.route));
    http.chain(opaque.filter_map(|route| route.destination.as_ref()))
}

/// The service that the name of an ExternalName stands for.
fn alias(snapshot: &Snapshot, key: &ClassKey, host: &Hostname) -> Option<Hostname> {
    let mut found = None;
    let mut name = host.clone();
    for _ in 0..8 {
        let Resolution::Alias(target) = &snapshot.service_named(&name, &key.namespace)?.resolution else { break };
        name = target.clone();
        found = Some(name.clone());
    }
    found
}

/// `[namespace/]host` of a provider that is a service.
fn host_of(provider: &ExtensionProvider) -> Option<Hostname> {
    let service = match provider.provider()? {
        Provider::EnvoyExtAuthzHttp(settings) => &settings.service,
        Provider::EnvoyExtAuthzGrpc(settings) => &settings.service,
        Provider::Zipkin(settings) => &settings.service,
        Provider::Lightstep(settings) => &settings.service,
        Provider::Datadog(settings) => &settings.service,
        Provider::OpenCensus(settings) => &settings.service,
        Provider::SkyWalking(settings) => &settings.service,
        Provider::OpenTelemetry(settings) => &settings.service,
        Provider::EnvoyHttpAls(settings) => &settings.service,
        Provider::EnvoyTcpAls(settings) => &settings.service,
        Provider::EnvoyOtelAls(settings) => &settings.service,
        Provider::Sds(settings) => &settings.service,
        Provider::Stackdriver(_) | Provider::Prometheus(_) | Provider::EnvoyFileAccessLog(_) => return None,
    };
    Some(Hostname::new(service.split_once('/').map_or(service.as_str(), |(_, host)| host)))
}
