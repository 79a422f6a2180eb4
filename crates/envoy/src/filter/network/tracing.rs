//! How much of the traffic is traced, and what every span says.

use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing;
use xds_api::envoy::r#type::metadata::v3::{
    MetadataKey, MetadataKind,
    metadata_key::{PathSegment, path_segment::Segment},
    metadata_kind,
};
use xds_api::envoy::r#type::tracing::v3::{CustomTag, custom_tag};
use xds_api::envoy::r#type::v3::Percent;

/// What a proxy's spans depend on.
#[derive(Clone, PartialEq, Debug)]
pub struct TracingInputs {
    /// The share of requests that start a trace, in percent (`PILOT_TRACE_SAMPLING`, 1 by default).
    pub random_sampling: f64,
    /// Tags beside Envoy's own.
    pub custom_tags: Vec<CustomTag>,
}

impl Default for TracingInputs {
    fn default() -> Self {
        Self { random_sampling: 1.0, custom_tags: Vec::new() }
    }
}

/// The tracing of an HTTP connection manager. Without a provider Envoy only decides and propagates.
pub fn tracing(inputs: &TracingInputs) -> Tracing {
    let all = Percent { value: 100.0 };
    Tracing {
        client_sampling: Some(all),
        random_sampling: Some(Percent { value: inputs.random_sampling }),
        overall_sampling: Some(all),
        custom_tags: inputs.custom_tags.clone(),
        ..Tracing::default()
    }
}

/// What Istio's standard tags say about the workload. The first two differ between workloads that otherwise share their
/// configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StandardTags<'a> {
    /// `istio.canonical_revision`
    pub canonical_revision: &'a str,
    /// `istio.canonical_service`
    pub canonical_service: &'a str,
    /// `istio.cluster_id`
    pub cluster_id: &'a str,
    /// `istio.mesh_id`
    pub mesh_id: &'a str,
    /// `istio.namespace`
    pub namespace: &'a str,
}

/// The tags that Istio puts on every span: what AuthorizationPolicies in dry run would have decided, and the workload.
pub fn standard_tags(tags: &StandardTags<'_>) -> Vec<CustomTag> {
    let mut all = Vec::new();
    for action in ["allow", "deny"] {
        let tag = |what: &str| format!("istio.authorization.dry_run.{action}_policy.{what}");
        all.push(dry_run(tag("name"), format!("istio_dry_run_{action}_shadow_effective_policy_id")));
        all.push(dry_run(tag("result"), format!("istio_dry_run_{action}_shadow_engine_result")));
    }
    let literals = [
        ("istio.canonical_revision", tags.canonical_revision),
        ("istio.canonical_service", tags.canonical_service),
        ("istio.cluster_id", tags.cluster_id),
        ("istio.mesh_id", tags.mesh_id),
        ("istio.namespace", tags.namespace),
    ];
    all.extend(literals.map(|(tag, value)| CustomTag {
        tag: tag.to_owned(),
        r#type: Some(custom_tag::Type::Literal(custom_tag::Literal { value: value.to_owned() })),
    }));
    all
}

/// A tag from what the RBAC filter noted about the request.
fn dry_run(tag: String, key: String) -> CustomTag {
    let path = vec![PathSegment { segment: Some(Segment::Key(key)) }];
    let metadata = custom_tag::Metadata {
        kind: Some(MetadataKind { kind: Some(metadata_kind::Kind::Request(metadata_kind::Request::default())) }),
        metadata_key: Some(MetadataKey { key: "envoy.filters.http.rbac".to_owned(), path }),
        ..custom_tag::Metadata::default()
    };
    CustomTag { tag, r#type: Some(custom_tag::Type::Metadata(metadata)) }
}
