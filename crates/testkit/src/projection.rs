//! What a case keeps of generated resources: whole ones, or some of their fields.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use xds_wire::{ResourceType, View, json};

/// `print` in `case.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Print {
    /// `all`: every resource as a whole.
    All(All),
    /// Some.
    Some(Vec<Selection>),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub enum All {
    /// `all`
    #[serde(rename = "all")]
    All,
}

impl Default for Print {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

/// Resources of one type, and the fields of them that are kept. One of the five types is given: a name, in which `*` stands
/// for any text.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// Of CDS.
    pub clusters: Option<String>,
    /// Of EDS.
    pub endpoints: Option<String>,
    /// Of LDS.
    pub listeners: Option<String>,
    /// Of RDS.
    pub routes: Option<String>,
    /// Of SDS.
    pub secrets: Option<String>,
    /// Paths of fields, `virtual_hosts[catalog:80].routes.match`: a path goes through lists, `[text]` picks the elements
    /// with that `name` (`*` stands for any text) or that position. Without paths, the whole resource is kept.
    pub fields: Vec<String>,
}

impl Selection {
    fn name(&self, kind: ResourceType) -> Option<&str> {
        match kind {
            ResourceType::Cluster => self.clusters.as_deref(),
            ResourceType::Endpoint => self.endpoints.as_deref(),
            ResourceType::Listener => self.listeners.as_deref(),
            ResourceType::Route => self.routes.as_deref(),
            ResourceType::Secret => self.secrets.as_deref(),
            // The roots of the mesh are no consequence of objects.
            ResourceType::VirtualHost | ResourceType::ProxyConfig => None,
        }
    }
}

/// The name of a type in `expected/`, where each has a file.
pub fn file_stem(kind: ResourceType) -> &'static str {
    match kind {
        ResourceType::Cluster => "clusters",
        ResourceType::Endpoint => "endpoints",
        ResourceType::Listener => "listeners",
        ResourceType::Route => "routes",
        ResourceType::VirtualHost => "virtual_hosts",
        ResourceType::Secret => "secrets",
        ResourceType::ProxyConfig => "proxy_config",
    }
}

/// The kept parts of the resources of one type, by name; `None` if the case keeps nothing of that type.
///
/// # Errors
/// If a selection picks nothing, or a resource is not what its type says.
pub fn project(print: &Print, kind: ResourceType, view: &View) -> Result<Option<Value>> {
    let selections: Vec<(&str, &[String])> = match print {
        Print::All(_) => vec![("*", &[])],
        Print::Some(selections) => selections.iter().filter_map(|one| Some((one.name(kind)?, one.fields.as_slice()))).collect(),
    };
    let mut kept: BTreeMap<String, Value> = BTreeMap::new();
    for (name, fields) in &selections {
        let mut found = false;
        for resource in view.of(kind).iter().filter(|resource| fits(name, &resource.name)) {
            found = true;
            let mut whole = json::to_json(kind.url(), &resource.body()).with_context(|| resource.name.to_string())?;
            hide_private_keys(&mut whole);
            let parts = if fields.is_empty() { vec![whole] } else { fields.iter().filter_map(|path| pick(&whole, path)).collect() };
            let entry = kept.entry(resource.name.to_string()).or_insert(Value::Object(Map::new()));
            parts.into_iter().for_each(|part| merge(entry, part));
        }
        let all = matches!(print, Print::All(_));
        ensure!(found || all, "no resource of {} is called {name}; there are {:?}", file_stem(kind), names(view, kind));
    }
    let mut kept = Value::Object(kept.into_iter().map(|(name, value)| (name, drop_gaps(value))).collect());
    if matches!(print, Print::All(_)) {
        fold(&mut kept, "", &mut BTreeMap::new());
    }
    Ok(kept.as_object().is_some_and(|kept| !kept.is_empty()).then_some(kept))
}

/// Texts of JSON from this length on are shown once.
const LONG: usize = 300;

/// Puts, for every long part that was shown before, the place where that was: filters repeat in every chain.
fn fold(value: &mut Value, place: &str, shown: &mut BTreeMap<String, String>) {
    let text = value.to_string();
    if text.len() < LONG {
        return;
    }
    if let Some(first) = shown.get(&text) {
        *value = Value::from(format!("(as {first})"));
        return;
    }
    shown.insert(text, place.to_owned());
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| fold(value, &format!("{place}/{key}"), shown)),
        Value::Array(items) => {
            items.iter_mut().enumerate().for_each(|(position, value)| fold(value, &format!("{place}/{position}"), shown));
        }
        _ => {}
    }
}

fn names(view: &View, kind: ResourceType) -> Vec<String> {
    view.of(kind).iter().map(|resource| resource.name.to_string()).collect()
}

/// Whether `text` is the pattern, with `*` for any text.
pub fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let positions = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            positions.filter_map(|at| text.get(at..)).any(|text| fits(rest, text))
        }),
    }
}

/// The part of `value` at the path, with everything around it that leads there. Elements of lists keep their positions, as
/// nulls where nothing is kept, so that several paths can be merged.
fn pick(value: &Value, path: &str) -> Option<Value> {
    if path.is_empty() {
        return Some(value.clone());
    }
    if let Value::Array(items) = value {
        let (selector, rest) = match path.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => ("*", path),
        };
        let rest = rest.strip_prefix('.').unwrap_or(rest);
        let picked = items.iter().enumerate().map(|(position, item)| {
            let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
            let chosen = fits(selector, name) || selector == position.to_string();
            chosen.then(|| pick(item, rest)).flatten().unwrap_or(Value::Null)
        });
        let picked: Vec<Value> = picked.collect();
        return picked.iter().any(|item| !item.is_null()).then_some(Value::Array(picked));
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (field, rest) = path.split_at(end);
    let inner = pick(value.get(field)?, rest.strip_prefix('.').unwrap_or(rest))?;
    Some(Value::Object(Map::from_iter([(field.to_owned(), inner)])))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) if into.len() == from.len() => {
            into.iter_mut().zip(from).for_each(|(into, from)| merge(into, from));
        }
        (into, from) if !from.is_null() => *into = from,
        _ => {}
    }
}

/// Leaves out the elements of which nothing is kept, and sorts the keys.
fn drop_gaps(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().filter(|item| !item.is_null()).map(drop_gaps).collect()),
        Value::Object(fields) => {
            let sorted: BTreeMap<String, Value> = fields.into_iter().map(|(key, value)| (key, drop_gaps(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        scalar => scalar,
    }
}

fn hide_private_keys(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(key) = fields.get_mut("private_key") {
                *key = Value::from("(not shown)");
            }
            fields.values_mut().for_each(hide_private_keys);
        }
        Value::Array(items) => items.iter_mut().for_each(hide_private_keys),
        _ => {}
    }
}
