//! TLS, HBONE and PROXY protocol of an outbound cluster (Istio's `applyUpstreamTLSSettings`,
//! `applyHBONETransportSocketMatches` and `applyUpstreamProxyProtocol`).

use super::draft::ClusterDraft;
use super::inputs::{AutoMtls, Certificates, Discovery, OutboundClusterInputs, ProxyKind};
use crate::tls::{self, SecretNames};
use base::Diagnostic;
use istio_api::networking::destination_rule::{ClientTlsMode, ClientTlsSettings, ProxyProtocolVersion};
use xds_api::Wire;
use xds_api::envoy::config::cluster::v3::cluster::{DiscoveryType, TransportSocketMatch};
use xds_api::envoy::config::core::v3::{ProxyProtocolConfig, TransportSocket, proxy_protocol_config::Version};
use xds_api::envoy::extensions::transport_sockets::internal_upstream::v3::{
    InternalUpstreamTransport, internal_upstream_transport::MetadataValueSource,
};
use xds_api::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use xds_api::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use xds_api::envoy::r#type::metadata::v3::{MetadataKind, metadata_kind};
use xds_api::google::protobuf::Struct;

/// The name of the match that reaches endpoints through HBONE.
const HBONE_MATCH: &str = "hbone";

/// How the TLS of a cluster came to be.
enum Chosen {
    /// No TLS, and nobody asked for any.
    None,
    /// By auto mTLS: only for endpoints that can.
    Automatic(UpstreamTlsContext),
    /// By the user; `None` for DISABLE and for credentials that are not honoured.
    User(Option<UpstreamTlsContext>),
}

