//! Injectors that would take a pod twice, or that nobody answers (`IST0139`).

use crate::{
    Mesh, code,
    foreign::{ForeignObject, Webhook, WebhookConfiguration, WebhookKind},
    injection::{INJECTION, REVISION},
    report::{Report, list},
    selector::LabelSelector,
    workload::INJECT,
};
use base::Labels;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn analyze(mesh: &Mesh<'_>, report: &mut Report) {
    let mutating = mesh.foreign.webhooks.iter().filter(|webhook| webhook.content.kind == WebhookKind::Mutating);
    let injectors: Vec<_> = mutating.filter(|configuration| is_istios(configuration) || !revisions(configuration).is_empty()).collect();
    overlaps(&injectors, report);
    for (configuration, index, webhook) in webhooks(&injectors) {
        let Some(service) = &webhook.client_config.service else { continue };
        if mesh.find(&mesh.store.services, &service.namespace, &service.name).is_none() {
            let text = format!("Injector refers to a control plane service that does not exist: {}/{}.", service.namespace, service.name);
            let object = configuration.object_ref(WebhookKind::Mutating.as_str());
            report.add(code::INVALID_WEBHOOK, object, format!("webhooks[{index}].clientConfig.service"), text);
        }
    }
}

fn webhooks<'a>(
    injectors: &[&'a ForeignObject<WebhookConfiguration>],
) -> impl Iterator<Item = (&'a ForeignObject<WebhookConfiguration>, usize, &'a Webhook)> {
    injectors
        .iter()
        .flat_map(|&injector| injector.content.webhooks.iter().enumerate().map(move |(index, webhook)| (injector, index, webhook)))
}

fn is_istios(configuration: &ForeignObject<WebhookConfiguration>) -> bool {
    configuration.content.webhooks.iter().any(|webhook| webhook.name.ends_with("istio.io"))
}

/// The revisions that a configuration speaks of.
fn revisions(configuration: &ForeignObject<WebhookConfiguration>) -> BTreeSet<String> {
    let mut revisions: BTreeSet<String> = configuration.metadata.labels.get(REVISION).map(str::to_owned).into_iter().collect();
    let hooks = configuration.content.webhooks.iter();
    for selector in hooks.flat_map(|webhook| webhook.namespace_selector.iter().chain(&webhook.object_selector)) {
        revisions.extend(selector.match_labels.get(REVISION).cloned());
        let expressions = selector.match_expressions.iter().filter(|requirement| requirement.key == REVISION);
        revisions.extend(expressions.flat_map(|requirement| requirement.values.iter().cloned()));
    }
    revisions
}

/// Every combination of the labels that matter, which at most one webhook may select.
fn overlaps(injectors: &[&ForeignObject<WebhookConfiguration>], report: &mut Report) {
    let revisions: BTreeSet<String> = injectors.iter().flat_map(|injector| revisions(injector)).collect();
    let namespaces = combinations(INJECTION, ["enabled", "disabled"], &revisions);
    let objects = combinations(INJECT, ["true", "false"], &revisions);
    let mut said = BTreeSet::new();
    for namespace in &namespaces {
        for object in &objects {
            let selects = |selector: &Option<LabelSelector>, labels| selector.as_ref().is_none_or(|selector| selector.selects(labels));
            let hit = webhooks(injectors)
                .filter(|(_, _, webhook)| selects(&webhook.namespace_selector, namespace) && selects(&webhook.object_selector, object));
            let hit: BTreeMap<String, _> =
                hit.map(|(injector, index, webhook)| (format!("{}/{}", injector.metadata.name, webhook.name), (injector, index))).collect();
            if hit.len() < 2 {
                continue;
            }
            for (name, (injector, index)) in &hit {
                let others = list(hit.keys().filter(|other| *other != name));
                let text = format!("Webhook overlaps with others: {others}. This may cause injection to occur twice.");
                if said.insert((name.clone(), text.clone())) {
                    let object = injector.object_ref(WebhookKind::Mutating.as_str());
                    report.add(code::INVALID_WEBHOOK, object, format!("webhooks[{index}]"), text);
                }
            }
        }
    }
}

/// No label, or `key` with one of its values; each alone and with each revision.
fn combinations(key: &str, values: [&str; 2], revisions: &BTreeSet<String>) -> Vec<Labels> {
    let mut all = Vec::new();
    for value in [None, values.first(), values.last()] {
        for revision in std::iter::once(None).chain(revisions.iter().map(Some)) {
            let own = value.map(|value| (key.to_owned(), (*value).to_owned()));
            let revision = revision.map(|revision| (REVISION.to_owned(), revision.clone()));
            all.push(Labels::from(own.into_iter().chain(revision).collect::<BTreeMap<_, _>>()));
        }
    }
    all
}
