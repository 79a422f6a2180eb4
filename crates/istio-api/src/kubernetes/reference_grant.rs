//! ReferenceGrant (`gateway.networking.k8s.io`): who may refer from another namespace to what stands in this one.

use crate::message::message;

message! {
    /// The `spec` of a ReferenceGrant: each of `from` may refer to each of `to`.
    pub struct ReferenceGrant {
        /// Who refers.
        pub from: Vec<ReferenceGrantFrom>,
        /// What may be referred to, in the namespace of the grant.
        pub to: Vec<ReferenceGrantTo>,
    }

    /// Objects of a kind in a namespace.
    pub struct ReferenceGrantFrom {
        /// The API group of the kind; empty for Kubernetes' core.
        pub group: String,
        /// The kind.
        pub kind: String,
        /// The namespace.
        pub namespace: String,
    }

    /// Objects of a kind, or one of them.
    pub struct ReferenceGrantTo {
        /// The API group of the kind; empty for Kubernetes' core.
        pub group: String,
        /// The kind.
        pub kind: String,
        /// The name; without it all of the kind are meant.
        pub name: Option<String>,
    }
}
