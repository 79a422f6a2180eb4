//! One review: an object, and whether it may be stored.

use crate::body::{Answer, Question, Request, Response, Status};
use base::{Diagnostic, Level};
use istio_api::Kind;
use serde_json::Value;

/// An object with this annotation is always refused: by it istiod sees that the API server asks (Istio's own name).
pub(crate) const ALWAYS_REJECT: &str = "internal.istio.io/webhook-always-reject";

/// What was decided, for the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may be stored.
    Allowed(Option<Kind>),
    /// It may not.
    Refused(Kind),
}

/// The answer to the review in `body`, and what was decided.
///
/// # Errors
/// If it is no review; the text says why.
pub fn review(body: &[u8]) -> Result<(Vec<u8>, Verdict), String> {
    let question: Question = serde_json::from_slice(body).map_err(|error| format!("the body is no AdmissionReview: {error}"))?;
    let request = question.request.ok_or("the AdmissionReview has no request")?;
    let uid = request.uid.clone();
    let (verdict, diagnostics) = decide(request);
    let of = |level: Level| diagnostics.iter().filter(move |found| found.level == level).map(said).collect::<Vec<_>>();
    let status = match verdict {
        Verdict::Allowed(_) => None,
        Verdict::Refused(_) => Some(Status { code: 422, reason: "Invalid", message: list(&of(Level::Error)) }),
    };
    let response = Response { uid, allowed: status.is_none(), status, warnings: of(Level::Warning) };
    let answer = Answer { api_version: "admission.k8s.io/v1", kind: "AdmissionReview", response };
    serde_json::to_vec(&answer).map(|answer| (answer, verdict)).map_err(|error| error.to_string())
}

fn decide(mut request: Request) -> (Verdict, Vec<Diagnostic>) {
    let api_version = match request.kind.group.as_str() {
        "" => request.kind.version.clone(),
        group => format!("{group}/{}", request.kind.version),
    };
    let kind = Kind::from_api(&api_version, &request.kind.kind).filter(|kind| !kind.is_kubernetes());
    let asked = matches!(request.operation.as_str(), "CREATE" | "UPDATE") && request.sub_resource.is_empty();
    let (Some(kind), true) = (kind, asked) else { return (Verdict::Allowed(kind), Vec::new()) };
    let annotations = request.object.pointer("/metadata/annotations");
    if annotations.and_then(|annotations| annotations.get(ALWAYS_REJECT)).is_some() {
        let message = format!("refused because of its annotation {ALWAYS_REJECT}");
        return (Verdict::Refused(kind), vec![Diagnostic::error("AlwaysRejected", None, "metadata.annotations", message)]);
    }
    complete(&mut request, &api_version);
    let diagnostics = findings(request.object);
    match diagnostics.iter().any(|found| found.level == Level::Error) {
        true => (Verdict::Refused(kind), diagnostics),
        false => (Verdict::Allowed(Some(kind)), diagnostics),
    }
}

/// What the request says of the object, where the object itself does not.
fn complete(request: &mut Request, api_version: &str) {
    let Value::Object(object) = &mut request.object else { return };
    object.entry("apiVersion").or_insert_with(|| api_version.into());
    object.entry("kind").or_insert_with(|| request.kind.kind.clone().into());
    // What others wrote is none of the user's business, and may be of any form.
    object.remove("status");
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
        if !request.namespace.is_empty() {
            metadata.entry("namespace").or_insert_with(|| request.namespace.clone().into());
        }
    }
}

/// What the command line would say. Metadata is the API server's own business, unless without it there is no object.
fn findings(object: Value) -> Vec<Diagnostic> {
    // In a file nothing at all is an empty document; here something is to be stored.
    if object.is_null() {
        return vec![Diagnostic::error("IST0106", None, "", "the request holds no object; send the whole object")];
    }
    let decoded = config::decode::decode_json(object);
    let mut diagnostics: Vec<Diagnostic> = decoded.diagnostics.into_iter().map(|(_, diagnostic)| diagnostic).collect();
    for item in &decoded.objects {
        diagnostics.extend(item.object.iter().flat_map(|object| validation::validate_document(object, &item.body)));
    }
    diagnostics.retain(|found| decoded.objects.is_empty() || !found.field.starts_with("metadata"));
    diagnostics
}

/// The object is the one that the user has sent, so that only the field is named.
fn said(found: &Diagnostic) -> String {
    match found.field.as_str() {
        "" => found.message.clone(),
        field => format!("{field}: {}", found.message),
    }
}

fn list(errors: &[String]) -> String {
    match errors {
        [only] => only.clone(),
        _ => format!("{} errors:\n  * {}", errors.len(), errors.join("\n  * ")),
    }
}
