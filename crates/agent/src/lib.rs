//! The agent beside each Envoy: Istio's `pilot-agent proxy`.
//!
//! In: the environment of a pod (downward API, `PROXY_CONFIG`, `ISTIO_META_*`), its service-account token and the root
//! certificate of the mesh. Out: an Envoy that runs with a bootstrap of ours, has its certificate over SDS on a Unix socket,
//! and reaches istiod through us over TLS.
//! Never: lets the private key leave the process, or trusts what istiod sends further than Envoy does.
//! Read first: `settings.rs` (what it is told), then `rotation.rs` (how a certificate is kept), `trust.rs` (which
//! roots are trusted), `sds.rs`, `xds_proxy.rs`.

mod bootstrap;
mod certificate;
mod connection;
mod environment;
mod envoy;
mod files;
mod messages;
mod metrics;
mod request;
mod rotation;
mod sds;
mod settings;
mod status;
mod told_roots;
mod trust;
mod xds_proxy;

pub use bootstrap::{bootstrap, node_id};
pub use certificate::{Certificate, CertificateError, KeyAlgorithm, Request};
pub use connection::{Connection, ConnectionError, Upstream};
pub use envoy::{Envoy, EnvoyError};
pub use files::follow_mounted;
pub use metrics::AgentMetrics;
pub use request::{CertificateRequest, RequestError};
pub use rotation::{Renewal, rotate};
pub use sds::{Secrets, serve as serve_sds};
pub use settings::{NodeKind, ProxyConfig, Settings, SettingsError, Surroundings};
pub use status::{Status, serve as serve_status};
pub use trust::{Changes, Edition, Following, Roots};
pub use xds_proxy::serve as serve_xds;
