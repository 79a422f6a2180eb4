//! The calls of a case through the simulator.

use crate::{
    call::{CallFile, GoesTo, Names},
    case::{Case, Proxy},
    mesh,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use simulation::{End, Failure, Outcome, Resources, simulate};
use std::collections::BTreeMap;

/// Makes all calls.
///
/// # Errors
/// If one of them does not end as expected; the text tells the way of each.
pub fn check(case: &Case) -> Result<()> {
    let resources = mesh::views(case)?
        .1
        .into_iter()
        .map(|view| Resources::from_view(&view).map_err(|error| anyhow!("{}: {}", error.name, error.message)));
    let resources: Vec<(&Proxy, Resources)> = case.proxies().zip(resources.collect::<Result<Vec<_>>>()?).collect();
    let events = mesh::events(case)?;
    let names = Names::of(mesh::objects(&events));
    let mut failures = Vec::new();
    for file in case.calls.iter().filter(|file| file.only_envoy.is_none()) {
        let caller = case.caller(file)?;
        let (_, resources) = resources.iter().find(|(proxy, _)| std::ptr::eq(*proxy, caller)).context("the caller has no configuration")?;
        let outcome = simulate(resources, &file.call(case, &names).with_context(|| file.to.clone())?);
        if let Err(error) = compare(file, &outcome) {
            failures.push(format!("{} {:?}: {error:#}; goes to {outcome}", file.to, file.headers));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n  "));
    Ok(())
}

fn compare(file: &CallFile, outcome: &Outcome) -> Result<()> {
    ensure!(file.asks == outcome.asks, "should ask {:?}, not {:?}", file.asks, outcome.asks);
    match (file, &outcome.end) {
        (CallFile { goes_to: Some(wanted), .. }, End::Forwarded(forwarded)) => {
            let clusters: BTreeMap<String, u32> = forwarded.clusters.iter().cloned().collect();
            match wanted {
                GoesTo::One(wanted) => ensure!(clusters.len() == 1 && clusters.contains_key(wanted), "should go to {wanted}"),
                GoesTo::Several(wanted) => ensure!(clusters == *wanted, "should go to {wanted:?}"),
            }
            if let Some(receives) = &file.receives {
                compare_text("the path", receives.path.as_deref(), &forwarded.path)?;
                compare_text("the host", receives.host.as_deref(), &forwarded.authority)?;
            }
            ensure!(forwarded.mirrors == file.mirrors, "should be mirrored to {:?}, not {:?}", file.mirrors, forwarded.mirrors);
            Ok(())
        }
        (CallFile { redirects_to: Some(wanted), .. }, End::Redirect { status, location }) => {
            ensure!(location == wanted, "should be sent to {wanted}");
            ensure!(*status == u32::from(file.status.unwrap_or(301)), "should have the status {:?}", file.status);
            Ok(())
        }
        (CallFile { responds: Some(wanted), .. }, End::Response { status, body }) => {
            ensure!(*status == u32::from(*wanted), "should be answered with {wanted}");
            compare_text("the body", file.body.as_deref(), body)
        }
        (CallFile { responds: Some(404), .. }, End::Failure(Failure::NoRoute | Failure::NoVirtualHost | Failure::NoRouteConfiguration)) => {
            Ok(())
        }
        (CallFile { error: Some(wanted), .. }, End::Failure(failure)) if failure.to_string() == *wanted => Ok(()),
        _ => bail!("{}", expectation(file)),
    }
}

fn compare_text(what: &str, wanted: Option<&str>, found: &str) -> Result<()> {
    ensure!(wanted.is_none_or(|wanted| wanted == found), "{what} should be {wanted:?}, not {found:?}");
    Ok(())
}

fn expectation(file: &CallFile) -> String {
    match file {
        CallFile { goes_to: Some(GoesTo::One(cluster)), .. } => format!("should go to {cluster}"),
        CallFile { goes_to: Some(GoesTo::Several(clusters)), .. } => format!("should go to {clusters:?}"),
        CallFile { redirects_to: Some(location), .. } => format!("should be sent to {location}"),
        CallFile { responds: Some(status), .. } => format!("should be answered with {status}"),
        CallFile { error: Some(error), .. } => format!("should fail with: {error}"),
        _ => "nothing is expected of the call".to_owned(),
    }
}
