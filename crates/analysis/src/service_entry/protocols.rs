//! ServiceEntries that disagree on the protocol of a port of a host (`IST0177`).

use crate::{
    Mesh, code, host,
    mesh::rows,
    report::{Report, full_name},
};
use base::ObjectRef;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let mut claims: BTreeMap<(String, String, u32), Vec<(String, ObjectRef)>> = BTreeMap::new();
    for entry in rows(&mesh.store.service_entries) {
        for scope in host::scopes(&entry.spec.export_to, &entry.metadata.namespace) {
            for name in &entry.spec.hosts {
                for port in &entry.spec.ports {
                    let claim = (port.protocol.to_ascii_uppercase(), entry.object_ref());
                    claims.entry((scope.clone(), name.clone(), port.number)).or_default().push(claim);
                }
            }
        }
    }
    let mut reported = BTreeSet::new();
    for ((scope, name, port), own) in &claims {
        let exported = (scope != "*").then(|| claims.get(&("*".to_owned(), name.clone(), *port))).flatten();
        let all = || own.iter().chain(exported.into_iter().flatten());
        let protocols: BTreeSet<&str> = all().map(|(protocol, _)| protocol.as_str()).collect();
        if protocols.len() < 2 {
            continue;
        }
        let names: BTreeSet<String> = all().map(|(_, entry)| full_name(entry)).collect();
        let join = |words: &mut dyn Iterator<Item = String>| words.collect::<Vec<_>>().join(", ");
        let text = format!(
            "Multiple ServiceEntries ({}) define the same host {name:?} and port {port} with conflicting protocols ({}).",
            join(&mut names.into_iter()),
            join(&mut protocols.iter().map(ToString::to_string))
        );
        for (_, entry) in all() {
            if reported.insert(entry.clone()) {
                report.add(code::CONFLICTING_SERVICE_ENTRY_PROTOCOL, entry.clone(), "metadata.name", text.clone());
            }
        }
    }
}
