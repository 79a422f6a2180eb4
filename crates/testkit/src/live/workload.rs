//! A workload of a case: its proxy's configuration, and the real Envoy that has it.

use super::{
    certificates::Authority,
    discovery::{self, Served},
    proxy::Envoy,
    room::Room,
    sds::Sds,
};
use crate::case::Proxy;
use anyhow::{Context, Result, anyhow};
use simulation::Resources;
use std::{fs, path::Path, sync::Arc};
use xds_wire::View;

/// A proxy with what it got.
pub struct Workload<'a> {
    /// As the case describes it.
    pub proxy: &'a Proxy,
    /// Where it is.
    pub room: Room,
    /// What it gets.
    pub resources: Resources,
    view: Arc<View>,
}

impl<'a> Workload<'a> {
    /// A workload whose Envoy does not run yet.
    ///
    /// # Errors
    /// If what it gets cannot be decoded.
    pub fn new(proxy: &'a Proxy, view: Arc<View>, room: Room) -> Result<Self> {
        let resources = Resources::from_view(&view).map_err(|error| anyhow!("{}: {}", error.name, error.message))?;
        Ok(Self { proxy, room, resources, view })
    }

    /// Serves its Envoy another view.
    ///
    /// # Errors
    /// If it cannot be decoded.
    pub fn update(&mut self, view: Arc<View>, running: &Running) -> Result<()> {
        self.resources = Resources::from_view(&view).map_err(|error| anyhow!("{}: {}", error.name, error.message))?;
        self.view = view.clone();
        running.served.publish(view);
        Ok(())
    }

    /// Starts its Envoy, which keeps its files in a folder of `scratch`.
    ///
    /// # Errors
    /// If Envoy does not start; the text holds what it refused.
    pub async fn start(&self, authority: &Authority, scratch: &Path) -> Result<Running> {
        let scratch = scratch.join(&self.proxy.name);
        fs::create_dir(&scratch)?;
        let served = discovery::serve(self.view.clone(), &scratch.join("ads.sock"))?;
        let path = scratch.join("sds.sock");
        let sds = match self.proxy.has_agent() {
            true => Some(Sds::serve(authority, &self.proxy.identity(), &path)?),
            false => None,
        };
        let envoy = Envoy::start(self.proxy, &self.room, &scratch, &served.socket, sds.is_some().then_some(path.as_path())).await;
        let envoy = envoy.with_context(|| format!("the Envoy of {}: {}", self.proxy.name, served.refusals()))?;
        Ok(Running { envoy, served, sds })
    }
}

/// The Envoy of a workload, and what serves it.
pub struct Running {
    /// The process.
    pub envoy: Envoy,
    /// Its ADS server.
    pub served: Served,
    /// Its SDS server, if it has an agent.
    pub sds: Option<Sds>,
}
