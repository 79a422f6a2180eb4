//! TrafficExtension (`extensions/v1alpha1/traffic_extension.proto`): a filter in WebAssembly or Lua.

use super::wasm_plugin::{FailStrategy, PluginType, PullPolicy, TrafficSelector, VmConfig};
use crate::crd::rules;
use crate::{
    message::{enumeration, message},
    scalar::Struct,
    selector::{PolicyTargetReference, WorkloadSelector},
};

message! {
    /// TrafficExtension adds a filter in WebAssembly or Lua to the proxies of workloads.
    #[schemars(extend("x-kubernetes-validations" = rules::traffic_extension()))]
    pub struct TrafficExtension {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// The resources it attaches to instead.
        #[schemars(extend("maxItems" = 16))]
        pub target_refs: Vec<PolicyTargetReference>,
        /// Where the filter stands in the chain of filters.
        pub phase: ExecutionPhase,
        /// Among filters of a phase, the one with the higher number comes first; unset is lowest.
        pub priority: Option<i32>,
        /// The traffic that the filter sees; none mean all.
        #[serde(rename = "match")]
        pub matches: Vec<TrafficSelector>,
        /// A filter in WebAssembly.
        pub wasm: Option<WasmConfig>,
        /// A filter in Lua.
        pub lua: Option<LuaConfig>,
    }
    oneof filter: ExtensionFilter { wasm => Wasm(WasmConfig), lua => Lua(LuaConfig) }

    /// A filter in WebAssembly.
    #[schemars(extend("required" = ["url"]))]
    pub struct WasmConfig {
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
        /// What happens if the plugin fails.
        pub fail_strategy: FailStrategy,
        /// The virtual machine that the plugin runs in.
        pub vm_config: Option<VmConfig>,
        /// Whether the plugin works on requests or on connections.
        #[serde(rename = "type")]
        pub plugin_type: PluginType,
    }

    /// A filter in Lua.
    #[schemars(extend("required" = ["inlineCode"]))]
    pub struct LuaConfig {
        /// The program, with the functions `envoy_on_request` and `envoy_on_response`.
        #[schemars(extend("minLength" = 1, "maxLength" = 65536))]
        pub inline_code: String,
    }
}

enumeration! {
    /// Where in the chain of filters.
    pub enum ExecutionPhase {
        /// At the end, before the router.
        Unspecified = "UNSPECIFIED",
        /// Before authentication.
        Authn = "AUTHN",
        /// Before authorization.
        Authz = "AUTHZ",
        /// Before statistics.
        Stats = "STATS",
    }
}
