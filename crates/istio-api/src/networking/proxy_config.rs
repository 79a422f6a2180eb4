//! ProxyConfig (`networking/v1beta1/proxy_config.proto`): settings of proxies, over those of the mesh.

use crate::{message::message, selector::WorkloadSelector};
use std::collections::BTreeMap;

message! {
    /// The `spec` of a ProxyConfig.
    pub struct ProxyConfig {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// Worker threads; 0 means one per CPU.
        pub concurrency: Option<i32>,
        /// The environment of the proxy's container.
        pub environment_variables: BTreeMap<String, String>,
        /// The image of the proxy.
        pub image: Option<ProxyImage>,
    }

    /// The image of the proxy.
    pub struct ProxyImage {
        /// `default`, `debug` or `distroless`.
        pub image_type: String,
    }
}
