//! What a service of the shop answers: who it is, and what the services it asked have answered.

use serde::{Deserialize, Serialize};

/// The body of every response of the shop, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The name of the service.
    pub service: String,
    /// Its version; empty where the answer came from an Envoy and not from the service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The status of the HTTP response; 0 if there was none.
    pub status: u16,
    /// Why there is no answer of the service itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// The answers of the services it asked, in the order of its `--call`s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Answer>,
}

impl Answer {
    /// An answer that did not come from the service: Envoy's own (`status`), or none at all (0).
    pub fn failed(service: &str, status: u16, error: String) -> Self {
        Self { service: service.to_owned(), version: String::new(), status, error, calls: Vec::new() }
    }

    /// Whether this service and all that it asked have answered well.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status) && self.calls.iter().all(Self::is_success)
    }

    /// Calls `visit` with this answer and all below it.
    pub fn each(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        for call in &self.calls {
            call.each(visit);
        }
    }
}
