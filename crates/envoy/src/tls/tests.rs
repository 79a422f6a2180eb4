use super::*;
use istio_api::mesh::mesh_config::{MeshTlsProtocol, TlsConfig};
use istio_api::networking::gateway::{ServerTlsMode, ServerTlsSettings, TlsProtocol};
use serde_json::{Value, json};

fn inputs(settings: &ServerTlsSettings) -> ServerTlsInputs<'_> {
    ServerTlsInputs { settings, alpn: DownstreamAlpn::Http, defaults: None, credentials: CredentialSource::Ads, files: None }
}

fn server(settings: &ServerTlsSettings) -> Value {
    let context = gateway_server_tls(&inputs(settings)).unwrap();
    xds_wire::json::to_json(DownstreamTlsContext::TYPE_URL, &context.to_bytes()).unwrap()
}

#[test]
fn a_server_takes_its_certificate_from_istiod() {
    let simple = ServerTlsSettings { mode: ServerTlsMode::Simple, credential_name: "shop".into(), ..Default::default() };
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    let expected = json!({
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{ "name": "kubernetes://shop", "sds_config": ads }],
            "alpn_protocols": ["h2", "http/1.1"]
        },
        "require_client_certificate": false
    });
    assert_eq!(server(&simple), expected);
    let mutual = ServerTlsSettings { mode: ServerTlsMode::Mutual, min_protocol_version: TlsProtocol::V1_3, ..simple };
    let context = server(&mutual);
    assert_eq!(context["require_client_certificate"], true);
    let common = &context["common_tls_context"];
    assert_eq!(common["tls_params"], json!({ "tls_minimum_protocol_version": "TLSv1_3" }));
    assert_eq!(
        common["combined_validation_context"]["validation_context_sds_secret_config"],
        json!({ "name": "kubernetes://shop-cacert", "sds_config": ads })
    );
    let passthrough = ServerTlsSettings { mode: ServerTlsMode::AutoPassthrough, ..mutual };
    assert_eq!(gateway_server_tls(&inputs(&passthrough)), None);
}

#[test]
fn sidecars_accept_only_identities_of_their_trust_domains() {
    let mesh = TlsConfig { min_protocol_version: MeshTlsProtocol::V1_3, ..Default::default() };
    let context = downstream_mtls(&DownstreamMtlsInputs {
        trust_domains: &["cluster.local".to_owned(), "old".to_owned()],
        alpn: DownstreamAlpn::Tcp,
        mesh_mtls: Some(&mesh),
        files: None,
        credentials: CredentialSource::Ads,
    });
    let context = xds_wire::json::to_json(DownstreamTlsContext::TYPE_URL, &context.to_bytes()).unwrap();
    let common = &context["common_tls_context"];
    let names = &common["combined_validation_context"]["default_validation_context"]["match_subject_alt_names"];
    assert_eq!(*names, json!([{ "prefix": "spiffe://cluster.local/" }, { "prefix": "spiffe://old/" }]));
    assert_eq!(common["tls_params"]["tls_minimum_protocol_version"], "TLSv1_3");
    assert_eq!(common["alpn_protocols"], json!(["istio-peer-exchange", "h2", "http/1.1"]));
}

#[test]
fn names_of_credentials() {
    assert_eq!(credential_resource_name("shop/cert"), "kubernetes://shop/cert");
    assert_eq!(credential_resource_name("kubernetes-gateway://shop/cert"), "kubernetes-gateway://shop/cert");
    assert_eq!(credential_secret_config("builtin://-cacert", CredentialSource::Ads).name, "ROOTCA");
    assert_eq!(credential_secret_config("sds://x", CredentialSource::AdsOrExternal).name, "x");
}
