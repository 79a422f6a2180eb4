//! A real Kubernetes API server on loopback: etcd, kube-apiserver and kube-controller-manager, without nodes.
//!
//! `make kube` puts the binaries below `.cache/kube`. A test begins with
//! `let Some(server) = ApiServer::start()? else { return Ok(()) };`: where the binaries are missing, that says "skipped".
//! Everything ends with the value, and with the process should that be killed.
//!
//! [`Api`] writes objects, [`Watched`] gathers what the Kubernetes source says, [`Link`] is a wire that can be cut,
//! [`Istiod`] a control plane as a process, and `case` brings a case's objects into the cluster.

mod api;
pub mod case;
mod definition;
mod istiod;
mod link;
mod process;
mod server;
mod watched;

pub use api::Api;
pub use definition::permissive_definition;
pub use istiod::{Istiod, Ports};
pub use link::Link;
pub use server::ApiServer;
pub use watched::Watched;
