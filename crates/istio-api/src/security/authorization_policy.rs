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
        /// A request matches the policy if any of these match it; without rules, none does.
        #[schemars(extend("maxItems" = 512))]
        pub rules: Vec<Rule>,
        /// What happens to requests that match.
        pub action: Action,
        /// Who decides, for action CUSTOM.
        pub provider: Option<ExtensionProvider>,
    }

    /// An extension provider of the mesh.
    pub struct ExtensionProvider {
        /// The name of the provider in MeshConfig.
        pub name: String,
    }

    /// A rule; all given parts must match.
    pub struct Rule {
        /// Who sends: any of these; none mean all.
        #[schemars(extend("maxItems" = 512))]
        pub from: Vec<From>,
        /// What is asked for: any of these; none mean everything.
        pub to: Vec<To>,
        /// Further conditions, of which all must hold.
        pub when: Vec<Condition>,
    }

    /// A source of requests.
    pub struct From {
        /// Who sends.
        pub source: Option<Source>,
    }

    /// An operation.
    pub struct To {
        /// What is asked for.
        pub operation: Option<Operation>,
    }

    /// Who sends; all given fields must match, each by any of its values (`abc`, `abc*`, `*abc` or `*`).
    #[schemars(extend("x-kubernetes-validations" = rules::service_accounts_alone()))]
    pub struct Source {
        /// Identities of the peer, `cluster.local/ns/default/sa/name`.
        pub principals: Vec<String>,
        /// Identities of the peer; the request matches if it has none of these.
        pub not_principals: Vec<String>,
        /// Issuer and subject of the token, `issuer/subject`.
        pub request_principals: Vec<String>,
        /// Issuers and subjects of the token; the request matches if it has none of these.
        pub not_request_principals: Vec<String>,
        /// Namespaces of the peer.
        pub namespaces: Vec<String>,
        /// Namespaces of the peer; the request matches if it has none of these.
        pub not_namespaces: Vec<String>,
        /// Service accounts of the peer, `namespace/name` or a name of the own namespace.
        #[schemars(extend("maxItems" = 16, "x-each" = json!({ "maxLength": 320 })))]
        pub service_accounts: Vec<String>,
        /// Service accounts of the peer; the request matches if it has none of these.
        #[schemars(extend("maxItems" = 16, "x-each" = json!({ "maxLength": 320 })))]
        pub not_service_accounts: Vec<String>,
        /// Addresses or ranges of the peer.
        pub ip_blocks: Vec<String>,
        /// Addresses or ranges of the peer; the request matches if it has none of these.
        pub not_ip_blocks: Vec<String>,
        /// Addresses or ranges of the client, as proxies on the way tell.
        pub remote_ip_blocks: Vec<String>,
        /// Addresses or ranges of the client; the request matches if it has none of these.
        pub not_remote_ip_blocks: Vec<String>,
        /// Trust domains of the peer.
        pub trust_domains: Vec<String>,
        /// Trust domains of the peer; the request matches if it has none of these.
        pub not_trust_domains: Vec<String>,
    }

    /// What is asked for; all given fields must match, each by any of its values.
    pub struct Operation {
        /// The host that is called, without regard to case.
        pub hosts: Vec<String>,
        /// Hosts; the request matches if it has none of these.
        pub not_hosts: Vec<String>,
        /// The port of the workload.
        pub ports: Vec<String>,
        /// Ports of the workload; the request matches if it has none of these.
        pub not_ports: Vec<String>,
        /// The method of HTTP.
        pub methods: Vec<String>,
        /// Methods of HTTP; the request matches if it has none of these.
        pub not_methods: Vec<String>,
        /// The path, also with `{*}` for one segment and `{**}` for any number of them.
        pub paths: Vec<String>,
        /// Paths; the request matches if it has none of these.
        pub not_paths: Vec<String>,
    }

    /// A condition on an attribute.
    #[schemars(extend("required" = ["key"]))]
    pub struct Condition {
        /// The attribute that is asked about, such as `request.headers[x-version]`.
        pub key: String,
        /// The attribute must have any of these values.
        pub values: Vec<String>,
        /// The attribute must have none of these values.
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
