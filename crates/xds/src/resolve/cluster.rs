//! The clusters of one service: one for each port, and for each subset of its rule.

use super::{
    Scope, View, auto_passthrough, endpoint as eds,
    endpoint::{EndpointClient, EndpointSpec, Surroundings},
    options,
    stat_name::StatName,
};
use crate::generate::{Built, ServiceClusters};
use crate::rows::Interner;
use base::{ObjectRef, Protocol, SpiffeIdentity};
use config::Features;
use envoy::cluster::{
    self, AutoMtls, ClusterMeshDefaults, ClusterMetadata, ClusterPolicy, ClusterProxy, Discovery, IpFamilies, OutboundClusterInputs,
    ServiceMetadata,
};
use envoy::endpoint::{LocalityGroup, LocalityPolicy, LocalitySettings, TrafficDistribution, locality_policy};
use envoy::filter::network::connection_settings;
use envoy::route::names;
use envoy::tls::SecretNames;
use istio_api::mesh::mesh_config::MeshConfig;
use istio_api::networking::destination_rule::{ClientTlsMode, Subset};
use istio_api::security::peer_authentication::MutualTlsMode;
use model::{CertificateFiles, Certificates, MergedRule, OutboundPolicy, ProxyKind};
use registry::{Endpoint, Provider, Resolution, Service, ServicePort, TargetPort};
use std::{collections::BTreeMap, sync::Arc};
use xds_api::Wire;
use xds_wire::ResourceType;

/// Everything of a class, beside the service's rule, that its clusters depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClusterTraits {
    kind: ProxyKind,
    families: model::IpFamilies,
    certificates: Certificates,
    /// The certificate that the proxy has in files.
    client_files: Option<CertificateFiles>,
    auto_mtls: bool,
    /// `None` where mutual TLS is not even tried: the mode of the service's namespace.
    disabled: bool,
    /// Whether endpoints that take HBONE are called through it.
    hbone: bool,
    /// Whether it knows the zones of its own workload.
    discovers_itself: bool,
    /// Whether names of headers keep their case in HTTP/1.
    preserves_header_case: bool,
    /// The memory of a connection, in bytes.
    buffer_limit: Option<u32>,
    /// Whether credentials may come from a provider beside the proxy.
    external_credentials: bool,
    /// Whether the service stays within a cluster.
    cluster_local: bool,
    /// Whether clusters are needed that pass mutual TLS through by its server name.
    by_name: bool,
    /// The client, where the endpoints stand in the clusters.
    client: Option<EndpointClient>,
}

impl ClusterTraits {
    /// What the class's clusters of this service are made by.
    pub fn of(view: &View<'_>, service: &Service) -> Self {
        let mode = view.snapshot.peer_authentications.namespace_mode(&service.key.namespace);
        let disabled = mode == MutualTlsMode::Disable;
        let capable = service.resolution != Resolution::Passthrough || {
            let endpoints = view.snapshot.endpoints_of(&service.key);
            !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.workload.mutual_tls)
        };
        let class = view.class;
        let settings = view.proxy_config().connection_settings.as_ref().map(connection_settings::resolved);
        let auto_mtls = view.snapshot.mesh.auto_mtls() && !service.mesh_external && !disabled && capable;
        Self {
            kind: class.kind,
            families: class.families,
            certificates: class.certificates,
            client_files: class.client_files.clone(),
            auto_mtls,
            disabled,
            hbone: class.hbone,
            discovers_itself: class.discovers_itself,
            preserves_header_case: options::preserves_header_case(view),
            buffer_limit: settings.and_then(|settings| connection_settings::limit(settings.cluster_per_connection_buffer_limit_bytes)),
            external_credentials: class.external_credentials,
            cluster_local: view.snapshot.cluster_local.contains(&service.key.hostname),
            by_name: class.kind == ProxyKind::Router
                && auto_passthrough::is_reachable(service)
                && view.snapshot.passes_by_name(&class.labels),
            client: carries_endpoints(service).then(|| EndpointClient::whole(class)),
        }
    }

    fn proxy(&self) -> ClusterProxy {
        ClusterProxy {
            families: families(self.families),
            kind: match self.kind {
                ProxyKind::Sidecar => cluster::ProxyKind::Sidecar,
                ProxyKind::Router => cluster::ProxyKind::Gateway,
            },
            certificates: match self.certificates {
                Certificates::None => cluster::Certificates::None,
                Certificates::Sds => cluster::Certificates::Sds,
            },
            credentials: options::credentials(self.certificates, self.external_credentials),
            hbone: self.hbone,
            preserves_header_case: self.preserves_header_case,
            discovers_itself: self.discovers_itself,
            buffer_limit: self.buffer_limit,
        }
    }
}

