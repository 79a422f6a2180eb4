//! What is to be said of each object alone (`IST0106`, `IST0133`), by validation and by Envoy's own types.

mod patch_value;

use crate::{Mesh, code, report::Report};
use base::{Diagnostic, Level};
use istio_api::AnyObject;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for object in mesh.store.objects().into_iter().filter(|object| !object.kind().is_kubernetes()) {
        for finding in validation::validate(&object) {
            report.diagnostics.push(in_istios_words(finding));
        }
        if let AnyObject::EnvoyFilter(filter) = &object {
            patch_value::analyze(filter, report);
        }
    }
}

fn in_istios_words(finding: Diagnostic) -> Diagnostic {
    let message = match finding.level {
        Level::Error if finding.code == code::SCHEMA_VALIDATION_ERROR.code => format!("Schema validation error: {}", finding.message),
        Level::Warning if finding.code == code::SCHEMA_WARNING.code => format!("Schema validation warning: {}", finding.message),
        _ => finding.message,
    };
    Diagnostic { message, ..finding }
}
