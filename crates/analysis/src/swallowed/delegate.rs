//! What is wrong between VirtualServices and those that they delegate to.

use crate::{Mesh, report::Report};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    report.diagnostics.extend(snapshot.virtual_services.all.iter().flat_map(|service| service.findings.iter().cloned()));
}
