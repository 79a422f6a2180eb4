//! The certificate authority of the mesh, and who may have a certificate of it.
//!
//! In: a root (self-signed and kept in a [`RootStore`], or plugged in as files), CSRs over gRPC, and the credentials of
//! callers: client certificates of ours, and service-account tokens of clusters. Out: certificates whose one name is the
//! identity of the authenticated caller, TLS configurations for our own servers, and the roots that workloads trust.
//! Never: listening on sockets, Kubernetes, or anything of a CSR but its public key (an external signer
//! gets one whose names were compared with the caller's identity). No token and no key is logged.
//! Read first: `service.rs`, then `authority.rs`; for callers `authenticate/mod.rs`.
//!
//! # How an agent gets its token accepted without a cluster
//!
//! In a cluster tokens are those of Kubernetes. Without one, `istiod token --keyFolder DIR --namespace shop
//! --serviceAccount cart` prints a token of the same shape (audience `istio-ca`), signed with the key
//! `DIR/token-key.pem`, which it makes together with `DIR/jwks.json` if they are not there. An istiod that runs with
//! `discovery --tokenKeys DIR/jwks.json` accepts such tokens. The agent sends it as in a cluster: `authorization: Bearer
//! <token>` (and `clusterid: <id>`, or none) to `CreateCertificate` and to xDS on port 15012. It verifies istiod's
//! certificate, for `istiod.istio-system.svc` (or `localhost`), with the roots of the mesh: `root-cert.pem` in the folder of
//! `--caStore`, which istiod writes and keeps current, as the ConfigMap `istio-ca-root-cert` is in a cluster; the last
//! element of every answer to a CSR holds the same roots.

pub mod api;
pub mod authenticate;
mod authority;
mod cipher_suite;
pub mod csr;
mod digest;
mod external;
mod impersonation;
mod limits;
mod metrics;
pub mod pem;
mod root;
mod rotation;
mod service;
mod serving;
mod settings;
mod signer;

pub use authority::{Authority, AuthorityError, Issued, Subject, answer};
pub use cipher_suite::{CipherSuite, UnknownCipherSuite};
pub use external::{ExternalCertificate, ExternalError, ExternalRequest, ExternalSigner};
pub use impersonation::{ImpersonationError, NodeAccounts, NodeWorkloads, ServiceAccount};
pub use limits::{OpenConnection, PeerLimits, Peers};
pub use metrics::Metrics;
pub use root::{
    BundleWriter, FileRootStore, KeyMaterial, PluggedIn, PluggedInError, RootData, RootStore, Saved, StoreError, StoredRoot, generate,
    load_or_generate,
};
pub use rotation::{
    ConnectedProxy, Generation, HoldUp, Holder, Holders, Order, Phase, Rotation, RotationError, RotationSettings, Status, resume,
};
pub use service::{CertificateService, UnaryBody, presented};
pub use serving::{ClientRoots, LeastVersion, OwnCertificate, ServerConfigs, ServerKind, Serving, ServingError, ServingSettings};
pub use settings::{KeyAlgorithm, RsaBits, Settings, TrustDomains};
pub use signer::{Bundle, Signer};
