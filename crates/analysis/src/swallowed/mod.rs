//! What Istio takes in silence: objects that are valid, and have no effect or another one than was meant, because of a
//! second object. Each finding names both. Everything here reads the snapshot, and with it the rules that configuration
//! is made by.

pub mod captured_port;
pub mod delegate;
pub mod dropped_server;
pub mod host_owner;
pub mod opaque_port;
pub mod overruled;
pub mod port_owner;
pub mod unreached_rule;

use base::{Namespace, Visibility};

/// Whether some namespace sees both.
pub(crate) fn meet(one: &Visibility, other: &Visibility) -> bool {
    match (one, other) {
        (Visibility::Namespaces(one), Visibility::Namespaces(other)) => one.intersection(other).next().is_some(),
        (Visibility::Namespaces(some), Visibility::Public) | (Visibility::Public, Visibility::Namespaces(some)) => !some.is_empty(),
        (Visibility::Public, Visibility::Public) => true,
    }
}

/// Where an object stands among those that a client sees: what only its own namespace sees comes before what is exported
/// to some, and that before what everyone sees.
pub(crate) fn rank(visibility: &Visibility, own: &Namespace) -> u8 {
    match visibility {
        Visibility::Namespaces(_) if visibility.is_private(own) => 0,
        Visibility::Namespaces(_) => 1,
        Visibility::Public => 2,
    }
}
