//! ProxyConfig (`networking/v1beta1/proxy_config.proto`): settings of proxies, over those of the mesh.

use crate::{message::message, selector::WorkloadSelector};
use serde_json::json;
use std::collections::BTreeMap;

message! {
    /// ProxyConfig sets the threads, environment and image of proxies, over the settings of the mesh. Changes are read when a
    /// proxy starts.
    pub struct ProxyConfig {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// Worker threads; 0 means one per CPU.
        #[schemars(extend("minimum" = 0))]
        pub concurrency: Option<i32>,
        /// The environment of the proxy's container.
        #[schemars(extend("x-each" = json!({ "maxLength": 2048 })))]
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
