//! What a cluster says about itself under the key `istio`.

use super::inputs::{ClusterMetadata, OutboundClusterInputs, ServiceMetadata};
use crate::access_log::SERVICE_METADATA_NAMESPACE;
use crate::filter::http::upstream_alpn::{self, UpstreamProtocol};
use base::ObjectRef;
use istio_api::networking::destination_rule::ClientTlsMode;
use std::collections::BTreeMap;
use xds_api::envoy::config::core::v3::Metadata;
use xds_api::google::protobuf::{Struct, Value, value::Kind};

/// The path of a DestinationRule in the API, by which tools find the rule of a cluster.
pub fn destination_rule_path(rule: &ObjectRef) -> String {
    format!("/apis/networking.istio.io/v1/namespaces/{}/destination-rule/{}", rule.namespace, rule.name)
}

/// The list of services.
pub(super) fn services(services: &[ServiceMetadata<'_>]) -> Value {
    let entry = |service: &ServiceMetadata<'_>| {
        Value::from(Struct::from_iter([("host", service.host), ("name", service.name), ("namespace", service.namespace)]))
    };
    services.iter().map(entry).collect::<Vec<_>>().into()
}

/// Metadata of these fields; none without any. The first service stands once more in a namespace of its own.
pub(super) fn istio(fields: BTreeMap<String, Value>) -> Option<Metadata> {
    if fields.is_empty() {
        return None;
    }
    let service = first_service(&fields).map(|service| (SERVICE_METADATA_NAMESPACE.to_owned(), service));
    let namespaces = service.into_iter().chain([("istio".to_owned(), Struct { fields })]);
    Some(Metadata { filter_metadata: namespaces.collect(), ..Metadata::default() })
}

fn first_service(fields: &BTreeMap<String, Value>) -> Option<Struct> {
    match fields.get("services")?.kind.as_ref()? {
        Kind::ListValue(list) => match list.values.first()?.kind.as_ref()? {
            Kind::StructValue(service) => Some(service.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The metadata of a cluster without service: metrics name the cluster in place of the service.
pub(super) fn in_place_of_service(cluster: &str) -> Option<Metadata> {
    let service = Struct::from_iter([("name", cluster)]);
    Some(Metadata { filter_metadata: BTreeMap::from([(SERVICE_METADATA_NAMESPACE.to_owned(), service)]), ..Metadata::default() })
}

/// The metadata of an outbound cluster, which speaks `to_sidecars` where it speaks the mesh's mutual TLS.
pub(super) fn outbound(inputs: &OutboundClusterInputs<'_>, to_sidecars: Option<UpstreamProtocol>) -> Option<Metadata> {
    let ClusterMetadata { rule, services: all, mesh_external, all_hbone, .. } = inputs.metadata;
    let mut fields: BTreeMap<String, Value> = BTreeMap::new();
    let mut add = |key: &str, value: Value| fields.insert(key.to_owned(), value);
    if let Some(rule) = rule {
        add("config", destination_rule_path(rule).into());
    }
    if let Some(subset) = inputs.subset {
        add("subset", subset.into());
    }
    if !all.is_empty() {
        add("services", services(all));
    }
    if mesh_external {
        add("external", true.into());
    }
    if inputs.policy.tls.as_ref().is_some_and(|tls| tls.mode != ClientTlsMode::IstioMutual) {
        add("alpn_override", "false".into());
    }
    if let Some(protocol) = to_sidecars {
        add(upstream_alpn::CLUSTER_METADATA, protocol.as_str().into());
    }
    if all_hbone {
        add("disable_mx", true.into());
    }
    istio(fields)
}
