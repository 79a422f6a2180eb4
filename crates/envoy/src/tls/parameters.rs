//! Versions, cipher suites and curves.

use istio_api::mesh::mesh_config::{MeshTlsProtocol, TlsConfig};
use istio_api::networking::gateway::TlsProtocol;
use xds_api::envoy::extensions::transport_sockets::tls::v3::{TlsParameters, tls_parameters::TlsProtocol as EnvoyTlsProtocol};

/// What Istio's sidecars accept for mTLS (`pkg/istio-agent` and `security/model`): forward secrecy first, all of them AES-GCM.
const MESH_CIPHER_SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// Those of a user's list that are known, each once; validation has said which are not.
pub(super) fn known(list: &[String], names: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for name in list.iter().filter(|name| names.contains(&name.as_str())) {
        if !out.contains(name) {
            out.push(name.clone());
        }
    }
    out
}

fn mesh_protocol(protocol: MeshTlsProtocol) -> Option<EnvoyTlsProtocol> {
    match protocol {
        MeshTlsProtocol::Auto => None,
        MeshTlsProtocol::V1_2 => Some(EnvoyTlsProtocol::TlSv12),
        MeshTlsProtocol::V1_3 => Some(EnvoyTlsProtocol::TlSv13),
    }
}

/// A version of a Gateway in Envoy's enum.
pub(super) fn gateway_protocol(protocol: TlsProtocol) -> EnvoyTlsProtocol {
    match protocol {
        TlsProtocol::Auto => EnvoyTlsProtocol::TlsAuto,
        TlsProtocol::V1_0 => EnvoyTlsProtocol::TlSv10,
        TlsProtocol::V1_1 => EnvoyTlsProtocol::TlSv11,
        TlsProtocol::V1_2 => EnvoyTlsProtocol::TlSv12,
        TlsProtocol::V1_3 => EnvoyTlsProtocol::TlSv13,
    }
}

/// TLS 1.2 to 1.3, which all clients of the mesh use.
pub(super) fn client_parameters() -> TlsParameters {
    TlsParameters {
        tls_minimum_protocol_version: EnvoyTlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: EnvoyTlsProtocol::TlSv13.into(),
        ..TlsParameters::default()
    }
}

/// Those of inbound mTLS: TLS 1.2 to 1.3 with Istio's cipher suites, unless `meshMTLS` says otherwise.
pub(super) fn inbound_parameters(mesh_mtls: Option<&TlsConfig>) -> TlsParameters {
    let mut parameters = client_parameters();
    parameters.cipher_suites = MESH_CIPHER_SUITES.map(str::to_owned).to_vec();
    apply(&mut parameters, mesh_mtls);
    parameters
}

/// Lays a `TlsConfig` of the mesh over parameters; what it does not set stays.
pub(super) fn apply(parameters: &mut TlsParameters, config: Option<&TlsConfig>) {
    let Some(config) = config else { return };
    if let Some(version) = mesh_protocol(config.min_protocol_version) {
        parameters.tls_minimum_protocol_version = version.into();
    }
    if !config.cipher_suites.is_empty() {
        parameters.cipher_suites.clone_from(&config.cipher_suites);
    }
    if !config.ecdh_curves.is_empty() {
        parameters.ecdh_curves.clone_from(&config.ecdh_curves);
    }
}

/// TLS 1.3 only, as HBONE requires.
pub(super) fn latest() -> TlsParameters {
    TlsParameters { tls_minimum_protocol_version: EnvoyTlsProtocol::TlSv13.into(), ..client_parameters() }
}
