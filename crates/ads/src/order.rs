//! Which type waits for which: make before break, also across revisions.

use std::time::{Duration, Instant};
use xds_wire::ResourceType;

/// The earlier types whose un-acknowledged additions hold back a push of `kind`: Envoy does not warm routes, so a
/// route or listener must not name a cluster that is not there yet. Endpoints wait for nothing, because Envoy withholds
/// the acknowledgement of a cluster until its endpoints arrive.
pub(crate) fn waits_for(kind: ResourceType) -> &'static [ResourceType] {
    match kind {
        ResourceType::Cluster | ResourceType::Endpoint | ResourceType::Secret | ResourceType::ProxyConfig => &[],
        ResourceType::Listener => &[ResourceType::Cluster, ResourceType::Endpoint],
        ResourceType::Route => &[ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener],
        // Not for listeners: one that is new is not acknowledged before its virtual hosts have come.
        ResourceType::VirtualHost => &[ResourceType::Cluster, ResourceType::Endpoint],
    }
}

/// The types that may refer to a resource of `kind`: they must have acknowledged everything before one is removed.
pub(crate) fn referred_from(kind: ResourceType) -> &'static [ResourceType] {
    match kind {
        ResourceType::Cluster => &[ResourceType::Listener, ResourceType::Route, ResourceType::VirtualHost],
        ResourceType::Endpoint => &[ResourceType::Cluster, ResourceType::Listener, ResourceType::Route, ResourceType::VirtualHost],
        ResourceType::Listener | ResourceType::VirtualHost | ResourceType::ProxyConfig => &[],
        ResourceType::Route => &[ResourceType::Listener],
        ResourceType::Secret => &[ResourceType::Cluster, ResourceType::Listener],
    }
}

/// A wait that ends by itself.
#[derive(Default, Debug)]
pub(crate) struct Wait {
    since: Option<Instant>,
    until: Option<Instant>,
    ran_out: bool,
}

/// What came of waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waited {
    /// Not long enough.
    Still,
    /// The bound has just been reached: go on without.
    RanOut,
    /// The bound was reached before.
    Over,
}

impl Wait {
    /// Begins to wait unless that has begun before.
    pub fn check(&mut self, now: Instant, bound: Duration) -> Waited {
        if self.ran_out {
            return Waited::Over;
        }
        let until = *self.since.get_or_insert(now) + bound;
        self.until = Some(until);
        self.ran_out = now >= until;
        if self.ran_out { Waited::RanOut } else { Waited::Still }
    }

    /// What was waited for has come, or is needed no more.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// When [`Wait::check`] should be asked again.
    pub fn deadline(&self) -> Option<Instant> {
        self.until.filter(|_| !self.ran_out)
    }
}