/// The builder's spelling.
pub fn families(families: model::IpFamilies) -> IpFamilies {
    match families {
        model::IpFamilies::V4 => IpFamilies::V4,
        model::IpFamilies::V6 => IpFamilies::V6,
        model::IpFamilies::Dual => IpFamilies::Dual { v6_first: false },
    }
}

/// The services that the class has clusters for.
pub fn services<'a>(view: &View<'a>) -> Vec<&'a Arc<Service>> {
    match view.scope {
        Scope::Sidecar(scope) => scope.services.values().collect(),
        Scope::Router(_) => {
            let visible = view.snapshot.services_by_age.iter().filter(|service| service.visibility.allows(&view.class.namespace));
            let best = |service: &&Arc<Service>| {
                let chosen = view.snapshot.service_named(&service.key.hostname, &view.class.namespace);
                chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, service))
            };
            visible.filter(best).collect()
        }
    }
}

/// Whether the endpoints of the service stand in its clusters, rather than in EDS.
pub fn carries_endpoints(service: &Service) -> bool {
    matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin)
}

/// All clusters of a service for one class.
pub fn of_service(view: &View<'_>, service: &Arc<Service>, rule: Option<&Arc<MergedRule>>, interner: &mut Interner) -> ServiceClusters {
    let mut out = ServiceClusters::default();
    if matches!(service.resolution, Resolution::Alias(_)) {
        return out;
    }
    let one = OneService::new(view, service, rule);
    for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
        let subsets = rule.into_iter().flat_map(|rule| &rule.spec.subsets).map(Some);
        for subset in std::iter::once(None).chain(subsets) {
            one.cluster(port, subset, Use::Call, interner, &mut out);
            if one.traits.by_name {
                one.cluster(port, subset, Use::PassThrough, interner, &mut out);
            }
        }
    }
    out
}

/// What a cluster is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The proxy's own connections.
    Call,
    /// Mutual TLS between others, which is not opened: only endpoints that take it count (Istio's SNI-DNAT clusters).
    PassThrough,
}

/// What all clusters of one service have in common.
struct OneService<'a> {
    service: &'a Service,
    rule: Option<&'a Arc<MergedRule>>,
    endpoints: &'a [Endpoint],
    around: Surroundings<'a>,
    features: &'a Features,
    traits: ClusterTraits,
    proxy: ClusterProxy,
    mesh: &'a MeshConfig,
    defaults: ClusterMeshDefaults,
    accounts: Vec<String>,
    origins: Vec<ObjectRef>,
}

impl<'a> OneService<'a> {
    fn new(view: &View<'a>, service: &'a Service, rule: Option<&'a Arc<MergedRule>>) -> Self {
        let mesh = &view.snapshot.mesh;
        let endpoints = view.snapshot.endpoints_of(&service.key);
        let traits = ClusterTraits::of(view, service);
        let mut origins = vec![service.origin.clone()];
        origins.extend(rule.into_iter().flat_map(|rule| rule.origins.iter().cloned()));
        Self {
            service,
            rule,
            endpoints,
            around: Surroundings::of(view.snapshot),
            features: &view.snapshot.features,
            proxy: traits.proxy(),
            traits,
            mesh,
            defaults: ClusterMeshDefaults::from(&**mesh),
            accounts: accounts(service, endpoints, mesh),
            origins,
        }
    }

