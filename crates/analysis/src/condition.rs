//! Conditions by which a controller has said that something is wrong (`IST0171`).

use crate::{Mesh, code, mesh::rows, report::Report};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    for entry in rows(&mesh.store.service_entries) {
        for condition in entry.status.conditions.iter().filter(|condition| condition.status == "False") {
            let text = format!("Status condition {} is negative: {}: {}", condition.condition_type, condition.reason, condition.message);
            report.add(code::NEGATIVE_CONDITION_STATUS, entry.object_ref(), "status.conditions", text);
        }
    }
}
