//! What the objects mean together: who sees what, which rule applies to whom.
//!
//! In: the store's rows and the registry. Out: an immutable [`Snapshot`] with resolved VirtualServices, merged
//! DestinationRules, and the answers that the builders' inputs are made of: the [`SidecarScope`] of a namespace, the
//! [`MergedGateway`] of a gateway workload, the effective mutual TLS mode of a port.
//! Never: Envoy types, I/O, or state that is not a function of its inputs.
//! Read first: `model.rs`, the way of a turn; then `sidecar.rs` and `gateway.rs`.

mod alias;
mod authorization_policy;
mod cluster_local;
mod credential;
mod delegate;
mod destination_rule;
mod gateway;
pub mod ingress;
mod model;
mod peer_authentication;
mod policy_attachment;
mod proxy;
mod request_authentication;
mod sidecar;
mod snapshot;
mod virtual_service;

pub use alias::Aliases;
pub use authorization_policy::{WorkloadPolicies, is_dry_run};
pub use cluster_local::ClusterLocal;
pub use credential::{AUTHORITIES_SUFFIX, Authorities, Credential, CredentialFault, CredentialReference, CredentialUser, Referrer};
pub use destination_rule::{DestinationRules, MergedRule};
pub use gateway::{GatewayPort, GatewayServer, MergedGateway};
pub use model::Model;
pub use peer_authentication::PeerAuthentications;
pub use policy_attachment::{Attached, AttachedPolicies, PolicySubject};
pub use proxy::{CertificateFiles, Certificates, InterceptionMode, IpFamilies, ProxyKind, ProxyTraits};
pub use request_authentication::issuers;
pub use sidecar::{EgressListener, OutboundPolicy, SidecarScope, select_sidecar};
pub use snapshot::Snapshot;
pub use virtual_service::{MESH_GATEWAY, Semantics, VirtualService, VirtualServices};
