//! AuthorizationPolicy (`security/v1beta1/authorization_policy.proto`): who may do what.

use crate::crd::rules;
use crate::{
    message::{enumeration, message},
    selector::{PolicyTargetReference, WorkloadSelector},
};
use serde_json::json;

message! {
    /// AuthorizationPolicy decides which requests a workload accepts: CUSTOM policies are asked first, then DENY, then ALLOW;
    /// with no ALLOW policy for a workload, what is not denied is allowed.
    #[schemars(extend("x-kubernetes-validations" = rules::one_attachment(&["selector", "targetRef", "targetRefs"])))]
    pub struct AuthorizationPolicy {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// The resource it attaches to instead.
        pub target_ref: Option<PolicyTargetReference>,
        /// The resources it attaches to instead.
        #[schemars(extend("maxItems" = 16))]
        pub target_refs: Vec<PolicyTargetReference>,
        /// Any of these must match; none match nothing.
        #[schemars(extend("maxItems" = 512))]
        pub rules: Vec<Rule>,
        /// What happens to what matches.
        pub action: Action,
        /// Who decides, for action CUSTOM.
        pub provider: Option<ExtensionProvider>,
    }

    /// An extension provider of the mesh.
    pub struct ExtensionProvider {
        /// Its name in MeshConfig.
        pub name: String,
    }

    /// A rule; all given parts must match.
    pub struct Rule {
        /// Any of these sources; none mean all.
        #[schemars(extend("maxItems" = 512))]
        pub from: Vec<From>,
        /// Any of these operations; none mean all.
        pub to: Vec<To>,
        /// All of these conditions.
        pub when: Vec<Condition>,
    }

    /// A source of requests.
    pub struct From {
        /// The source.
        pub source: Option<Source>,
    }

    /// An operation.
    pub struct To {
        /// The operation.
        pub operation: Option<Operation>,
    }

    /// Who sends; all given fields must match, each by any of its values (`abc`, `abc*`, `*abc` or `*`).
    #[schemars(extend("x-kubernetes-validations" = rules::service_accounts_alone()))]
    pub struct Source {
        /// Identities of the peer, `cluster.local/ns/default/sa/name`.
        pub principals: Vec<String>,
        /// None of these.
        pub not_principals: Vec<String>,
        /// Issuer and subject of the token, `issuer/subject`.
        pub request_principals: Vec<String>,
        /// None of these.
        pub not_request_principals: Vec<String>,
        /// Namespaces of the peer.
        pub namespaces: Vec<String>,
        /// None of these.
        pub not_namespaces: Vec<String>,
        /// Service accounts of the peer, `namespace/name` or a name of the own namespace.
        #[schemars(extend("maxItems" = 16, "x-each" = json!({ "maxLength": 320 })))]
        pub service_accounts: Vec<String>,
        /// None of these.
        #[schemars(extend("maxItems" = 16, "x-each" = json!({ "maxLength": 320 })))]
        pub not_service_accounts: Vec<String>,
        /// Addresses or ranges of the peer.
        pub ip_blocks: Vec<String>,
        /// None of these.
        pub not_ip_blocks: Vec<String>,
        /// Addresses or ranges of the client, as proxies on the way tell.
        pub remote_ip_blocks: Vec<String>,
        /// None of these.
        pub not_remote_ip_blocks: Vec<String>,
        /// Trust domains of the peer.
        pub trust_domains: Vec<String>,
        /// None of these.
        pub not_trust_domains: Vec<String>,
    }

    /// What is asked for; all given fields must match, each by any of its values.
    pub struct Operation {
        /// Authorities, without regard to case.
        pub hosts: Vec<String>,
        /// None of these.
        pub not_hosts: Vec<String>,
        /// Ports of the workload.
        pub ports: Vec<String>,
        /// None of these.
        pub not_ports: Vec<String>,
        /// Methods.
        pub methods: Vec<String>,
        /// None of these.
        pub not_methods: Vec<String>,
        /// Paths, also with `{*}` and `{**}`.
        pub paths: Vec<String>,
        /// None of these.
        pub not_paths: Vec<String>,
    }

    /// A condition on an attribute.
    #[schemars(extend("required" = ["key"]))]
    pub struct Condition {
        /// The attribute, `request.headers[x]`.
        pub key: String,
        /// Any of these.
        pub values: Vec<String>,
        /// None of these.
        pub not_values: Vec<String>,
    }
}

enumeration! {
    /// What happens to what matches.
    pub enum Action {
        /// Only this is allowed.
        Allow = "ALLOW",
        /// This is refused.
        Deny = "DENY",
        /// This is logged.
        Audit = "AUDIT",
        /// The provider decides.
        Custom = "CUSTOM",
    }
}
