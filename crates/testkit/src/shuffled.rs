//! The objects of a case in another order, in many turns, some of them deleted and made again: whatever the way, the end must
//! be what one turn with everything gives.

use crate::{case::Case, mesh, random::Random};
use anyhow::{Context, Result, ensure};
use config::{Change, Event};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use xds::Input;
use xds_wire::{Encoded, ResourceType, View};

/// How many ways are tried, unless `ROUNDS` says otherwise.
const ROUNDS: u64 = 6;

fn rounds() -> u64 {
    std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// Tries some ways, which are the same in every run.
///
/// # Errors
/// If a way leads elsewhere; the text names the resources that differ.
pub fn check(case: &Case) -> Result<()> {
    let (state, wanted) = mesh::build(case)?;
    let findings = mesh::diagnostics(&state);
    for round in 0..rounds() {
        let mut random = Random::seeded(&case.name, round);
        let (mut state, mut view) = (mesh::state(case), Arc::new(View::default()));
        let mut turns = turns(case, &mut random)?;
        turns.push(again(case)?);
        for batch in turns {
            if let Some((_, newer)) = state.turn(batch).views.into_iter().find(|(proxy, _)| *proxy == mesh::PROXY) {
                view = newer;
            }
            // After every turn of the first way; the others are compared at their end.
            for (key, class) in state.classes().iter().filter(|_| round == 0) {
                let different = differences(&state.from_scratch(key), &class.view);
                ensure!(different.is_empty(), "in round {round}, turn {} leaves these behind: {different:?}", state.statistics().turns);
            }
        }
        let different = differences(&wanted, &view);
        ensure!(different.is_empty(), "in round {round} these differ from a fresh build: {different:?}");
        let told = mesh::diagnostics(&state);
        ensure!(told == findings, "in round {round} the findings differ: {told:#?}");
    }
    Ok(())
}

/// All events, in a random order and number of turns. The proxy connects somewhere between.
fn turns(case: &Case, random: &mut Random) -> Result<Vec<Vec<Input>>> {
    let mut tracks: Vec<VecDeque<Input>> = mesh::events(case)?.into_iter().map(|event| track(event, random)).collect();
    tracks.push(VecDeque::from([mesh::connect(case)?]));
    let mut turns = Vec::new();
    while !tracks.is_empty() {
        let mut batch = Vec::new();
        for _ in 0..=random.below(4) {
            let chosen = random.below(tracks.len());
            let Some(track) = tracks.get_mut(chosen) else { continue };
            batch.extend(track.pop_front());
            if track.is_empty() {
                tracks.swap_remove(chosen);
            }
        }
        turns.push(batch);
    }
    Ok(turns)
}

/// What happens to one object: it is made; for every third it is then deleted and made again.
fn track(event: Event, random: &mut Random) -> VecDeque<Input> {
    let mut track = VecDeque::from([Input::Event(event.clone())]);
    if let (0, Some(delete)) = (random.below(3), deletion(&event)) {
        track.push_back(Input::Event(delete));
        track.push_back(Input::Event(event));
    }
    track
}

fn deletion(event: &Event) -> Option<Event> {
    let Change::Set(object) = &event.change else { return None };
    let metadata = object.metadata();
    let change = Change::Delete { kind: object.kind(), namespace: metadata.namespace.clone(), name: metadata.name.clone() };
    Some(Event { cluster: event.cluster.clone(), change })
}

/// One turn in which every object is deleted and made again.
fn again(case: &Case) -> Result<Vec<Input>> {
    let events = mesh::events(case)?;
    let pairs = events.into_iter().filter_map(|event| Some([deletion(&event)?, event]));
    Ok(pairs.flatten().map(Input::Event).collect())
}

/// The resources that are not the same in both, by type and name.
pub fn differences(one: &View, other: &View) -> Vec<String> {
    let mut different = Vec::new();
    for kind in ResourceType::ALL {
        let content = |resource: &Encoded| (resource.body(), resource.origins().cloned().collect::<Vec<_>>());
        let index = |view: &View| -> BTreeMap<String, _> {
            view.of(kind).iter().map(|resource| (resource.name.to_string(), content(resource))).collect()
        };
        let (one, other) = (index(one), index(other));
        let names = one.keys().chain(other.keys().filter(|name| !one.contains_key(*name)));
        different.extend(names.filter(|name| one.get(*name) != other.get(*name)).map(|name| format!("{kind} {name}")));
    }
    different
}

/// The pipeline of a case, ready for more turns, with the view that its proxy has so far.
pub struct Running {
    /// The pipeline.
    pub state: xds::State,
    /// The newest view.
    pub view: Arc<View>,
}

impl Running {
    /// Takes one turn with everything.
    ///
    /// # Errors
    /// If the case cannot be built.
    pub fn start(case: &Case) -> Result<Self> {
        let (state, view) = mesh::build(case)?;
        Ok(Self { state, view })
    }

    /// Takes a turn with the objects of `text`; gives the names of the resources that are new or different or gone, and the
    /// difference of the counters of rows: clusters, endpoints, routes, listeners.
    ///
    /// # Errors
    /// If the text is not as it should be.
    pub fn apply(&mut self, text: &str) -> Result<(Vec<String>, [u64; 4])> {
        let events =
            config::file::FileSet::new(mesh::cluster()).apply([("change.yaml".into(), config::file::Contents::Bytes(text.into()))]);
        ensure!(mesh::objects(&events).next().is_some(), "no object in {text}");
        let before = self.rows();
        let views = self.state.turn(events.into_iter().map(Input::Event).collect()).views;
        let old = self.view.clone();
        if let Some((_, view)) = views.into_iter().find(|(proxy, _)| *proxy == mesh::PROXY) {
            self.view = view;
        }
        let rows: Vec<u64> = self.rows().iter().zip(before).map(|(after, before)| after - before).collect();
        Ok((differences(&old, &self.view), rows.try_into().ok().context("four counters")?))
    }

    fn rows(&self) -> [u64; 4] {
        let counters = self.state.statistics();
        [counters.cluster_rows, counters.endpoint_rows, counters.route_rows, counters.listener_rows]
    }
}
