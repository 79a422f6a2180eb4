//! The issuers of tokens that a workload knows.

use crate::policy_attachment::{AttachedPolicies, PolicySubject};
use istio_api::Object;
use istio_api::security::request_authentication::{JwtRule, RequestAuthentication};
use std::sync::Arc;

impl AttachedPolicies<RequestAuthentication> {
    /// The policies of a workload, of its own namespace first.
    pub fn of_workload<'a>(&'a self, subject: PolicySubject<'a>) -> Vec<&'a Arc<Object<RequestAuthentication>>> {
        self.of_namespace(subject).chain(self.of_mesh(subject)).collect()
    }
}

/// The issuers in policies of a workload: the rules of all of them together, by issuer.
pub fn issuers<'a>(policies: &[&'a Arc<Object<RequestAuthentication>>]) -> Vec<&'a JwtRule> {
    let mut rules: Vec<&JwtRule> = policies.iter().flat_map(|policy| &policy.spec.jwt_rules).collect();
    rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
    rules
}
