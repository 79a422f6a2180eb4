//! The command line, with the flags of Istio's `pilot-discovery`.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The control plane of the mesh.
#[derive(Parser, Debug)]
#[command(name = "istiod", about = "Control plane of an Istio service mesh", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Serves configuration to proxies.
    Discovery(Box<Discovery>),
    /// Prints a service-account token for an agent, where there is no Kubernetes to give it one.
    Token(crate::identity::TokenArguments),
    /// Prints the version.
    Version,
}

/// The flags of `discovery`. An empty address turns its listener off.
#[derive(Args, Debug, Clone)]
#[command(rename_all = "camelCase")]
pub struct Discovery {
    /// Folder of YAML and JSON files with Istio and Kubernetes objects, followed as it changes
    #[arg(long)]
    pub config_dir: Option<PathBuf>,
    /// Folder with one sub-folder of objects for each remote cluster
    #[arg(long)]
    pub remote_config_dir: Option<PathBuf>,
    /// File with the mesh-wide settings
    #[arg(long, default_value = "./etc/istio/config/mesh")]
    pub mesh_config: PathBuf,
    /// File with the networks of the mesh
    #[arg(long, default_value = "./etc/istio/config/meshNetworks")]
    pub networks_config: PathBuf,
    /// DNS suffix of the cluster
    #[arg(long, default_value = "cluster.local")]
    pub domain: String,
    /// The cluster that the objects belong to
    #[arg(long = "clusterID", default_value = "Kubernetes", env = "CLUSTER_ID")]
    pub cluster_id: String,
    /// Plaintext gRPC address for proxies
    #[arg(long, default_value = ":15010")]
    pub grpc_addr: String,
    /// HTTP address for readiness and debug pages
    #[arg(long, default_value = ":8080")]
    pub http_addr: String,
    /// HTTPS address for webhooks: validation
    #[arg(long, default_value = ":15017")]
    pub https_addr: String,
    /// What the API server does with objects while it cannot ask us: Fail (refuse them) or Ignore
    #[arg(long, default_value = "Fail", env = "VALIDATION_FAILURE_POLICY")]
    pub validation_failure_policy: webhook::FailurePolicy,
    /// TLS gRPC address for proxies: configuration and certificates
    #[arg(long = "secureGRPCAddr", default_value = ":15012")]
    pub secure_grpc_addr: String,
    /// HTTP address for metrics
    #[arg(long, default_value = ":15014")]
    pub monitoring_addr: String,
    /// How long everything is still answered after SIGTERM, so that everybody learns that this process is not ready any more
    #[arg(long, default_value = "5s", env = "DRAIN_DURATION")]
    pub drain_duration: istio_api::Duration,
    /// How long open connections may then take to end
    #[arg(long, default_value = "10s")]
    pub shutdown_duration: istio_api::Duration,
    /// Level of the log: LEVEL, or SCOPE:LEVEL,…
    #[arg(long = "log_output_level", default_value = "default:info")]
    pub log_output_level: String,
    /// Log lines as JSON
    #[arg(long = "log_as_json")]
    pub log_as_json: bool,
    /// The cluster that is followed
    #[command(flatten)]
    pub kubernetes: crate::sources::KubernetesArguments,
    /// Certificates, and who may have them
    #[command(flatten)]
    pub identity: crate::identity::IdentityArguments,
}
