//! The AuthorizationPolicies of a class, and the authorizers that they name.

use super::{View, authentication};
use base::{Diagnostic, Hostname, Namespace, ObjectRef, PortNumber};
use envoy::authz::{self, AuthorizationInputs, Authorizer, CustomPolicies, PolicyInputs};
use envoy::listener::ProxyOptions;
use envoy::route::names;
use istio_api::Object;
use istio_api::mesh::extension_provider::{ExtensionProvider, Provider};
use istio_api::security::authorization_policy::{Action, AuthorizationPolicy};
use model::{PolicySubject, Snapshot, WorkloadPolicies};
use registry::{Service, ServiceKey};
use std::sync::Arc;
use xds_api::envoy::r#type::v3::StatusCode;

/// `options` with the filters that decide who may call: for listeners of a workload and of a gateway.
pub fn guarded(view: &View<'_>, mut options: ProxyOptions) -> ProxyOptions {
    let subject = PolicySubject { namespace: &view.class.namespace, labels: &view.class.labels };
    options.http.filters.extend(authentication::filter(view, subject));
    let policies = view.snapshot.authorization_policies.of_workload(subject);
    if !policies.is_empty() {
        for provider in view.snapshot.mesh.extension_providers.iter().filter(|provider| policies.custom.contains_key(&provider.name)) {
            // It may come and go.
            view.reads.record(&host_of(provider));
        }
        let inputs = inputs(view.snapshot, &policies);
        options.http.filters.extend(authz::http_filters(&inputs));
        options.tcp.filters.extend(authz::tcp_filters(&inputs));
    }
    options
}

/// The policies behind what [`guarded`] adds: what is refused of a listener may be theirs.
pub fn origins(view: &View<'_>) -> Vec<ObjectRef> {
    let subject = PolicySubject { namespace: &view.class.namespace, labels: &view.class.labels };
    let tokens = view.snapshot.request_authentications.of_workload(subject).into_iter().map(|policy| policy.object_ref());
    let policies = view.snapshot.authorization_policies.of_workload(subject);
    tokens.chain(policies.iter().map(|policy| policy.object_ref())).collect()
}

fn inputs<'a>(snapshot: &'a Snapshot, policies: &'a WorkloadPolicies) -> AuthorizationInputs<'a> {
    let mesh = &snapshot.mesh;
    let usable = policies.custom.len() < 2 || snapshot.features.multiple_custom_providers;
    let custom = policies.custom.iter().map(|(provider, policies)| CustomPolicies {
        provider,
        authorizer: authorizer(snapshot, provider).ok().filter(|_| usable),
        policies: of(policies),
    });
    AuthorizationInputs {
        trust_domains: std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases).map(String::as_str).collect(),
        custom: custom.collect(),
        audit: of(&policies.audit),
        deny: of(&policies.deny),
        allow: of(&policies.allow),
    }
}

fn of(policies: &[Arc<Object<AuthorizationPolicy>>]) -> Vec<PolicyInputs<'_>> {
    let inputs = policies.iter().map(|policy| PolicyInputs {
        namespace: policy.metadata.namespace.as_str(),
        name: &policy.metadata.name,
        dry_run: model::is_dry_run(policy),
        rules: &policy.spec.rules,
    });
    inputs.collect()
}

/// The authorizer of that name in MeshConfig.
///
/// # Errors
/// If there is none, or it cannot be used; the text says what to do.
fn authorizer<'a>(snapshot: &'a Snapshot, name: &str) -> Result<Authorizer<'a>, String> {
    let mut named = snapshot.mesh.extension_providers.iter().filter(|provider| provider.name == name);
    let provider = named.next().ok_or_else(|| format!("MeshConfig has no extension provider {name:?}; add it there, or mend the name"))?;
    if named.next().is_some() {
        return Err(format!("MeshConfig has several extension providers {name:?}; give each a name of its own"));
    }
    resolve(snapshot, provider).map_err(|problem| format!("the extension provider {name:?} cannot be asked: {problem}"))
}

