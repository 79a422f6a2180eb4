//! The one table of kinds. A new kind is a row here; the compiler then names what else it needs.

use crate::object::{Layout, Metadata, Object};
use base::ObjectRef;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{fmt, sync::Arc, sync::LazyLock};

/// Calls the macro `$callback` with one row for each kind:
///
/// ```text
/// VirtualService {
///     spec: path of the type,          // implements `Resource`
///     status: path of the type,
///     field: virtual_services,         // a name for a table of these objects
///     layout: Spec | Body,
///     group: "networking.istio.io",
///     versions: ["v1", …],             // the storage version first
///     plural: "virtualservices",
///     short_names: ["vs"],
///     namespaced: true,
///     kubernetes: false,               // a partial type: unknown fields are skipped and there is no schema
/// }
/// ```
#[macro_export]
macro_rules! for_each_kind {
    ($callback:ident) => {
        $callback! {
            VirtualService { spec: $crate::networking::virtual_service::VirtualService, status: $crate::status::Unread, field: virtual_services, layout: Spec, group: "networking.istio.io", versions: ["v1", "v1beta1", "v1alpha3"], plural: "virtualservices", short_names: ["vs"], namespaced: true, kubernetes: false }
            DestinationRule { spec: $crate::networking::destination_rule::DestinationRule, status: $crate::status::Unread, field: destination_rules, layout: Spec, group: "networking.istio.io", versions: ["v1", "v1beta1", "v1alpha3"], plural: "destinationrules", short_names: ["dr"], namespaced: true, kubernetes: false }
            Gateway { spec: $crate::networking::gateway::Gateway, status: $crate::status::Unread, field: gateways, layout: Spec, group: "networking.istio.io", versions: ["v1", "v1beta1", "v1alpha3"], plural: "gateways", short_names: ["gw"], namespaced: true, kubernetes: false }
            ServiceEntry { spec: $crate::networking::service_entry::ServiceEntry, status: $crate::networking::service_entry::ServiceEntryStatus, field: service_entries, layout: Spec, group: "networking.istio.io", versions: ["v1", "v1beta1", "v1alpha3"], plural: "serviceentries", short_names: ["se"], namespaced: true, kubernetes: false }
            WorkloadEntry { spec: $crate::networking::workload_entry::WorkloadEntry, status: $crate::status::IstioStatus, field: workload_entries, layout: Spec, group: "networking.istio.io", versions: ["v1", "v1beta1", "v1alpha3"], plural: "workloadentries", short_names: ["we"], namespaced: true, kubernetes: false }
            WorkloadGroup { spec: $crate::networking::workload_group::WorkloadGroup, status: $crate::status::Unread, field: workload_groups, layout: Spec, group: "networking.istio.io", versions: ["v1", "v1beta1", "v1alpha3"], plural: "workloadgroups", short_names: ["wg"], namespaced: true, kubernetes: false }
            Sidecar { spec: $crate::networking::sidecar::Sidecar, status: $crate::status::Unread, field: sidecars, layout: Spec, group: "networking.istio.io", versions: ["v1", "v1beta1", "v1alpha3"], plural: "sidecars", short_names: [], namespaced: true, kubernetes: false }
            EnvoyFilter { spec: $crate::networking::envoy_filter::EnvoyFilter, status: $crate::status::Unread, field: envoy_filters, layout: Spec, group: "networking.istio.io", versions: ["v1alpha3"], plural: "envoyfilters", short_names: [], namespaced: true, kubernetes: false }
            ProxyConfig { spec: $crate::networking::proxy_config::ProxyConfig, status: $crate::status::Unread, field: proxy_configs, layout: Spec, group: "networking.istio.io", versions: ["v1beta1"], plural: "proxyconfigs", short_names: [], namespaced: true, kubernetes: false }
            PeerAuthentication { spec: $crate::security::peer_authentication::PeerAuthentication, status: $crate::status::Unread, field: peer_authentications, layout: Spec, group: "security.istio.io", versions: ["v1", "v1beta1"], plural: "peerauthentications", short_names: ["pa"], namespaced: true, kubernetes: false }
            RequestAuthentication { spec: $crate::security::request_authentication::RequestAuthentication, status: $crate::status::Unread, field: request_authentications, layout: Spec, group: "security.istio.io", versions: ["v1", "v1beta1"], plural: "requestauthentications", short_names: ["ra"], namespaced: true, kubernetes: false }
            AuthorizationPolicy { spec: $crate::security::authorization_policy::AuthorizationPolicy, status: $crate::status::Unread, field: authorization_policies, layout: Spec, group: "security.istio.io", versions: ["v1", "v1beta1"], plural: "authorizationpolicies", short_names: ["ap"], namespaced: true, kubernetes: false }
            Telemetry { spec: $crate::telemetry::Telemetry, status: $crate::status::Unread, field: telemetries, layout: Spec, group: "telemetry.istio.io", versions: ["v1alpha1", "v1"], plural: "telemetries", short_names: ["telemetry"], namespaced: true, kubernetes: false }
            WasmPlugin { spec: $crate::extensions::wasm_plugin::WasmPlugin, status: $crate::status::Unread, field: wasm_plugins, layout: Spec, group: "extensions.istio.io", versions: ["v1alpha1"], plural: "wasmplugins", short_names: [], namespaced: true, kubernetes: false }
            TrafficExtension { spec: $crate::extensions::traffic_extension::TrafficExtension, status: $crate::status::Unread, field: traffic_extensions, layout: Spec, group: "extensions.istio.io", versions: ["v1alpha1"], plural: "trafficextensions", short_names: [], namespaced: true, kubernetes: false }
            Service { spec: $crate::kubernetes::service::Service, status: $crate::kubernetes::service::ServiceStatus, field: services, layout: Spec, group: "", versions: ["v1"], plural: "services", short_names: ["svc"], namespaced: true, kubernetes: true }
            EndpointSlice { spec: $crate::kubernetes::endpoint_slice::EndpointSlice, status: $crate::status::Unread, field: endpoint_slices, layout: Body, group: "discovery.k8s.io", versions: ["v1"], plural: "endpointslices", short_names: [], namespaced: true, kubernetes: true }
            Pod { spec: $crate::kubernetes::pod::Pod, status: $crate::kubernetes::pod::PodStatus, field: pods, layout: Spec, group: "", versions: ["v1"], plural: "pods", short_names: ["po"], namespaced: true, kubernetes: true }
            Node { spec: $crate::kubernetes::node::Node, status: $crate::kubernetes::node::NodeStatus, field: nodes, layout: Spec, group: "", versions: ["v1"], plural: "nodes", short_names: ["no"], namespaced: false, kubernetes: true }
            Namespace { spec: $crate::kubernetes::namespace::Namespace, status: $crate::status::Unread, field: namespaces, layout: Body, group: "", versions: ["v1"], plural: "namespaces", short_names: ["ns"], namespaced: false, kubernetes: true }
            Ingress { spec: $crate::kubernetes::ingress::Ingress, status: $crate::status::Unread, field: ingresses, layout: Spec, group: "networking.k8s.io", versions: ["v1"], plural: "ingresses", short_names: ["ing"], namespaced: true, kubernetes: true }
            IngressClass { spec: $crate::kubernetes::ingress::IngressClass, status: $crate::status::Unread, field: ingress_classes, layout: Spec, group: "networking.k8s.io", versions: ["v1"], plural: "ingressclasses", short_names: [], namespaced: false, kubernetes: true }
            ReferenceGrant { spec: $crate::kubernetes::reference_grant::ReferenceGrant, status: $crate::status::Unread, field: reference_grants, layout: Spec, group: "gateway.networking.k8s.io", versions: ["v1beta1", "v1"], plural: "referencegrants", short_names: ["refgrant"], namespaced: true, kubernetes: true }
            Secret { spec: $crate::kubernetes::secret::Secret, status: $crate::status::Unread, field: secrets, layout: Body, group: "", versions: ["v1"], plural: "secrets", short_names: [], namespaced: true, kubernetes: true }
            ConfigMap { spec: $crate::kubernetes::config_map::ConfigMap, status: $crate::status::Unread, field: config_maps, layout: Body, group: "", versions: ["v1"], plural: "configmaps", short_names: ["cm"], namespaced: true, kubernetes: true }
        }
    };
}

