//! Services that are one to their clients, but differ between clusters (`IST0170`).

use crate::{
    Mesh, code,
    report::{Report, list},
};
use base::Namespace;
use config::Key;
use incremental::Cx;
use istio_api::{Object, kubernetes::service::Service};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A Service of one cluster.
type Row<'a> = (&'a Key, &'a Arc<Object<Service>>);

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let mut same: BTreeMap<(&Namespace, &str), Vec<Row<'_>>> = BTreeMap::new();
    for (key, service) in mesh.store.services.iter(&mut Cx::default()) {
        same.entry((&key.namespace, &*key.name)).or_default().push((key, service));
    }
    for ((namespace, name), services) in same.into_iter().filter(|(_, services)| services.len() > 1) {
        let Some((_, first)) = services.first() else { continue };
        let mut reasons = BTreeSet::new();
        for (_, other) in &services {
            reasons.extend(difference(&first.spec, &other.spec));
        }
        if !reasons.is_empty() {
            let clusters = list(services.iter().map(|(key, _)| format!("{:?}", key.cluster.as_str())));
            let reasons: Vec<&str> = reasons.into_iter().collect();
            let text = format!(
                "The service {name} in namespace {:?} is inconsistent across clusters {clusters}, which can lead to undefined behaviors. The \
                 inconsistent behaviors are: {}.",
                namespace.as_str(),
                reasons.join("; ")
            );
            report.add(code::MULTI_CLUSTER_INCONSISTENT_SERVICE, first.object_ref(), "", text);
        }
    }
}

fn difference(one: &Service, other: &Service) -> Vec<&'static str> {
    let headless = |service: &Service| service.cluster_ip == "None";
    let ports = |service: &Service| {
        let mut ports = service.ports.clone();
        ports.sort_by(|a, b| a.name.cmp(&b.name));
        ports
    };
    let checks = [
        (headless(one) != headless(other), "service has mixed mode like headless and clusterIP"),
        (one.service_type != other.service_type, "service type is inconsistent"),
        (ports(one) != ports(other), "service ports are inconsistent"),
    ];
    checks.into_iter().filter(|(differs, _)| *differs).map(|(_, reason)| reason).collect()
}
