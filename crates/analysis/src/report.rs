//! Where analyzers put what they find.

use crate::code::Code;
use base::{Diagnostic, ObjectRef};

/// The findings of a run.
#[derive(Default)]
pub(crate) struct Report {
    /// In the order in which they were found.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Adds a finding about `field` of `object`; an empty field means all of it.
    pub fn add(&mut self, code: Code, object: ObjectRef, field: impl Into<String>, message: impl Into<String>) {
        let diagnostic = Diagnostic::error(code.code, Some(object), field, message);
        self.diagnostics.push(Diagnostic { level: code.level, ..diagnostic });
    }

    /// A reference that leads nowhere (`IST0101`), in Istio's words.
    pub fn not_found(&mut self, object: ObjectRef, field: impl Into<String>, what: &str, name: &str) {
        let text = format!("Referenced {what} not found: {name:?}{}", way_out(what));
        self.add(crate::code::REFERENCED_RESOURCE_NOT_FOUND, object, field, text);
    }
}

/// What to do about a reference that leads nowhere.
fn way_out(what: &str) -> &'static str {
    match what {
        "host" | "mirror host" => "; declare it with a Service or ServiceEntry, or mend the name",
        "host:port" => "; add the port to the service, or name one that it has",
        "host+subset in destinationrule" | "mirror+subset in destinationrule" => {
            "; add the subset to a DestinationRule of the host, or route without it"
        }
        "gateway" => "; create it, or mend the name (one without a namespace belongs to that of the VirtualService)",
        "selector" => "; mend the labels, or start a workload that has them",
        "credentialName" => "; create the Secret in the namespace of the gateway's workload, or mend the name",
        "namespace" => "; create it, or mend the name",
        _ => "",
    }
}

/// `namespace/name`, or the name alone without a namespace: Istio's short form of an object.
pub(crate) fn full_name(object: &ObjectRef) -> String {
    match object.namespace.as_str() {
        "" => object.name.to_string(),
        namespace => format!("{namespace}/{}", object.name),
    }
}

/// A list as Go prints it: `[a b]`.
pub(crate) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(" "))
}
