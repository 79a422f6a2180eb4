//! The names of clusters in statistics, where the mesh sets a pattern for them.

use base::PortNumber;
use registry::{Provider, Service};

/// What a pattern is filled with.
pub struct StatName<'a> {
    /// The service.
    pub service: &'a Service,
    /// The number of its port.
    pub port: PortNumber,
    /// The name of its port.
    pub port_name: &'a str,
    /// The port of the workload; 0 where no single one is meant.
    pub target: PortNumber,
    /// The subset; empty for the whole service.
    pub subset: &'a str,
}

impl StatName<'_> {
    /// The name by `pattern` (`MeshConfig.outboundClusterStatName`, `inboundClusterStatName`); `None` without a pattern.
    /// Istio's `BuildStatPrefix`.
    pub fn fill(&self, pattern: &str) -> Option<String> {
        let service = self.service;
        let fqdn = service.key.hostname.as_str();
        let short = match service.provider {
            Provider::Kubernetes => format!("{}.{}", service.name, service.key.namespace),
            Provider::External => fqdn.to_string(),
        };
        let target = if self.target == 0 { String::new() } else { self.target.to_string() };
        let filled = pattern
            .replace("%SERVICE%", &short)
            .replace("%SERVICE_FQDN%", fqdn)
            .replace("%SERVICE_NAME%", &service.name)
            .replace("%SUBSET_NAME%", self.subset)
            .replace("%TARGET_PORT%", &target)
            .replace("%SERVICE_PORT%", &self.port.to_string())
            .replace("%SERVICE_PORT_NAME%", self.port_name);
        (!pattern.is_empty()).then_some(filled)
    }
}
