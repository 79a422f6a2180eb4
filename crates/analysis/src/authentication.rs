//! An istiod that fetches keys from anywhere a RequestAuthentication says (`IST0175`).

use crate::{
    Mesh, code,
    foreign::DEPLOYMENT,
    mesh::rows,
    report::{Report, full_name},
};

/// How many objects a text names.
const NAMED: usize = 5;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let names: Vec<String> = rows(&mesh.store.request_authentications).map(|policy| full_name(&policy.object_ref())).collect();
    if names.is_empty() {
        return;
    }
    let mut shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
        shown.push_str(&format!(", and {more} more"));
    }
    let istiods = mesh.foreign.deployments.iter().filter(|deployment| deployment.metadata.labels.get("app") == Some("istiod"));
    for istiod in istiods.filter(|istiod| !istiod.content.variables.iter().any(|name| name == "BLOCKED_CIDRS_IN_JWKS_URIS")) {
        let text = format!(
            "{} RequestAuthentication resources ({shown}) make istiod fetch keys, and BLOCKED_CIDRS_IN_JWKS_URIS is not set, so that their \
             jwksUri may be any address that istiod reaches; set it to the ranges that must not be asked.",
            names.len()
        );
        report.add(code::JWKS_URI_FETCH_UNRESTRICTED, istiod.object_ref(DEPLOYMENT), "", text);
    }
}