fn resolve<'a>(snapshot: &'a Snapshot, provider: &'a ExtensionProvider) -> Result<Authorizer<'a>, String> {
    let cluster = |service: &str, port: u32| -> Result<(&'a str, String), String> {
        let port = PortNumber::try_from(port).ok().filter(|port| *port != 0);
        let port = port.ok_or("its port is none; set one from 1 to 65535")?;
        let hostname = service_named(snapshot, service)?.key.hostname.as_str();
        Ok((hostname, names::outbound_cluster(port, "", hostname)))
    };
    match provider.provider() {
        Some(Provider::EnvoyExtAuthzHttp(settings)) => {
            let (hostname, cluster) = cluster(&settings.service, settings.port)?;
            if !settings.path_prefix.is_empty() && !settings.path_prefix.starts_with('/') {
                return Err("its pathPrefix does not begin with a slash".to_owned());
            }
            let lists = [
                &settings.include_headers_in_check,
                &settings.include_request_headers_in_check,
                &settings.headers_to_upstream_on_allow,
                &settings.headers_to_downstream_on_allow,
                &settings.headers_to_downstream_on_deny,
            ];
            if lists.into_iter().flatten().any(|header| header == "*" || header.is_empty()) {
                return Err("a header that is \"*\" or empty; name it, or give a part of its name (`x-*`)".to_owned());
            }
            Ok(Authorizer::Http { settings, hostname, cluster, status_on_error: status(&settings.status_on_error)? })
        }
        Some(Provider::EnvoyExtAuthzGrpc(settings)) => {
            let (hostname, cluster) = cluster(&settings.service, settings.port)?;
            Ok(Authorizer::Grpc { settings, hostname, cluster, status_on_error: status(&settings.status_on_error)? })
        }
        _ => Err("it is no external authorizer; set envoyExtAuthzHttp or envoyExtAuthzGrpc".to_owned()),
    }
}

/// The host name of its service; empty if it is no external authorizer.
fn host_of(provider: &ExtensionProvider) -> Hostname {
    let service = match provider.provider() {
        Some(Provider::EnvoyExtAuthzHttp(settings)) => settings.service.as_str(),
        Some(Provider::EnvoyExtAuthzGrpc(settings)) => settings.service.as_str(),
        _ => "",
    };
    Hostname::new(service.split_once('/').map_or(service, |(_, host)| host))
}

/// `[namespace/]host`; without a namespace it must be the only service of that name (Istio's `LookupCluster`).
pub(super) fn service_named<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Service>, String> {
    let cx = &mut incremental::Cx::default();
    let missing = || format!("its service {name:?} does not exist; declare it with a Service or ServiceEntry, or mend the name");
    if let Some((namespace, host)) = name.split_once('/') {
        let key = ServiceKey { hostname: Hostname::new(host), namespace: Namespace::new(namespace) };
        return snapshot.services.get(cx, &key).ok_or_else(missing);
    }
    let hostname = Hostname::new(name);
    let start = ServiceKey { hostname: hostname.clone(), namespace: Namespace::default() };
    let mut rows = snapshot.services.range(cx, start..).take_while(|(key, _)| key.hostname == hostname).map(|(_, service)| service);
    match (rows.next(), rows.next()) {
        (None, _) => Err(missing()),
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(format!("several namespaces have a service {name:?}; name one of them, `<namespace>/{name}`")),
    }
}

/// Envoy knows a fixed list of them.
fn status(text: &str) -> Result<Option<u16>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let code = text.parse::<u16>().ok().filter(|code| *code != 0 && StatusCode::try_from(i32::from(*code)).is_ok());
    code.map(Some).ok_or_else(|| format!("its statusOnError {text:?} is no HTTP status"))
}

/// What is to be said about policies alone: providers that cannot be asked.
pub fn diagnostics(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let custom = snapshot.authorization_policies.iter().filter(|policy| policy.spec.action == Action::Custom);
    let mut out = Vec::new();
    for policy in custom {
        let name = policy.spec.provider.as_ref().map(|provider| provider.name.as_str()).unwrap_or_default();
        if let Err(problem) = authorizer(snapshot, name) {
            let text = format!("everything that the policy matches is refused: {problem}");
            out.push(Diagnostic::error("ExtensionProviderMissing", Some(policy.object_ref()), "spec.provider.name", text));
        }
    }
    out
}
