//! WasmPlugin (`extensions/v1alpha1/wasm.proto`): a filter in WebAssembly.

use crate::crd::rules;
use crate::{
    message::{enumeration, message},
    scalar::Struct,
    selector::{PolicyTargetReference, PortSelector, WorkloadMode, WorkloadSelector},
};

message! {
    /// WasmPlugin adds a filter in WebAssembly to the proxies of workloads.
    #[schemars(extend("required" = ["url"]))]
    #[schemars(extend("x-kubernetes-validations" = rules::one_attachment(&["selector", "targetRef", "targetRefs"])))]
    pub struct WasmPlugin {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// The resource it attaches to instead.
        pub target_ref: Option<PolicyTargetReference>,
        /// The resources it attaches to instead.
        #[schemars(extend("maxItems" = 16))]
        pub target_refs: Vec<PolicyTargetReference>,
        /// Where the module is: `oci://` (also without scheme), `file://`, `http://` or `https://`.
        #[schemars(extend("minLength" = 1, "x-kubernetes-validations" = rules::module_url()))]
        pub url: String,
        /// The module's checksum in hex.
        #[schemars(extend("pattern" = "(^$|^[a-f0-9]{64}$)"))]
        pub sha256: String,
        /// When the module is fetched again.
        pub image_pull_policy: PullPolicy,
        /// The Secret for the registry, in the same namespace.
        #[schemars(extend("minLength" = 1, "maxLength" = 253))]
        pub image_pull_secret: String,
        /// Not used by Istio.
        pub verification_key: String,
        /// The configuration that the plugin gets.
        pub plugin_config: Option<Struct>,
        /// The name of the plugin within the module.
        #[schemars(extend("minLength" = 1, "maxLength" = 256))]
        pub plugin_name: String,
        /// Where the plugin stands in the chain of filters.
        pub phase: PluginPhase,
        /// Among plugins of a phase, the one with the higher number comes first; unset is lowest.
        pub priority: Option<i32>,
        /// What happens if the plugin fails.
        pub fail_strategy: FailStrategy,
        /// The virtual machine that the plugin runs in.
        pub vm_config: Option<VmConfig>,
        /// The traffic that the plugin sees; none mean all.
        #[serde(rename = "match")]
        pub matches: Vec<TrafficSelector>,
        /// Whether the plugin works on requests or on connections.
        #[serde(rename = "type")]
        pub plugin_type: PluginType,
    }

    /// Which traffic.
    pub struct TrafficSelector {
        /// The direction of the traffic.
        pub mode: WorkloadMode,
        /// The ports of the traffic; none mean all.
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["number"], "x-each" = rules::listed_port()))]
        pub ports: Vec<PortSelector>,
    }

    /// The machine that a plugin runs in.
    pub struct VmConfig {
        /// The environment of the virtual machine.
        #[schemars(extend("maxItems" = 256, "x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
        pub env: Vec<EnvVar>,
    }

    /// A variable of the environment.
    #[schemars(extend("required" = ["name"]))]
    #[schemars(extend("x-kubernetes-validations" = rules::value_only_inline()))]
    pub struct EnvVar {
        /// The name of the variable.
        #[schemars(extend("minLength" = 1, "maxLength" = 256))]
        pub name: String,
        /// Where the value comes from.
        pub value_from: EnvValueSource,
        /// The value, for INLINE.
        #[schemars(extend("maxLength" = 2048))]
        pub value: String,
    }
}

enumeration! {
    /// On which layer a plugin works.
    pub enum PluginType {
        /// As HTTP.
        Unspecified = "UNSPECIFIED_PLUGIN_TYPE",
        /// On requests.
        Http = "HTTP",
        /// On connections.
        Network = "NETWORK",
    }

    /// Where in the chain of filters.
    pub enum PluginPhase {
        /// At the end, before the router.
        Unspecified = "UNSPECIFIED_PHASE",
        /// Before authentication.
        Authn = "AUTHN",
        /// Before authorization.
        Authz = "AUTHZ",
        /// Before statistics.
        Stats = "STATS",
    }

    /// When a module is fetched again.
    pub enum PullPolicy {
        /// Always for the tag `latest`, else if it is not present.
        Unspecified = "UNSPECIFIED_POLICY",
        /// If it is not present.
        IfNotPresent = "IfNotPresent",
        /// When the object changes.
        Always = "Always",
    }

    /// Where the value of a variable comes from.
    pub enum EnvValueSource {
        /// The object.
        Inline = "INLINE",
        /// The environment of the proxy.
        Host = "HOST",
    }

    /// What happens if a plugin fails.
    pub enum FailStrategy {
        /// Requests are refused.
        FailClose = "FAIL_CLOSE",
        /// Requests pass.
        FailOpen = "FAIL_OPEN",
        /// It is loaded again; requests are refused meanwhile.
        FailReload = "FAIL_RELOAD",
    }
}
