//! What a source says: the only thing that enters a turn.

use base::{ClusterId, Diagnostic, Namespace};
use istio_api::mesh::{MeshConfig, MeshNetworks};
use istio_api::{AnyObject, Kind};
use std::sync::Arc;

/// One change seen by one source. A batch of them makes one turn.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// The cluster that the source watches; the configuration cluster for mesh-wide settings.
    pub cluster: ClusterId,
    /// What happened there.
    pub change: Change,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// The object was created or replaced.
    Set(AnyObject),
    /// The object is gone.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its namespace, empty for a kind without namespaces.
        namespace: Namespace,
        /// Its name.
        name: Arc<str>,
    },
    /// The mesh-wide settings were replaced.
    Mesh(Arc<MeshConfig>),
    /// The networks were replaced.
    Networks(Arc<MeshNetworks>),
    /// Everything that is wrong with one source of text (a file), replacing what was said of it before.
    Findings {
        /// The file, as diagnostics name it.
        source: Arc<str>,
        /// Empty once it is mended.
        diagnostics: Vec<Diagnostic>,
    },
    /// The source has sent everything that existed when it started.
    Synced,
}
