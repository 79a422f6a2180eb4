//! The AuthorizationPolicies of a workload, by what they do.

use crate::policy_attachment::{AttachedPolicies, PolicySubject};
use istio_api::Object;
use istio_api::security::authorization_policy::{Action, AuthorizationPolicy};
use std::{collections::BTreeMap, sync::Arc};

/// The annotation that makes a policy count what it would do, and do nothing.
const DRY_RUN: &str = "istio.io/dry-run";

/// The policies that apply to one workload. Those of the root namespace come before those of its own; within a namespace the
/// oldest comes first. The order decides nothing but under which name a request is refused or let in.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct WorkloadPolicies {
    /// By the name of the provider that they ask.
    pub custom: BTreeMap<String, Vec<Arc<Object<AuthorizationPolicy>>>>,
    /// Those that only log.
    pub audit: Vec<Arc<Object<AuthorizationPolicy>>>,
    /// Those that refuse.
    pub deny: Vec<Arc<Object<AuthorizationPolicy>>>,
    /// Those that let in.
    pub allow: Vec<Arc<Object<AuthorizationPolicy>>>,
}

impl WorkloadPolicies {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Object<AuthorizationPolicy>>> {
        self.custom.values().flatten().chain(&self.audit).chain(&self.deny).chain(&self.allow)
    }
}

impl AttachedPolicies<AuthorizationPolicy> {
    /// The policies of a workload.
    pub fn of_workload(&self, subject: PolicySubject<'_>) -> WorkloadPolicies {
        let mut out = WorkloadPolicies::default();
        for policy in self.of_mesh(subject).chain(self.of_namespace(subject)) {
            let provider = policy.spec.provider.as_ref().map(|provider| provider.name.clone()).unwrap_or_default();
            let place = match policy.spec.action {
                Action::Custom => out.custom.entry(provider).or_default(),
                Action::Audit => &mut out.audit,
                Action::Deny => &mut out.deny,
                Action::Allow => &mut out.allow,
            };
            place.push(policy.clone());
        }
        out
    }
}

/// Whether a policy is only tried. Go's spellings of true count.
pub fn is_dry_run(policy: &Object<AuthorizationPolicy>) -> bool {
    let value = policy.metadata.annotations.get(DRY_RUN).map(String::as_str);
    matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}
