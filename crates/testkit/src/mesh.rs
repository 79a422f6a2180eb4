//! The whole pipeline, from the text of a case to the view of its proxy.

use crate::case::{Case, Proxy};
use analysis::{Foreign, Mesh, Needs};
use anyhow::{Context, Result, anyhow};
use base::{ClusterId, Diagnostic, DomainSuffix, Level};
use config::{
    Change, Event, Features,
    file::{Contents, FileSet, load_mesh_config, load_mesh_networks},
};
use istio_api::AnyObject;
use std::{collections::BTreeMap, sync::Arc};
use xds::{Input, ProxyId, State, parse_node};
use xds_api::{Wire, envoy::config::core::v3::Node};
use xds_wire::{View, json};

/// The proxy of the case.
pub const PROXY: ProxyId = 1;

/// The cluster that the objects of a case are in.
pub fn cluster() -> ClusterId {
    ClusterId::new("Kubernetes")
}

/// A fresh pipeline, in the environment of the case.
pub fn state(case: &Case) -> State {
    State::with_features(DomainSuffix::new("cluster.local"), Features::read(|name| case.file.environment.get(name).cloned()))
}

/// What the file sources say of the case's `input.yaml`, of its settings, and of its remote clusters.
///
/// # Errors
/// If the input cannot be read.
pub fn events(case: &Case) -> Result<Vec<Event>> {
    let mut events = FileSet::new(cluster()).apply([("input.yaml".into(), Contents::Bytes(case.input()?))]);
    let mesh = case.folder.join("mesh.yaml");
    if mesh.exists() {
        let (mesh, diagnostics) = load_mesh_config(&mesh);
        events.push(Event { cluster: cluster(), change: Change::Mesh(Arc::new(mesh)) });
        events.push(Event { cluster: cluster(), change: Change::Findings { source: "mesh.yaml".into(), diagnostics } });
    }
    let networks = case.folder.join("networks.yaml");
    if networks.exists() {
        let (networks, diagnostics) = load_mesh_networks(&networks);
        events.push(Event { cluster: cluster(), change: Change::Networks(Arc::new(networks)) });
        events.push(Event { cluster: cluster(), change: Change::Findings { source: "networks.yaml".into(), diagnostics } });
    }
    for (cluster, text) in case.remote()? {
        events.extend(FileSet::new(cluster).apply([("remote.yaml".into(), Contents::Bytes(text))]));
    }
    // What istiod would have looked up.
    events.extend(case.file.dns.iter().map(|(name, address)| {
        let change = Change::Addresses { name: Arc::from(name.as_str()), addresses: Arc::from([*address]) };
        Event { cluster: cluster(), change }
    }));
    Ok(events)
}

/// The objects among events.
pub fn objects(events: &[Event]) -> impl Iterator<Item = &AnyObject> {
    events.iter().filter_map(|event| match &event.change {
        Change::Set(object) => Some(object),
        _ => None,
    })
}

/// The input that connects the proxy of the case.
///
/// # Errors
/// If its node is refused.
pub fn connect(case: &Case) -> Result<Input> {
    connect_proxy(PROXY, &case.file.proxy)
}

fn connect_proxy(id: ProxyId, proxy: &Proxy) -> Result<Input> {
    let node = json::from_json("envoy.config.core.v3.Node", &proxy.node())?;
    let traits = parse_node(&Node::from_bytes(&node)?).map_err(|error| anyhow!("the node is refused: {}", error.0))?;
    Ok(Input::Connected(id, Box::new(traits)))
}

/// The pipeline after one turn with everything, and the views of all proxies of the case, in the order of [`Case::proxies`].
///
/// # Errors
/// If the case cannot be read, or nothing is published for a proxy.
pub fn views(case: &Case) -> Result<(State, Vec<Arc<View>>)> {
    let mut inputs: Vec<Input> = events(case)?.into_iter().map(Input::Event).collect();
    let ids: Vec<ProxyId> = (PROXY..).zip(case.proxies()).map(|(id, _)| id).collect();
    for (id, proxy) in ids.iter().zip(case.proxies()) {
        inputs.push(connect_proxy(*id, proxy)?);
    }
    let mut state = state(case);
    let mut views: BTreeMap<ProxyId, Arc<View>> = state.turn(inputs).views.into_iter().collect();
    let views = ids.iter().map(|id| views.remove(id).context("no view was published for a proxy")).collect::<Result<_>>()?;
    Ok((state, views))
}

/// Another turn, with the objects of another file of the case; the views that changed, by the place of their proxy.
///
/// # Errors
/// If the file cannot be read.
pub fn apply(state: &mut State, case: &Case, file: &str) -> Result<Vec<(usize, Arc<View>)>> {
    let bytes = std::fs::read(case.folder.join(file)).with_context(|| file.to_owned())?;
    let events = FileSet::new(cluster()).apply([(file.into(), Contents::Bytes(bytes))]);
    let publication = state.turn(events.into_iter().map(Input::Event).collect());
    let place = |id| usize::try_from(id - PROXY).ok();
    Ok(publication.views.into_iter().filter_map(|(id, view)| Some((place(id)?, view))).collect())
}

/// The pipeline after one turn with everything, and the view of the proxy.
///
/// # Errors
/// If the case cannot be read, or nothing is published for the proxy.
pub fn build(case: &Case) -> Result<(State, Arc<View>)> {
    let mut state = state(case);
    let mut inputs: Vec<Input> = events(case)?.into_iter().map(Input::Event).collect();
    inputs.push(connect(case)?);
    let publication = state.turn(inputs);
    let (_, view) = publication.views.into_iter().find(|(proxy, _)| *proxy == PROXY).context("no view was published for the proxy")?;
    Ok((state, view))
}

/// What users are told: of their files, of their objects together (those of a case are no whole mesh, so without what needs
/// to know the pods), and of the classes of proxies.
pub fn diagnostics(state: &State) -> Vec<Diagnostic> {
    let mesh = Mesh { store: state.store(), foreign: &Foreign::default(), snapshot: Some(state.snapshot()) };
    let together = analysis::analyze(&mesh, Needs::Services, false);
    let classes = xds::diagnostics(state.snapshot(), state.classes().keys());
    state.store().findings.values().flatten().cloned().chain(together).chain(classes).collect()
}

/// Compares what users are told with what the case says. Without a word in the case nothing may be wrong.
///
/// # Errors
/// If the two differ.
pub fn check_findings(case: &Case, diagnostics: &[Diagnostic]) -> Result<()> {
    let texts: Vec<String> = diagnostics.iter().filter(|diagnostic| diagnostic.level != Level::Info).map(ToString::to_string).collect();
    let wanted = &case.file.findings;
    let unexpected: Vec<&String> = texts.iter().filter(|text| !wanted.iter().any(|wanted| text.contains(wanted))).collect();
    let missing: Vec<&String> = wanted.iter().filter(|wanted| !texts.iter().any(|text| text.contains(*wanted))).collect();
    anyhow::ensure!(unexpected.is_empty(), "unexpected findings: {unexpected:#?}");
    anyhow::ensure!(missing.is_empty(), "missing findings: {missing:#?}; there are {texts:#?}");
    Ok(())
}