/// A type that is the `spec` of a kind.
pub trait Resource: Clone + fmt::Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind.
    const KIND: Kind;
    /// Where its fields stand.
    const LAYOUT: Layout;
    /// The type of its `status`.
    type Status: Clone + fmt::Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The object, if it is of this kind.
    fn of(object: &AnyObject) -> Option<&Arc<Object<Self>>>;
}

macro_rules! table {
    ($(
        $kind:ident {
            spec: $spec:ty, status: $status:ty, field: $field:ident, layout: $layout:ident, group: $group:literal,
            versions: [$storage:literal $(, $version:literal)*], plural: $plural:literal,
            short_names: [$($short_name:literal),*], namespaced: $namespaced:literal, kubernetes: $kubernetes:literal
        }
    )+) => {
        /// The kinds that the control plane reads.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind {
            $( #[doc = concat!("`", $plural, "` of group `", $group, "`.")] $kind, )+
        }

        impl Kind {
            /// All kinds, in the order of the table.
            pub const ALL: &'static [Self] = &[$( Self::$kind ),+];

            /// `VirtualService`
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$kind => stringify!($kind), )+ }
            }

            /// The API group; empty for Kubernetes' core.
            pub const fn group(self) -> &'static str {
                match self { $( Self::$kind => $group, )+ }
            }

            /// The versions that are served; they differ only in name. The first is the storage version.
            pub const fn versions(self) -> &'static [&'static str] {
                match self { $( Self::$kind => &[$storage $(, $version)*], )+ }
            }

            /// Group and storage version, `networking.istio.io/v1`.
            pub const fn api_version(self) -> &'static str {
                match self {
                    $( Self::$kind => if $group.is_empty() { $storage } else { concat!($group, "/", $storage) }, )+
                }
            }

            /// `virtualservices`
            pub const fn plural(self) -> &'static str {
                match self { $( Self::$kind => $plural, )+ }
            }

            /// What `kubectl get` also accepts, `vs`.
            pub const fn short_names(self) -> &'static [&'static str] {
                match self { $( Self::$kind => &[$($short_name),*], )+ }
            }

            /// Whether its objects belong to namespaces.
            pub const fn namespaced(self) -> bool {
                match self { $( Self::$kind => $namespaced, )+ }
            }

            /// Whether it is Kubernetes' own: the type is partial, unknown fields are skipped.
            pub const fn is_kubernetes(self) -> bool {
                match self { $( Self::$kind => $kubernetes, )+ }
            }

            /// Where its fields stand.
            pub const fn layout(self) -> Layout {
                match self { $( Self::$kind => Layout::$layout, )+ }
            }

            /// The schema of its `spec`; none for Kubernetes' own kinds.
            pub fn schema(self) -> Option<&'static Value> {
                match self {
                    $( Self::$kind if !$kubernetes => {
                        static SCHEMA: LazyLock<Value> = LazyLock::new(crate::schema::of::<$spec>);
                        Some(&SCHEMA)
                    } )+
                    _ => None,
                }
            }
        }

        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum AnyObject {
            $( #[doc = concat!("A ", stringify!($kind), ".")] $kind(Arc<Object<$spec>>), )+
        }

        impl AnyObject {
            /// The kind.
            pub fn kind(&self) -> Kind {
                match self { $( Self::$kind(_) => Kind::$kind, )+ }
            }

            /// Name, labels and the like.
            pub fn metadata(&self) -> &Metadata {
                match self { $( Self::$kind(object) => &object.metadata, )+ }
            }

            /// The object's name for diagnostics.
            pub fn object_ref(&self) -> ObjectRef {
                match self { $( Self::$kind(object) => object.object_ref(), )+ }
            }

            /// The object as the API server would write it, in the storage version.
            pub fn to_value(&self) -> Result<Value, serde_json::Error> {
                match self { $( Self::$kind(object) => object.to_value(), )+ }
            }
        }

        /// Decodes the whole object `body`, whose metadata was decoded before. Errors are those of [`Object::decode`].
        pub fn decode(kind: Kind, metadata: Metadata, body: Value) -> Result<AnyObject, serde_json::Error> {
            match kind { $( Kind::$kind => Object::<$spec>::decode(metadata, body).map(AnyObject::from), )+ }
        }

        /// Decodes the JSON of a whole object directly. Errors are those of [`Object::decode_text`].
        pub fn decode_text(kind: Kind, text: &[u8]) -> Result<AnyObject, serde_json::Error> {
            match kind { $( Kind::$kind => Object::<$spec>::decode_text(text).map(AnyObject::from), )+ }
        }

        $(
            impl Resource for $spec {
                const KIND: Kind = Kind::$kind;
                const LAYOUT: Layout = Layout::$layout;
                type Status = $status;

                fn of(object: &AnyObject) -> Option<&Arc<Object<Self>>> {
                    match object {
                        AnyObject::$kind(object) => Some(object),
                        _ => None,
                    }
                }
            }

            impl From<Object<$spec>> for AnyObject {
                fn from(object: Object<$spec>) -> Self {
                    Self::$kind(Arc::new(object))
                }
            }
        )+
    };
}

for_each_kind!(table);

impl Kind {
    /// The kind of a document by its `apiVersion` and `kind`; any served version will do.
    pub fn from_api(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        Self::ALL
            .iter()
            .copied()
            .find(|candidate| candidate.as_str() == kind && candidate.group() == group && candidate.versions().contains(&version))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
