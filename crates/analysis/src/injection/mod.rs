//! Whether pods get a proxy, and which.

pub mod auto_images;
pub mod images;
pub mod namespaces;

/// The ConfigMap of the injector of a revision.
pub(crate) fn config_map(revision: &str) -> String {
    match revision {
        "" | "default" => "istio-sidecar-injector".to_owned(),
        revision => format!("istio-sidecar-injector-{revision}"),
    }
}

/// The label by which a namespace chooses the injector of a revision.
pub(crate) const REVISION: &str = "istio.io/rev";
/// The label by which a namespace turns the default injector on or off.
pub(crate) const INJECTION: &str = "istio-injection";
