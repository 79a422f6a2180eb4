//! Gateway (`networking/v1alpha3/gateway.proto`): the listeners of gateway workloads.

use crate::message::{enumeration, message};
use crate::schema::cel;
use std::collections::BTreeMap;

message! {
    /// Gateway describes the listeners of gateway workloads: ports, protocols, hosts and TLS. Routes are added by
    /// VirtualServices that name it.
    pub struct Gateway {
        /// The listeners.
        pub servers: Vec<Server>,
        /// The labels of the gateway workloads, in any namespace; empty selects all gateways.
        pub selector: BTreeMap<String, String>,
    }

    /// A listener.
    #[schemars(extend("required" = ["port", "hosts"]))]
    pub struct Server {
        /// The port and protocol of the listener.
        pub port: Option<Port>,
        /// The address that is listened on; empty means all.
        pub bind: String,
        /// `host`, `namespace/host`, `./host` or `*/host`: which hosts of which VirtualServices it serves.
        pub hosts: Vec<String>,
        /// Whether and how TLS is terminated, or that plain requests are redirected.
        pub tls: Option<ServerTlsSettings>,
        /// Not used.
        pub default_endpoint: String,
        /// The prefix of its statistics; unique within the gateway.
        pub name: String,
    }

    /// The port of a listener.
    // Not `number`, which Istio's CRD asks for: a listener on a Unix socket has none. Validation asks all others for it.
    #[schemars(extend("required" = ["protocol", "name"]))]
    pub struct Port {
        /// 1 to 65535.
        pub number: u32,
        /// HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP, MONGO …
        pub protocol: String,
        /// A label for the port.
        pub name: String,
        /// Deprecated and without effect.
        pub target_port: u32,
    }

    /// TLS of a server.
    #[schemars(extend("x-kubernetes-validations" = cel(&[
        ("!(has(self.credentialName) && has(self.credentialNames))", "only one of credentialName and credentialNames can be set", ".credentialNames"),
        ("!(has(self.credentialNames) && has(self.tlsCertificates))", "only one of credentialNames and tlsCertificates can be set", ".tlsCertificates"),
        ("!(has(self.credentialName) && has(self.tlsCertificates))", "only one of credentialName and tlsCertificates can be set", ".tlsCertificates"),
    ])))]
    pub struct ServerTlsSettings {
        /// Whether plain requests are answered with a redirect to HTTPS.
        pub https_redirect: bool,
        /// Whether TLS is terminated, and what clients must show.
        pub mode: ServerTlsMode,
        /// The file of the certificate.
        pub server_certificate: String,
        /// The file of its key.
        pub private_key: String,
        /// The file of the authorities that may have signed client certificates.
        pub ca_certificates: String,
        /// The file of revoked client certificates.
        pub ca_crl: String,
        /// The Secret with the files' contents in place of the files.
        pub credential_name: String,
        /// Two Secrets at most: one with an RSA and one with an ECDSA certificate.
        #[schemars(extend("minItems" = 1, "maxItems" = 2))]
        pub credential_names: Vec<String>,
        /// The Secret or ConfigMap with the authorities of client certificates.
        pub ca_cert_credential_name: String,
        /// Two certificates at most, from files.
        #[schemars(extend("minItems" = 1, "maxItems" = 2))]
        pub tls_certificates: Vec<TlsCertificate>,
        /// Which subject names client certificates may have; empty means any.
        pub subject_alt_names: Vec<String>,
        /// Base64 of SHA-256 of the public keys that client certificates may have.
        pub verify_certificate_spki: Vec<String>,
        /// SHA-256 of the client certificates that are accepted.
        pub verify_certificate_hash: Vec<String>,
        /// The lowest version of TLS that is accepted.
        pub min_protocol_version: TlsProtocol,
        /// The highest version of TLS that is accepted.
        pub max_protocol_version: TlsProtocol,
        /// The accepted cipher suites in Envoy's names; empty means its default.
        pub cipher_suites: Vec<String>,
        /// Accepts any client certificate.
        pub insecure_skip_verify: Option<bool>,
        /// The accepted curves in Envoy's names; empty means its default.
        pub ecdh_curves: Vec<String>,
    }

    /// A certificate from files.
    pub struct TlsCertificate {
        /// The file of the certificate.
        pub server_certificate: String,
        /// The file of its key.
        pub private_key: String,
        /// The file of the authorities of client certificates.
        pub ca_certificates: String,
    }
}

enumeration! {
    /// Kinds of TLS of a server.
    pub enum ServerTlsMode {
        /// Not terminated: routed by SNI to VirtualServices with TLS rules.
        Passthrough = "PASSTHROUGH",
        /// Only the server has a certificate.
        Simple = "SIMPLE",
        /// Clients must have a certificate.
        Mutual = "MUTUAL",
        /// Not terminated: the SNI names the cluster.
        AutoPassthrough = "AUTO_PASSTHROUGH",
        /// Clients must have a certificate of the mesh.
        IstioMutual = "ISTIO_MUTUAL",
        /// Clients may have a certificate.
        OptionalMutual = "OPTIONAL_MUTUAL",
    }

    /// Versions of TLS.
    pub enum TlsProtocol {
        /// The default.
        Auto = "TLS_AUTO",
        /// 1.0
        V1_0 = "TLSV1_0",
        /// 1.1
        V1_1 = "TLSV1_1",
        /// 1.2
        V1_2 = "TLSV1_2",
        /// 1.3
        V1_3 = "TLSV1_3",
    }
}
