//! Which of Istio's kinds the API server knows: their definitions come and go, and their watches with them.

use crate::{
    decode::{Name, name_of},
    watch::{Notice, Version},
};
use bytes::Bytes;
use istio_api::Kind;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";
/// Their version.
pub const VERSION: Version = "v1";
/// Their collection.
pub const PLURAL: &str = "customresourcedefinitions";

/// Whether every API server has the kind, without a definition.
pub fn is_built_in(kind: Kind) -> bool {
    matches!(kind.group(), "" | "discovery.k8s.io" | "networking.k8s.io")
}

/// The definitions of our kinds.
#[derive(Default)]
pub struct Definitions {
    known: BTreeMap<Name, (Kind, Version)>,
    listing: Option<BTreeMap<Name, (Kind, Version)>>,
}

/// The kinds that can be watched, and in which version.
pub type Served = BTreeMap<Kind, Version>;

#[derive(Deserialize)]
struct Definition {
    spec: Spec,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    names: Names,
    versions: Vec<VersionSpec>,
}

#[derive(Deserialize)]
struct Names {
    plural: String,
}

#[derive(Deserialize)]
struct VersionSpec {
    name: String,
    served: bool,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    name: String,
    status: String,
}

impl Definitions {
    /// Takes a batch of notices; the kinds that are served now, if a list has been complete.
    pub fn take(&mut self, notices: Vec<Notice>) -> Option<Served> {
        let mut complete = false;
        for notice in notices {
            match notice {
                Notice::ListBegins => self.listing = Some(BTreeMap::new()),
                Notice::Listed(text) => {
                    if let (Some(name), Some(served)) = (name_of(&text), served(&text)) {
                        self.listing.get_or_insert_default().insert(name, served);
                    }
                }
                Notice::ListEnds => self.known = self.listing.take().unwrap_or_default(),
                Notice::Changed(text) => self.change(&text),
                Notice::Deleted(text) => {
                    if let Some(name) = name_of(&text) {
                        self.known.remove(&name);
                    }
                }
            }
            complete |= self.listing.is_none();
        }
        complete.then(|| self.known.values().copied().collect())
    }

    fn change(&mut self, text: &Bytes) {
        let Some(name) = name_of(text) else { return };
        match served(text) {
            Some(served) => self.known.insert(name, served),
            None => self.known.remove(&name),
        };
    }
}

/// Our kind that a definition defines, if the API server serves it in a version of ours. The versions differ in name only.
fn served(text: &Bytes) -> Option<(Kind, Version)> {
    let Definition { spec, status } = serde_json::from_slice(text).ok()?;
    let established = status.and_then(|status| status.conditions).unwrap_or_default();
    if !established.iter().any(|condition| condition.name == "Established" && condition.status == "True") {
        return None;
    }
    let kind =
        Kind::ALL.iter().copied().find(|kind| !is_built_in(*kind) && kind.group() == spec.group && kind.plural() == spec.names.plural)?;
    let version = kind.versions().iter().find(|ours| spec.versions.iter().any(|version| version.served && version.name == **ours))?;
    Some((kind, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(versions: &[(&str, bool)], established: &str) -> Bytes {
        let versions: Vec<_> = versions.iter().map(|(name, served)| json!({ "name": name, "served": served })).collect();
        let value = json!({
            "metadata": { "name": "gateways.networking.istio.io" },
            "spec": { "group": "networking.istio.io", "names": { "plural": "gateways" }, "versions": versions },
            "status": { "conditions": [{ "type": "Established", "status": established }] },
        });
        Bytes::from(value.to_string())
    }

    #[test]
    fn the_best_served_version_of_an_established_definition() {
        let mut definitions = Definitions::default();
        assert_eq!(definitions.take(vec![Notice::ListBegins]), None);
        let old = definition(&[("v1alpha3", true), ("v1beta1", true), ("v1", false)], "True");
        let served = definitions.take(vec![Notice::Listed(old), Notice::ListEnds]);
        assert_eq!(served, Some(BTreeMap::from([(Kind::Gateway, "v1beta1")])));
        let new = definition(&[("v1beta1", true), ("v1", true)], "True");
        assert_eq!(definitions.take(vec![Notice::Changed(new.clone())]), Some(BTreeMap::from([(Kind::Gateway, "v1")])));
        let going = definition(&[("v1", true)], "False");
        assert_eq!(definitions.take(vec![Notice::Changed(going)]), Some(BTreeMap::new()));
        assert_eq!(definitions.take(vec![Notice::Deleted(new)]), Some(BTreeMap::new()));
    }
}
