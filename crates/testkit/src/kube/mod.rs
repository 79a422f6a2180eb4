//! A real Kubernetes API server on loopback: etcd, kube-apiserver and kube-controller-manager, without nodes.
//!
//! `make kube` puts the binaries below `.cache/kube`. A test begins with
//! `let Some(server) = ApiServer::start()? else { return Ok(()) };`: where the binaries are missing, that says "skipped".
//! Everything ends with the value, and with the process should that be killed.

mod process;
mod server;

pub use server::ApiServer;
