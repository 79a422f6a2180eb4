//! Which services stay within a cluster: their clients use endpoints of their own cluster only.

use base::Hostname;
use istio_api::mesh::MeshConfig;

/// Host names with what is said of them, the most specific first (Istio's `ClusterLocalHosts`).
#[derive(Clone, Default, PartialEq, Debug)]
pub struct ClusterLocal(Vec<(Hostname, bool)>);

impl ClusterLocal {
    /// The services of Kubernetes itself and of the control plane's own discovery, and `MeshConfig.serviceSettings`, which
    /// may say otherwise.
    pub fn build(mesh: &MeshConfig, domain: &str) -> Self {
        let mut rows: Vec<(Hostname, bool)> = Vec::new();
        for settings in &mesh.service_settings {
            let local = settings.settings.as_ref().is_some_and(|settings| settings.cluster_local);
            rows.extend(settings.hosts.iter().map(|host| (Hostname::new(host), local)));
        }
        let root = &mesh.root_namespace;
        let built_in = [
            format!("*.kube-system.svc.{domain}"),
            format!("kubernetes.default.svc.{domain}"),
            format!("istiod.{root}.svc.{domain}"),
            format!("istiod-remote.{root}.svc.{domain}"),
        ];
        for host in built_in.map(Hostname::from) {
            if !rows.iter().any(|(known, _)| *known == host) {
                rows.push((host, true));
            }
        }
        rows.sort_by(|(a, _), (b, _)| a.specificity(b));
        Self(rows)
    }

    /// Whether clients of this service stay within their cluster.
    pub fn contains(&self, hostname: &Hostname) -> bool {
        self.0.iter().find(|(host, _)| hostname.subset_of(host)).is_some_and(|(_, local)| *local)
    }
}
