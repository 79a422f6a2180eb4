//! The messages between the API server and a webhook (`admission.k8s.io/v1`), as far as they are read or written.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is asked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    /// Repeated in the answer.
    pub uid: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub operation: String,
    /// The kind of the object.
    pub kind: GroupVersionKind,
    /// The namespace; also in the object.
    #[serde(default)]
    pub namespace: String,
    /// `status` or the like, if it is not about the object as a whole.
    #[serde(default)]
    pub sub_resource: String,
    /// The object as it would be stored; null for deletions.
    #[serde(default)]
    pub object: Value,
}

/// The name of a kind.
#[derive(Deserialize)]
pub(crate) struct GroupVersionKind {
    /// `networking.istio.io`
    pub group: String,
    /// `v1`
    pub version: String,
    /// `VirtualService`
    pub kind: String,
}

/// A question.
#[derive(Deserialize)]
pub(crate) struct Question {
    /// None in an answer, which nobody should send here.
    pub request: Option<Request>,
}

/// An answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub response: Response,
}

/// What is said.
#[derive(Serialize)]
pub(crate) struct Response {
    pub uid: String,
    pub allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Why not.
#[derive(Serialize)]
pub(crate) struct Status {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
}
