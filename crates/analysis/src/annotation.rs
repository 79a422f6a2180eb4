//! Annotations that nothing reads (`IST0108`), at the wrong kind (`IST0107`), of the past (`IST0135`) or malformed
//! (`IST0125`).

mod registered;
mod value;

use crate::{Mesh, code, foreign::DEPLOYMENT, mesh::rows, report::Report, workload::INJECT};
use base::ObjectRef;
use istio_api::Metadata;
use registered::REGISTERED;

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    rows(&mesh.store.namespaces).for_each(|object| check(object.object_ref(), &object.metadata, report));
    rows(&mesh.store.services).for_each(|object| check(object.object_ref(), &object.metadata, report));
    rows(&mesh.store.pods).for_each(|object| check(object.object_ref(), &object.metadata, report));
    mesh.foreign.deployments.iter().for_each(|object| check(object.object_ref(DEPLOYMENT), &object.metadata, report));
}

fn check(object: ObjectRef, metadata: &Metadata, report: &mut Report) {
    for (name, value) in metadata.annotations.iter().filter(|(name, _)| is_istios(name)) {
        let field = format!("metadata.annotations[{name}]");
        let Some(known) = REGISTERED.iter().find(|known| known.name == name) else {
            report.add(code::UNKNOWN_ANNOTATION, object.clone(), field, format!("Unknown annotation: {name}"));
            continue;
        };
        let replaced = name == INJECT && metadata.labels.get(INJECT).is_some();
        if known.deprecated && !replaced {
            let instead = if name == INJECT { format!(" in favor of the {INJECT:?} label") } else { String::new() };
            let text = format!("Annotation {name:?} has been deprecated{instead} and may not work in future Istio versions.");
            report.add(code::DEPRECATED_ANNOTATION, object.clone(), field.clone(), text);
        }
        if known.kinds.contains(&"Any") {
            continue;
        }
        if !known.kinds.contains(&object.kind) {
            let text = format!("Misplaced annotation: {name} can only be applied to {}", known.kinds.join(", "));
            report.add(code::MISPLACED_ANNOTATION, object.clone(), field, text);
        } else if let Err(problem) = value::check(name, value) {
            report.add(code::INVALID_ANNOTATION, object.clone(), field, format!("Invalid annotation {name}: {problem}"));
        }
    }
}

fn is_istios(name: &str) -> bool {
    name == "kubernetes.io/ingress.class" || name.split('/').next().is_some_and(|domain| domain.ends_with("istio.io"))
}
