//! Outbound listeners as far as all classes of a part have them in common.

use crate::delta::Delta;
use crate::resolve::{View as ClassView, outbound, outbound::Draft};
use base::Hostname;
use envoy::listener::Bind;
use incremental::Cell;
use model::SidecarScope;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a computation has looked up.
pub struct Seen {
    reads: Box<[Cell]>,
    /// The hosts whose rules were looked at.
    ruled: BTreeSet<Hostname>,
}

impl Seen {
    /// What was looked up through the view since this was last asked.
    pub fn of(view: &ClassView<'_>) -> Self {
        Self { reads: view.reads.take(), ruled: view.ruled.take() }
    }

    /// Whether any of it differs.
    pub fn reached(&self, delta: &Delta) -> bool {
        delta.settings
            || delta.touched.reaches(&self.reads)
            || (!delta.rules.is_empty() && self.ruled.iter().any(|host| delta.rules_about(host)))
    }
}

/// Kept from turn to turn: a draft that is equal to the last one keeps its allocation, so that its listener is not built
/// again.
#[derive(Default)]
pub struct Drafts {
    /// By address.
    pub rows: Arc<BTreeMap<Bind, Arc<Draft>>>,
    seen: Option<Seen>,
}

impl Drafts {
    /// Makes them again if anything differs that they depend on: `services` if the listeners see other services.
    pub fn advance(&mut self, view: &ClassView<'_>, scope: &SidecarScope, services: bool, delta: &Delta) {
        if !services && self.seen.as_ref().is_some_and(|seen| !seen.reached(delta)) {
            return;
        }
        let made = outbound::drafts(view, scope).into_iter().map(|(bind, draft)| {
            let kept = self.rows.get(&bind).filter(|known| ***known == draft).cloned();
            (bind, kept.unwrap_or_else(|| Arc::new(draft)))
        });
        self.rows = Arc::new(made.collect());
        self.seen = Some(Seen::of(view));
    }
}
