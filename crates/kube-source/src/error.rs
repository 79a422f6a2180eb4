//! What can fail for good; a server that does not answer is no failure, but waited for.

use std::path::PathBuf;

/// Why there can be no client, or no metrics. A retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be read or understood.
    #[error("cannot use the kubeconfig {}: {source}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: kube::config::KubeconfigError,
    },
    /// There is no service account where a pod has one.
    #[error("cannot use the service account of the pod: {0}; outside of a cluster, name a kubeconfig with --kubeconfig")]
    InCluster(#[from] kube::config::InClusterError),
    /// The settings make no client.
    #[error("cannot make a client of the API server: {0}")]
    Client(#[from] kube::Error),
    /// A metric has been registered before.
    #[error("cannot register the metrics of the Kubernetes source: {0}")]
    Metrics(#[from] prometheus::Error),
}
