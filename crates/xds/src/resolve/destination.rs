//! What is known of the destinations of a VirtualService.

use super::View;
use base::{Hostname, PortNumber};
use envoy::filter::http::stateful_session::SessionState;
use envoy::route::{DestinationKey, Destinations, ResolvedDestination};
use istio_api::networking::destination_rule::{ConsistentHashLb, LoadBalancerSettings, TrafficPolicy};
use model::{MergedRule, VirtualService};
use registry::{Resolution, Service, Session};
use std::sync::Arc;

/// The destinations of all rules of `vs` on a listener with this port.
pub fn of_virtual_service(view: &View<'_>, vs: &VirtualService, listener_port: PortNumber) -> Destinations {
    let mut out = Destinations::new();
    for destination in vs.destinations() {
        let key = DestinationKey::of(destination);
        if out.contains_key(&key) {
            continue;
        }
        let Some(service) = concrete(view, &Hostname::new(&destination.host)) else { continue };
        let only_port = match &*service.ports {
            [port] => Some(port.number),
            _ => None,
        };
        let wanted = destination.port.as_ref().and_then(|port| PortNumber::try_from(port.number).ok());
        let port = wanted.or(only_port).unwrap_or(listener_port);
        let hash = view.destination_rule(service).and_then(|rule| consistent_hash(rule, port, &destination.subset)).map(Arc::new);
        out.insert(key, ResolvedDestination { hostname: service.key.hostname.clone(), only_port, hash, session: session(view, service) });
    }
    out
}

/// How the service keeps clients with an endpoint, where that is turned on.
pub fn session(view: &View<'_>, service: &Service) -> Option<SessionState> {
    if !view.snapshot.features.persistent_sessions {
        return None;
    }
    service.session().map(|session| match session {
        Session::Cookie { name, path } => SessionState::Cookie { name, path },
        Session::Header(name) => SessionState::Header(name),
    })
}

/// The service behind a name; an alias (ExternalName) leads to the service it stands for, in a few steps at most.
pub fn concrete<'a>(view: &View<'a>, hostname: &Hostname) -> Option<&'a Arc<Service>> {
    let mut service = view.service(hostname)?;
    for _ in 0..8 {
        let Resolution::Alias(target) = &service.resolution else { return Some(service) };
        service = view.service(target)?;
    }
    None
}

/// The hash by which the rule chooses endpoints of a port, if it does.
pub fn consistent_hash(rule: &MergedRule, port: PortNumber, subset: &str) -> Option<ConsistentHashLb> {
    let own = rule.spec.subsets.iter().find(|candidate| candidate.name == subset && !subset.is_empty());
    let of = |policy: &TrafficPolicy| -> Option<LoadBalancerSettings> {
        let at_port = policy.port_level_settings.iter().find(|s| s.port.as_ref().is_some_and(|p| p.number == u32::from(port)));
        match at_port {
            Some(settings) => settings.load_balancer.clone(),
            None => policy.load_balancer.clone(),
        }
    };
    let from_subset = own.and_then(|subset| subset.traffic_policy.as_ref()).and_then(of);
    from_subset.or_else(|| rule.spec.traffic_policy.as_ref().and_then(of))?.consistent_hash
}
