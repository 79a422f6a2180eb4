//! What a running istiod says and holds.

use super::{message::Message, read::Input};
use crate::istiod::Istiod;
use analysis::Suppression;
use anyhow::Context;
use base::Level;
use serde::Deserialize;

/// A finding on istiod's page.
#[derive(Deserialize)]
struct Finding {
    level: String,
    code: String,
    object: Option<Object>,
    location: Option<Location>,
    message: String,
}

#[derive(Deserialize)]
struct Object {
    kind: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct Location {
    file: String,
    line: usize,
}

/// What istiod finds wrong, in one namespace or (if it is empty) all.
pub fn messages(istiod: &Istiod, namespace: &str, suppressions: &[Suppression]) -> anyhow::Result<Vec<Message>> {
    let findings: Vec<Finding> = serde_json::from_value(istiod.json("/debug/diagnosticsz")?).context("the findings are not readable")?;
    let elsewhere = |object: &Object| !namespace.is_empty() && !object.namespace.is_empty() && object.namespace != namespace;
    let near = findings.into_iter().filter(|finding| !finding.object.as_ref().is_some_and(elsewhere));
    let wanted = near.filter(|finding| {
        let object = finding.object.as_ref();
        !object
            .is_some_and(|object| suppressions.iter().any(|wish| wish.covers(&finding.code, &object.kind, &object.namespace, &object.name)))
    });
    Ok(wanted.map(message).collect())
}

fn message(finding: Finding) -> Message {
    Message {
        level: match finding.level.as_str() {
            "Error" => Level::Error,
            "Warning" => Level::Warning,
            _ => Level::Info,
        },
        code: finding.code,
        object: finding.object.map(|object| (object.kind, object.namespace, object.name)),
        reference: finding.location.map(|place| format!("{}:{}", place.file, place.line)),
        text: finding.message,
    }
}

/// Adds the objects that istiod serves from, over which files are laid.
pub fn objects(istiod: &Istiod, input: &mut Input) -> anyhow::Result<()> {
    let page = istiod.json("/debug/configz")?;
    page.as_array().into_iter().flatten().for_each(|object| input.add_running(object.clone()));
    Ok(())
}