    fn cluster(&self, port: &ServicePort, subset: Option<&Subset>, kind: Use, interner: &mut Interner, out: &mut ServiceClusters) {
        let service = self.service;
        let subset_name = subset.map(|subset| subset.name.as_str());
        let name = match kind {
            Use::Call => names::outbound_cluster(port.number, subset_name.unwrap_or_default(), service.key.hostname.as_str()),
            Use::PassThrough => names::sni(port.number, subset_name.unwrap_or_default(), service.key.hostname.as_str()),
        };
        let rule_policy = self.rule.and_then(|rule| rule.spec.traffic_policy.as_ref());
        let subset_policy = subset.and_then(|subset| subset.traffic_policy.as_ref());
        let mut policy = cluster::merge_policy(self.mesh.default_traffic_policy.as_ref(), rule_policy, subset_policy, port.number);
        if kind == Use::PassThrough {
            policy.tls = None;
        }
        let spec = EndpointSpec { mutual_tls_only: kind == Use::PassThrough, ..self.endpoint_spec(&name, port, subset, &policy) };
        let inline = if carries_endpoints(service) { self.inline_endpoints(&spec) } else { Vec::new() };
        let services =
            [ServiceMetadata { host: service.key.hostname.as_str(), name: &service.name, namespace: service.key.namespace.as_str() }];
        let pattern = &self.mesh.outbound_cluster_stat_name;
        let subset_text = subset_name.unwrap_or_default();
        let stat_name = StatName { service, port: port.number, port_name: &port.name, target: 0, subset: subset_text }.fill(pattern);
        let inputs = OutboundClusterInputs {
            name: &name,
            stat_name: stat_name.as_deref(),
            hostname: &service.key.hostname,
            port: port.number,
            protocol: port.protocol,
            subset: subset_name,
            discovery: self.discovery(port, &inline),
            policy: &policy,
            mesh: &self.defaults,
            proxy: &self.proxy,
            client_files: self.traits.client_files.as_ref().map(options::certificate_files),
            auto_mtls: if self.traits.auto_mtls && kind == Use::Call { AutoMtls::On } else { AutoMtls::Off },
            service_accounts: &self.accounts,
            subject_alt_names: &service.subject_alt_names,
            spreads_keys: self.features.redis_filter && port.protocol == Protocol::Redis,
            weights_localities: self.features.locality_weighted,
            persistent_session: service.keeps_sessions(),
            metadata: ClusterMetadata {
                rule: self.rule.and_then(|rule| rule.origins.first()),
                rule_selects_workloads: self.rule.is_some_and(|rule| rule.spec.workload_selector.is_some()),
                services: &services,
                mesh_external: service.mesh_external,
                all_hbone: false,
            },
        };
        let (cluster, _) = cluster::outbound_cluster(&inputs);
        let Some(cluster) = cluster else { return };
        out.secrets.extend(cluster::secret_names(&inputs));
        if matches!(inputs.discovery, Discovery::Eds) {
            out.endpoints.push(Arc::new(spec));
        }
        out.clusters.push(interner.encode(ResourceType::Cluster, &name, &cluster.to_bytes(), Arc::from(self.origins.clone())));
    }

    fn discovery<'b>(&self, port: &ServicePort, inline: &'b [LocalityGroup]) -> Discovery<'b> {
        match &self.service.resolution {
            Resolution::Dns if self.service.race_first_connect => Discovery::LogicalDns { endpoints: inline, race_first_connect: true },
            Resolution::Dns => Discovery::StrictDns { endpoints: inline },
            Resolution::DnsRoundRobin => Discovery::LogicalDns { endpoints: inline, race_first_connect: false },
            Resolution::DynamicDns => Discovery::DynamicForwardProxy,
            // A gateway has no original destination to go to.
            Resolution::Passthrough if self.traits.kind == ProxyKind::Sidecar => Discovery::OriginalDst {
                port_override: match port.target {
                    TargetPort::Number(target) if target != port.number && self.service.provider == Provider::External => Some(target),
                    _ => None,
                },
            },
            _ => Discovery::Eds,
        }
    }

    fn endpoint_spec(&self, name: &str, port: &ServicePort, subset: Option<&Subset>, policy: &ClusterPolicy) -> EndpointSpec {
        let outlier_detection = policy.outlier_detection.is_some();
        let min_health = policy.outlier_detection.as_ref().map_or(0, |outlier| outlier.min_health_percent);
        let plain = policy.tls.as_ref().is_some_and(|tls| tls.mode != ClientTlsMode::IstioMutual);
        EndpointSpec {
            cluster: name.to_string(),
            service: self.service.key.clone(),
            port_name: port.name.clone(),
            port_number: port.number,
            subset: subset.map(|subset| subset.labels.clone()).unwrap_or_default(),
            locality: self.locality(policy, outlier_detection),
            outlier_detection,
            cluster_local: self.traits.cluster_local,
            node_local: self.service.node_local,
            unhealthy: self.features.send_unhealthy_endpoints || (self.features.auto_send_unhealthy_endpoints && min_health <= 0),
            draining: self.service.keeps_sessions(),
            by_name: carries_endpoints(self.service),
            mutual_tls_only: false,
            mutual_tls: !plain && !self.traits.disabled,
            origins: self.origins.clone(),
        }
    }

    /// The preference by locality, or none where it changes nothing, so that clients everywhere share the endpoints.
    fn locality(&self, policy: &ClusterPolicy, outlier_detection: bool) -> Option<LocalityPolicy> {
        let distribution = match self.service.traffic_distribution.as_deref() {
            Some("PreferClose" | "PreferSameZone") => TrafficDistribution::PreferSameZone,
            Some("PreferSameNode") => TrafficDistribution::PreferSameNode,
            _ => TrafficDistribution::Any,
        };
        let rule = LocalitySettings::of(policy.load_balancer.as_ref());
        let chosen = locality_policy(self.defaults.localities(), rule, distribution)?;
        let matters = match &chosen {
            LocalityPolicy::Distance(policy) => outlier_detection || policy.force_failover || !policy.setting.distribute.is_empty(),
            LocalityPolicy::ZoneAware(_) => true,
        };
        matters.then_some(chosen)
    }

    fn inline_endpoints(&self, spec: &EndpointSpec) -> Vec<LocalityGroup> {
        let client = self.traits.client.clone().unwrap_or_default();
        eds::groups(spec, self.endpoints, &client, &self.around)
    }
}