/// Applies TLS, then HBONE, then PROXY protocol. Returns whether it speaks the mesh's mutual TLS.
///
/// # Errors
/// A diagnostic if the user asked for TLS that cannot be made: the cluster must then not exist, because it would send
/// plain text.
pub(super) fn apply(draft: &mut ClusterDraft, inputs: &OutboundClusterInputs<'_>) -> Result<bool, Box<Diagnostic>> {
    let chosen = choose(draft, inputs)?;
    let by_user = inputs.policy.tls.as_ref().is_some_and(|tls| tls.mode == ClientTlsMode::IstioMutual);
    let of_mesh = by_user || matches!(chosen, Chosen::Automatic(_));
    let matched = !draft.is(DiscoveryType::OriginalDst);
    let cluster = &mut draft.cluster;
    let socket = |context: &UpstreamTlsContext| tls::upstream_transport_socket(context);
    match (&chosen, inputs.proxy.hbone) {
        (Chosen::None, false) | (Chosen::User(None), false) => {}
        (Chosen::None, true) => cluster.transport_socket_matches = vec![hbone(tls::raw_buffer()), plain_text()],
        (Chosen::User(None), true) if matched => cluster.transport_socket_matches = vec![hbone(tls::raw_buffer()), plain_text()],
        (Chosen::Automatic(context), hbone_sent) if matched => {
            let through_hbone = hbone_sent.then(|| hbone(tls::raw_buffer()));
            cluster.transport_socket_matches = through_hbone.into_iter().chain([mesh_mtls(socket(context)), plain_text()]).collect();
        }
        (Chosen::User(Some(context)), true) if matched => {
            let user = TransportSocketMatch { name: "user".to_owned(), r#match: None, transport_socket: Some(socket(context)) };
            cluster.transport_socket_matches = vec![hbone(socket(context)), user];
        }
        (Chosen::Automatic(context) | Chosen::User(Some(context)), _) => cluster.transport_socket = Some(socket(context)),
        (Chosen::User(None), true) => {}
    }
    apply_proxy_protocol(draft, inputs);
    Ok(of_mesh)
}

/// `outbound_.80_.v1_.reviews.shop.svc.cluster.local`, by which gateways between networks find the cluster again. Names
/// that requests ask for decide by themselves.
fn automatic_sni(inputs: &OutboundClusterInputs<'_>) -> String {
    match inputs.discovery {
        Discovery::DynamicForwardProxy => String::new(),
        _ => format!("outbound_.{}_.{}_.{}", inputs.port, inputs.subset.unwrap_or_default(), inputs.hostname),
    }
}

fn choose(draft: &mut ClusterDraft, inputs: &OutboundClusterInputs<'_>) -> Result<Chosen, Box<Diagnostic>> {
    let has_certificate = inputs.proxy.certificates == Certificates::Sds;
    let http2 = draft.http2().is_some();
    if let Some(settings) = by_files(inputs) {
        set_automatic_names(draft, &settings);
        let context = tls::user_tls(&user_tls_inputs(inputs, &settings, http2)).ok().flatten();
        return Ok(match (context, &inputs.policy.tls) {
            (Some(context), None) => Chosen::Automatic(context),
            (context, _) => Chosen::User(context),
        });
    }
    let Some(settings) = &inputs.policy.tls else {
        return Ok(match inputs.auto_mtls {
            AutoMtls::On if has_certificate && !inputs.metadata.mesh_external => {
                Chosen::Automatic(tls::istio_mutual(inputs.service_accounts, &automatic_sni(inputs), http2))
            }
            _ => Chosen::None,
        });
    };
    let error = |field: &str, message: &str| {
        Box::new(Diagnostic::error(
            "ClusterNotMade",
            inputs.metadata.rule.cloned(),
            format!("spec.trafficPolicy.tls.{field}"),
            format!("{message}; cluster {} is left out, because it would send plain text", inputs.name),
        ))
    };
    match settings.mode {
        ClientTlsMode::Disable => Ok(Chosen::User(None)),
        ClientTlsMode::IstioMutual if !has_certificate => Err(error(
            "mode",
            "ISTIO_MUTUAL needs a proxy with a certificate of the mesh, and this one has no agent; use SIMPLE or DISABLE for its clients",
        )),
        ClientTlsMode::IstioMutual => {
            let names = if settings.subject_alt_names.is_empty() { inputs.service_accounts } else { &settings.subject_alt_names };
            let sni = if settings.sni.is_empty() { automatic_sni(inputs) } else { settings.sni.clone() };
            if matches!(inputs.discovery, Discovery::DynamicForwardProxy) {
                set_automatic_names(draft, settings);
            }
            Ok(Chosen::User(Some(tls::istio_mutual(names, &sni, http2))))
        }
        ClientTlsMode::Simple | ClientTlsMode::Mutual => {
            set_automatic_names(draft, settings);
            tls::user_tls(&user_tls_inputs(inputs, settings, http2)).map(Chosen::User).map_err(|field| {
                error(field, "MUTUAL needs the client's certificate and key; set clientCertificate and privateKey, or credentialName")
            })
        }
    }
}

/// The mesh's mutual TLS with a certificate in files. Where a rule asks for it, its own names count, not those that are known
/// (Istio's `buildMutualTLS`).
fn by_files(inputs: &OutboundClusterInputs<'_>) -> Option<ClientTlsSettings> {
    let files = inputs.client_files?;
    let (names, sni) = match &inputs.policy.tls {
        Some(tls) if tls.mode == ClientTlsMode::IstioMutual => (tls.subject_alt_names.clone(), tls.sni.clone()),
        None if inputs.auto_mtls == AutoMtls::On && !inputs.metadata.mesh_external => {
            (inputs.service_accounts.to_vec(), automatic_sni(inputs))
        }
        _ => return None,
    };
    Some(ClientTlsSettings {
        mode: ClientTlsMode::Mutual,
        client_certificate: files.certificate.to_owned(),
        private_key: files.key.to_owned(),
        ca_certificates: files.authorities.to_owned(),
        subject_alt_names: names,
        sni,
        ..ClientTlsSettings::default()
    })
}

fn user_tls_inputs<'a>(inputs: &'a OutboundClusterInputs<'_>, settings: &'a ClientTlsSettings, http2: bool) -> tls::UserTlsInputs<'a> {
    tls::UserTlsInputs {
        settings,
        service_names: inputs.subject_alt_names,
        http2,
        defaults: inputs.mesh.tls_defaults.as_ref(),
        credentials: inputs.proxy.credentials,
        // A sidecar would otherwise let every workload of the namespace use the Secret.
        credentials_honoured: inputs.proxy.kind == ProxyKind::Gateway || inputs.metadata.rule_selects_workloads,
    }
}

