//! Which services exist, behind which names and addresses, and which workloads serve them.
//!
//! In: the rows of Kubernetes Services, EndpointSlices, Pods, Nodes and Namespaces, ServiceEntries and WorkloadEntries
//! that a turn changed. Out: one [`Service`] per host name and namespace, its [`Endpoint`]s, and for every workload
//! address the services that it serves.
//! Never: routing rules, policies, Envoy types, or the question of who may see a service.
//! Read first: `service.rs` and `endpoint.rs` for the shapes, then `registry.rs` for the way of a change.

mod address;
mod endpoint;
mod entry_visibility;
mod index;
mod kubernetes;
mod network;
mod registry;
mod service;
mod service_entry;
mod workload;

pub use endpoint::{Endpoint, EndpointWorkload, Health};
pub use network::{NetworkGateway, NetworkGateways};
pub use registry::{Registry, RegistryChanges};
pub use service::{Provider, Resolution, Service, ServiceKey, ServicePort, ServiceTarget, Session, TargetPort};