/// The identities that may serve: those of the endpoints' service accounts, in the trust domain and in its aliases, and the
/// names that a ServiceEntry adds.
fn accounts(service: &Service, endpoints: &[Endpoint], mesh: &MeshConfig) -> Vec<String> {
    let workloads = endpoints.iter().map(|endpoint| &endpoint.workload).filter(|workload| !workload.service_account.is_empty());
    let domains = || std::iter::once(&mesh.trust_domain).chain(&mesh.trust_domain_aliases);
    let uris = workloads.flat_map(|workload| {
        domains().map(|trust_domain| {
            let identity = SpiffeIdentity {
                trust_domain: trust_domain.clone(),
                namespace: workload.namespace.to_string(),
                service_account: workload.service_account.to_string(),
            };
            identity.to_string()
        })
    });
    let mut all: Vec<String> = uris.chain(service.subject_alt_names.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

/// The clusters that every proxy has, and the secrets that they want.
pub fn fixed(view: &View<'_>) -> (Vec<Built>, SecretNames) {
    let mut secrets = SecretNames::default();
    let mesh = ClusterMeshDefaults::from(&*view.snapshot.mesh);
    let pool = view.snapshot.mesh.default_traffic_policy.as_ref().and_then(|policy| policy.connection_pool.as_ref());
    let mut clusters = BTreeMap::from([(names::BLACK_HOLE_CLUSTER, cluster::blackhole_cluster(&mesh))]);
    if view.class.hbone {
        let trust_domain = &view.snapshot.mesh.trust_domain;
        clusters.insert(cluster::CONNECT_ORIGINATE_CLUSTER, cluster::connect_originate_cluster(&mesh, trust_domain));
    }
    if let Scope::Sidecar(scope) = view.scope {
        let inbound = scope.sidecar.as_ref().and_then(|sidecar| sidecar.spec.inbound_connection_pool.as_ref());
        clusters.insert(names::PASSTHROUGH_CLUSTER, cluster::passthrough_cluster(&mesh, pool));
        let families = families(view.class.families);
        if scope.outbound_policy == OutboundPolicy::AllowAnyDynamicDns {
            let tls = view.snapshot.mesh.outbound_traffic_policy.tls.as_ref();
            let credentials = options::credentials(view.class.certificates, view.class.external_credentials);
            if let Some((cluster, names)) = cluster::dynamic_dns_cluster(&mesh, families, tls, credentials) {
                clusters.insert(cluster::DYNAMIC_DNS_CLUSTER, cluster);
                secrets.extend(names);
            }
        }
        clusters.insert(names::INBOUND_PASSTHROUGH_CLUSTER, cluster::inbound_passthrough_cluster(&mesh, inbound, families));
    }
    (clusters.into_iter().map(|(name, cluster)| (name.to_string(), cluster.to_bytes(), Arc::from([]))).collect(), secrets)
}