/// The secrets that the cluster of these inputs wants of istiod.
pub fn secret_names(inputs: &OutboundClusterInputs<'_>) -> SecretNames {
    let by_files = by_files(inputs);
    let by_user = || inputs.policy.tls.as_ref().filter(|tls| matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual));
    let context =
        by_files.as_ref().or_else(by_user).and_then(|settings| tls::user_tls(&user_tls_inputs(inputs, settings, false)).ok().flatten());
    context.and_then(|context| context.common_tls_context).map(|common| SecretNames::of(&common)).unwrap_or_default()
}

/// Without a given SNI the one of the request is sent; without given names the certificate must be for it.
pub(super) fn set_automatic_names(draft: &mut ClusterDraft, settings: &ClientTlsSettings) {
    if !settings.sni.is_empty() {
        return;
    }
    let options = draft.upstream_http();
    options.auto_sni = true;
    options.auto_san_validation = settings.subject_alt_names.is_empty() && settings.insecure_skip_verify != Some(true);
}

/// mTLS for endpoints that say they can.
fn mesh_mtls(socket: TransportSocket) -> TransportSocketMatch {
    TransportSocketMatch {
        name: "tlsMode-istio".to_owned(),
        r#match: Some(Struct::from_iter([("tlsMode", "istio")])),
        transport_socket: Some(socket),
    }
}

/// Plain text for all others.
fn plain_text() -> TransportSocketMatch {
    TransportSocketMatch {
        name: "tlsMode-disabled".to_owned(),
        r#match: Some(Struct::default()),
        transport_socket: Some(tls::raw_buffer()),
    }
}

/// HBONE for endpoints behind a tunnel: through a listener of the same Envoy, which learns from metadata where it leads.
fn hbone(inner: TransportSocket) -> TransportSocketMatch {
    let host = || metadata_kind::Kind::Host(metadata_kind::Host::default());
    let cluster = metadata_kind::Kind::Cluster(metadata_kind::Cluster::default());
    let source = |kind, name: &str| MetadataValueSource { kind: Some(MetadataKind { kind: Some(kind) }), name: name.to_owned() };
    let transport = InternalUpstreamTransport {
        passthrough_metadata: vec![
            source(host(), "envoy.filters.listener.original_dst"),
            source(cluster, "istio"),
            source(host(), "istio"),
        ],
        transport_socket: Some(inner),
    };
    TransportSocketMatch {
        name: HBONE_MATCH.to_owned(),
        r#match: Some(Struct::from_iter([("tunnel", "http")])),
        transport_socket: Some(tls::transport_socket("envoy.transport_sockets.internal_upstream", transport.to_any())),
    }
}

/// Puts PROXY protocol under every transport but HBONE, which carries addresses itself.
fn apply_proxy_protocol(draft: &mut ClusterDraft, inputs: &OutboundClusterInputs<'_>) {
    let Some(settings) = &inputs.policy.proxy_protocol else { return };
    let version = match settings.version {
        ProxyProtocolVersion::V1 => Version::V1,
        ProxyProtocolVersion::V2 => Version::V2,
    };
    let wrap = |inner: Option<TransportSocket>| {
        let transport = ProxyProtocolUpstreamTransport {
            config: Some(ProxyProtocolConfig { version: version.into(), ..ProxyProtocolConfig::default() }),
            transport_socket: Some(inner.unwrap_or_else(tls::raw_buffer)),
            ..ProxyProtocolUpstreamTransport::default()
        };
        Some(tls::transport_socket("envoy.transport_sockets.upstream_proxy_protocol", transport.to_any()))
    };
    let cluster = &mut draft.cluster;
    if cluster.transport_socket_matches.is_empty() {
        cluster.transport_socket = wrap(cluster.transport_socket.take());
    }
    for socket in cluster.transport_socket_matches.iter_mut().filter(|socket| socket.name != HBONE_MATCH) {
        socket.transport_socket = wrap(socket.transport_socket.take());
    }
}
