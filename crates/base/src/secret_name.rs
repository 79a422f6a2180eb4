//! What the names of secrets begin with, where one who gives a name and one who is asked for it have to agree (Istio's
//! agents among them).

/// A certificate in files; the paths of the chain and of the key follow, with [`FILE_SEPARATOR`] between.
pub const FILE_CERTIFICATE: &str = "file-cert:";
/// Authorities in a file; its path follows.
pub const FILE_ROOT: &str = "file-root:";
/// What stands between the paths of two files.
pub const FILE_SEPARATOR: char = '~';
/// A Secret that gateways of a namespace have by being in it, or by a ReferenceGrant.
pub const KUBERNETES_GATEWAY: &str = "kubernetes-gateway://";

/// Whether the name leads to files on the proxy's own side, so that it tells nobody a secret.
pub fn is_file(name: &str) -> bool {
    name.starts_with(FILE_CERTIFICATE) || name.starts_with(FILE_ROOT)
}
