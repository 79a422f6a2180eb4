//! A rule whose every condition an earlier rule takes, in the same VirtualService or (at gateways, where VirtualServices of
//! a host are joined) in an older one.

use super::meet;
use crate::{Mesh, code, report::Report};
use base::Hostname;
use istio_api::networking::virtual_service::{HttpMatchRequest, StringMatch, StringMatcher};
use model::{MESH_GATEWAY, Snapshot, VirtualService};
use std::{collections::BTreeMap, sync::Arc};

/// One rule: where it stands, and its conditions.
#[derive(Clone, Copy)]
struct Rule<'a> {
    service: &'a VirtualService,
    number: usize,
    matches: &'a [HttpMatchRequest],
}

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let Some(snapshot) = mesh.snapshot else { return };
    for service in &snapshot.virtual_services.all {
        let rules: Vec<Rule<'_>> = rules(service).collect();
        for (index, rule) in rules.iter().enumerate() {
            let before = rules.get(..index).unwrap_or_default();
            // Equal conditions and rules behind one without any are found when the object is read.
            let taken = |earlier: &Rule<'_>| earlier.takes(rule) && !earlier.matches.is_empty() && earlier.matches != rule.matches;
            if let Some(earlier) = before.iter().find(|earlier| taken(earlier)) {
                let text = format!(
                    "the rule {} takes every request that the rule {} is for; move that one before it, or narrow the earlier one",
                    earlier.number, rule.number
                );
                report.add(code::RULE_NEVER_REACHED, service.origin.clone(), format!("spec.http[{}]", rule.number), text);
            }
        }
    }
    at_gateways(snapshot, report);
}

fn rules(service: &VirtualService) -> impl Iterator<Item = Rule<'_>> {
    service.spec.http.iter().enumerate().map(move |(number, http)| Rule { service, number, matches: &http.matches })
}

/// VirtualServices of one host at one gateway, the oldest first.
fn at_gateways(snapshot: &Snapshot, report: &mut Report) {
    let mut joined: BTreeMap<(&str, &Hostname), Vec<&Arc<VirtualService>>> = BTreeMap::new();
    for service in &snapshot.virtual_services.all {
        for gateway in service.gateways.iter().filter(|gateway| *gateway != MESH_GATEWAY) {
            for host in service.hosts.iter().filter(|host| serves(snapshot, gateway, service, host)) {
                joined.entry((gateway, host)).or_default().push(service);
            }
        }
    }
    for ((gateway, host), services) in joined.into_iter().filter(|(_, services)| services.len() > 1) {
        for (index, service) in services.iter().enumerate() {
            let older = services.iter().take(index).filter(|older| meet(&older.visibility, &service.visibility));
            let before: Vec<Rule<'_>> = older.flat_map(|older| rules(older)).collect();
            for rule in rules(service) {
                // Joined rules without conditions go last, behind those of younger objects.
                let taken = |earlier: &&Rule<'_>| earlier.takes(&rule) && (!earlier.is_catch_all() || rule.is_catch_all());
                let Some(earlier) = before.iter().find(taken) else { continue };
                let text = format!(
                    "at the gateway {gateway}, the rule {} of the older {} takes every request for {host} that the rule {} is for; move the \
                     rule there, or narrow that one",
                    earlier.number, earlier.service.origin, rule.number
                );
                report.add(code::RULE_NEVER_REACHED, service.origin.clone(), format!("spec.http[{}]", rule.number), text);
            }
        }
    }
}

/// Whether the gateway takes rules for the host from the VirtualService's namespace.
fn serves(snapshot: &Snapshot, gateway: &str, service: &VirtualService, host: &Hostname) -> bool {
    let named = snapshot.gateways.iter().filter(|object| gateway == format!("{}/{}", object.metadata.namespace, object.metadata.name));
    let mut hosts =
        named.flat_map(|object| object.spec.servers.iter().flat_map(|server| &server.hosts).map(|text| (&object.metadata.namespace, text)));
    hosts.any(|(own, text)| match text.split_once('/') {
        None | Some(("*", _)) => Hostname::new(text.rsplit('/').next().unwrap_or_default()).matches(host),
        Some((".", name)) => *own == service.namespace && Hostname::new(name).matches(host),
        Some((namespace, name)) => *namespace == *service.namespace.as_str() && Hostname::new(name).matches(host),
    })
}

impl Rule<'_> {
    /// Whether a request that `later` is for never gets there.
    fn takes(&self, later: &Rule<'_>) -> bool {
        let everything = self.matches.is_empty();
        everything || !later.matches.is_empty() && later.matches.iter().all(|later| self.matches.iter().any(|own| holds(own, later)))
    }

    fn is_catch_all(&self) -> bool {
        let plain = |matches: &HttpMatchRequest| {
            let rest = HttpMatchRequest { name: String::new(), stat_prefix: String::new(), uri: None, ..matches.clone() };
            let all = match matches.uri.as_ref().and_then(StringMatch::matcher) {
                None => true,
                Some(StringMatcher::Prefix("/")) => true,
                Some(_) => false,
            };
            all && rest == HttpMatchRequest::default()
        };
        self.matches.is_empty() || self.matches.iter().any(plain)
    }
}

/// Whether `own` holds wherever `later` does: each of its conditions is missing, or the same there; only paths are compared
/// by what they mean.
fn holds(own: &HttpMatchRequest, later: &HttpMatchRequest) -> bool {
    let same = |one: &Option<StringMatch>, other: &Option<StringMatch>| one.is_none() || one == other;
    let maps = [(&own.headers, &later.headers), (&own.query_params, &later.query_params), (&own.without_headers, &later.without_headers)];
    same(&own.scheme, &later.scheme)
        && same(&own.method, &later.method)
        && same(&own.authority, &later.authority)
        && (own.port == 0 || own.port == later.port)
        && (own.gateways.is_empty() || own.gateways == later.gateways)
        && (own.source_namespace.is_empty() || own.source_namespace == later.source_namespace)
        && own.source_labels.iter().all(|(key, value)| later.source_labels.get(key) == Some(value))
        && maps.iter().all(|(own, later)| own.iter().all(|(name, matches)| later.get(name) == Some(matches)))
        && path(own, later)
}

fn path(own: &HttpMatchRequest, later: &HttpMatchRequest) -> bool {
    let matcher = |matches: &HttpMatchRequest| matches.uri.as_ref().and_then(StringMatch::matcher).map(owned);
    match (matcher(own), matcher(later)) {
        (None, _) => true,
        (Some(Path::Prefix(prefix)), _) if prefix == "/" => true,
        (Some(Path::Prefix(prefix)), Some(Path::Prefix(text) | Path::Exact(text))) => {
            own.ignore_uri_case == later.ignore_uri_case && text.starts_with(&prefix)
        }
        (own_path, later_path) => own.ignore_uri_case == later.ignore_uri_case && own_path == later_path,
    }
}

#[derive(PartialEq)]
enum Path {
    Exact(String),
    Prefix(String),
    Regex(String),
}

fn owned(matcher: StringMatcher<'_>) -> Path {
    match matcher {
        StringMatcher::Exact(text) => Path::Exact(text.to_owned()),
        StringMatcher::Prefix(text) => Path::Prefix(text.to_owned()),
        StringMatcher::Regex(text) => Path::Regex(text.to_owned()),
    }
}
