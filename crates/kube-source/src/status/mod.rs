//! What is said of Istio's objects, written to their `status`.
//!
//! In: the wanted status of every object, as a whole, whenever something of it has changed. Out: server-side apply of
//! conditions, messages, `observedGeneration` and allocated addresses, by the leader only, and Events for refusals. Of
//! objects that every revision reads, only one revision writes the status. Likewise the addresses of Ingresses.
//! Never: a write that changes nothing, a write over what another controller owns, or a second one to the same object
//! within a second. Read first: `writer.rs`, then `apply.rs`; for Ingresses, `ingress.rs`.

mod apply;
mod current;
mod event;
mod ingress;
mod leadership;
mod metrics;
mod writer;

pub use ingress::{DesiredIngresses, LoadBalancerAddress, run as run_ingresses};
pub use leadership::Leadership;
pub use metrics::StatusMetrics;
pub use writer::run;

use base::ObjectRef;
use std::{collections::BTreeMap, sync::Arc};

/// The wanted status of every object. An object that did not change keeps its allocation.
pub type DesiredStatuses = BTreeMap<ObjectRef, Arc<DesiredStatus>>;

/// The wanted status of one object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DesiredStatus {
    /// Whose object it is.
    pub revision: ObjectRevision,
    /// The generation that it is about; none for an object that was refused, of which only the API server knows it.
    pub generation: Option<i64>,
    /// At most one of each type.
    pub conditions: Vec<DesiredCondition>,
    /// What analysis found.
    pub messages: Vec<DesiredMessage>,
    /// For a ServiceEntry, the addresses of its hosts.
    pub addresses: Vec<DesiredAddress>,
}

/// Whether an object is for one revision only (label `istio.io/rev`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ObjectRevision {
    /// Every revision reads it; one of all leaders writes its status.
    #[default]
    All,
    /// Only our revision reads it; its leader writes the status.
    Ours,
    /// Only the API server knows: the object was refused before its label was read.
    Unknown,
}

/// A condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredCondition {
    /// What it is about.
    pub condition_type: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// A word for machines.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// A finding of analysis, as Istio's `validationMessages` have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredMessage {
    /// `IST0101`, or a word of ours.
    pub code: &'static str,
    /// `ERROR`, `WARNING` or `INFO`.
    pub level: &'static str,
    /// A name for people.
    pub name: String,
}

/// An allocated address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredAddress {
    /// The IP address.
    pub value: String,
    /// The host it is for.
    pub host: String,
}
