//! The way to an API server.

use crate::Error;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::path::PathBuf;

/// How the API server is found, and how we show who we are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// A kubeconfig, with its current context.
    Kubeconfig(PathBuf),
    /// The service account of the pod that this process is in.
    InCluster,
}

/// A client; nothing is sent yet. Its connections may all be used at once, and are limited by the server alone (API
/// priority and fairness), not by a rate of our own.
pub async fn connect(access: &Access) -> Result<Client, Error> {
    let config = match access {
        Access::InCluster => Config::incluster()?,
        Access::Kubeconfig(path) => {
            let fail = |source| Error::Kubeconfig { path: path.clone(), source };
            let kubeconfig = Kubeconfig::read_from(path).map_err(fail)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(fail)?
        }
    };
    Ok(Client::try_from(config)?)
}
