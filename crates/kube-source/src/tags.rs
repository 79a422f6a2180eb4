//! Revision tags: further names of this control plane, each a MutatingWebhookConfiguration `istio-revision-tag-…` whose
//! labels say which tag (`istio.io/tag`) stands for which revision (`istio.io/rev`).

use crate::{decode::Name, watch::Notice};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

/// The label whose objects are followed.
pub const TAG: &str = "istio.io/tag";
/// The revision that an object is for.
pub const REVISION: &str = "istio.io/rev";

/// The tags of a revision, once they are known.
pub type Known = Option<BTreeSet<Arc<str>>>;

#[derive(Deserialize)]
struct Webhook {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: Arc<str>,
    #[serde(default)]
    labels: BTreeMap<String, Arc<str>>,
}

/// What one webhook says.
struct Meaning {
    tag: Arc<str>,
    revision: Arc<str>,
}

/// The webhooks with tags.
#[derive(Default)]
pub struct Tags {
    webhooks: BTreeMap<Name, Meaning>,
    listing: Option<BTreeMap<Name, Meaning>>,
}

impl Tags {
    /// Tells the tags of `revision` whenever they change, until the notices end; `pending` is let go with the first.
    pub async fn run(
        mut self,
        revision: Arc<str>,
        mut notices: mpsc::Receiver<Vec<Notice>>,
        out: watch::Sender<Known>,
        pending: mpsc::Sender<()>,
    ) {
        let mut pending = Some(pending);
        while let Some(batch) = notices.recv().await {
            batch.into_iter().for_each(|notice| self.take(notice));
            if self.listing.is_some() {
                continue;
            }
            let ours = self.webhooks.values().filter(|webhook| webhook.revision == revision).map(|webhook| webhook.tag.clone()).collect();
            out.send_if_modified(|known| {
                let new = Some(ours);
                let changed = *known != new;
                *known = new;
                changed
            });
            drop(pending.take());
        }
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::ListBegins => self.listing = Some(BTreeMap::new()),
            Notice::Listed(text) => self.listing.get_or_insert_default().extend(read(&text)),
            Notice::ListEnds => self.webhooks = self.listing.take().unwrap_or_default(),
            Notice::Changed(text) => self.webhooks.extend(read(&text)),
            Notice::Deleted(text) => {
                if let Some((name, _)) = read(&text) {
                    self.webhooks.remove(&name);
                }
            }
        }
    }
}

fn read(text: &[u8]) -> Option<(Name, Meaning)> {
    let Webhook { metadata } = serde_json::from_slice(text).ok()?;
    let label = |name: &str| metadata.labels.get(name).cloned().unwrap_or_default();
    Some((Name { namespace: Default::default(), name: metadata.name.clone() }, Meaning { tag: label(TAG), revision: label(REVISION) }))
}
