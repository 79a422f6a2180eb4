//! What of a rotation must outlive the process.

use super::generation::Generation;
use crate::root::{KeyMaterial, RootData};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a rotation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// There is one generation.
    #[default]
    Settled,
    /// The old one signs, both are accepted.
    Distributing,
    /// The new one signs, both are accepted.
    Signing,
}

/// What one replica says of its own proxies.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// None of them holds the phase up.
    pub ready: bool,
    /// When it said so: seconds since 1970.
    pub at: i64,
}

/// The state of a rotation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// How far it is.
    pub phase: Phase,
    /// Since when: seconds since 1970.
    pub since: i64,
    /// The only one, or the old one.
    pub old: Generation,
    /// What takes its place.
    pub new: Option<Generation>,
    /// When the last certificate of the old generation expires: seconds since 1970. Known while signing.
    pub old_expires: i64,
    /// The replicas that take part.
    pub reports: BTreeMap<String, Report>,
}

/// What stands beside the materials, as `rotation.json`.
#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Note {
    phase: Phase,
    since: i64,
    old_trust_domain: String,
    new_trust_domain: String,
    old_expires: i64,
    reports: BTreeMap<String, Report>,
}

const NOTE: &str = "rotation.json";
/// What takes the place of the files without this word before their names.
const NEXT: &str = "next-";

impl State {
    /// One generation, for good.
    pub fn settled(generation: Generation, since: i64) -> Self {
        Self { phase: Phase::Settled, since, old: generation, new: None, old_expires: 0, reports: BTreeMap::new() }
    }

    /// Reads what [`State::write`] has written, or what Istio has: a root without a rotation. `trust_domain` is meant
    /// where none is stored. `None` if no root is there, or the note beside it is damaged.
    pub fn read(data: &RootData, trust_domain: &str) -> Option<Self> {
        let named = |name: &str| if name.is_empty() { trust_domain.to_owned() } else { name.to_owned() };
        let note: Note = match data.0.get(NOTE) {
            Some(text) => serde_json::from_str(text).ok()?,
            None => Note::default(),
        };
        let old = Generation { material: data.material(), trust_domain: named(&note.old_trust_domain) };
        let next = prefixed(data);
        let new = (!next.0.is_empty()).then(|| Generation { material: next.material(), trust_domain: named(&note.new_trust_domain) });
        let phase = if new.is_some() { note.phase } else { Phase::Settled };
        Some(Self { phase, since: note.since, old, new, old_expires: note.old_expires, reports: note.reports })
    }

    /// Whether [`State::write`] has written it.
    pub fn is_noted(data: &RootData) -> bool {
        data.0.contains_key(NOTE)
    }

    /// What is stored of it.
    pub fn write(&self) -> RootData {
        let mut data = RootData::of(self.old.material.clone());
        if let Some(new) = &self.new {
            data.0.extend(RootData::of(new.material.clone()).0.into_iter().map(|(name, value)| (format!("{NEXT}{name}"), value)));
        }
        let note = Note {
            phase: self.phase,
            since: self.since,
            old_trust_domain: self.old.trust_domain.clone(),
            new_trust_domain: self.new.as_ref().map(|new| new.trust_domain.clone()).unwrap_or_default(),
            old_expires: self.old_expires,
            reports: self.reports.clone(),
        };
        // Strings and numbers always have a JSON.
        data.0.insert(NOTE.to_owned(), serde_json::to_string(&note).unwrap_or_default());
        data
    }

    /// The generation that signs.
    pub fn signing(&self) -> &Generation {
        match (self.phase, &self.new) {
            (Phase::Signing, Some(new)) => new,
            _ => &self.old,
        }
    }

    /// The generation that it leads to.
    pub fn target(&self) -> &Generation {
        self.new.as_ref().unwrap_or(&self.old)
    }

    /// Steps into a phase; every replica must find its proxies ready anew.
    pub fn enter(&mut self, phase: Phase, now: i64) {
        self.phase = phase;
        self.since = now;
        for report in self.reports.values_mut() {
            report.ready = false;
        }
    }
}

/// What a process that starts signs with, if a rotation of ours has left a state: of an unfinished one the generation
/// that signs, with the roots of both. `None` leaves it to what the process is started with.
pub fn resume(data: &RootData) -> Option<KeyMaterial> {
    if !State::is_noted(data) {
        return None;
    }
    let state = State::read(data, "")?;
    let roots = match &state.new {
        Some(new) => format!("{}{}", state.old.material.roots, new.material.roots),
        None => state.old.material.roots.clone(),
    };
    Some(KeyMaterial { roots, ..state.signing().material.clone() })
}

fn prefixed(data: &RootData) -> RootData {
    let next = data.0.iter().filter_map(|(name, value)| Some((name.strip_prefix(NEXT)?.to_owned(), value.clone())));
    RootData(next.collect())
}

impl KeyMaterial {
    /// Without revocation lists, which are not stored.
    pub(crate) fn stored(&self) -> Self {
        Self { crl: None, ..self.clone() }
    }
}
