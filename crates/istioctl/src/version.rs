//! `istioctl version`: of this program, of istiod and of the proxies.

use crate::{istiod, json::text, output};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Prints out build version information
#[derive(clap::Args)]
pub struct Arguments {
    /// Ask istiod, too
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    remote: bool,
    /// Print the number of the version only
    #[arg(short = 's', long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    short: bool,
    #[command(flatten)]
    output: output::Output,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes the versions. An istiod that cannot be reached is told on standard error and is no failure, as in Istio.
pub fn run(arguments: &Arguments, istiod: &istiod::Istiod) -> anyhow::Result<()> {
    let mut versions = json!({"clientVersion": {"version": VERSION}});
    if arguments.remote {
        match remote(istiod) {
            Ok((control_plane, proxies)) => {
                if let Value::Object(fields) = &mut versions {
                    fields.insert("meshVersion".into(), json!([{"Component": "pilot", "Info": {"version": control_plane}}]));
                    fields.insert("dataPlaneVersion".into(), proxies.into());
                }
            }
            Err(error) => eprintln!("The control plane does not say its version: {error}"),
        }
    }
    arguments.output.format.print(|| lines(&versions, arguments.short), &versions)
}

/// The version of istiod, and of each proxy.
fn remote(istiod: &istiod::Istiod) -> anyhow::Result<(String, Vec<Value>)> {
    let control_plane = istiod.text("/version")?.trim().to_owned();
    let page = istiod.json("/debug/syncz")?;
    let proxies = page.as_array().into_iter().flatten();
    let proxies = proxies.map(|proxy| json!({"ID": text(proxy, "/proxy"), "IstioVersion": text(proxy, "/istio_version")}));
    Ok((control_plane, proxies.collect()))
}

fn lines(versions: &Value, short: bool) -> String {
    let system = if short { String::new() } else { format!(" ({}/{})", std::env::consts::OS, std::env::consts::ARCH) };
    let mut lines = format!("client version: {VERSION}{system}\n");
    for component in crate::json::list(versions, "/meshVersion") {
        lines += &format!("control plane version: {}\n", text(component, "/Info/version"));
    }
    let Some(proxies) = versions.pointer("/dataPlaneVersion").and_then(Value::as_array) else { return lines };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    proxies.iter().for_each(|proxy| *counts.entry(text(proxy, "/IstioVersion")).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(version, count)| data_plane(version, *count)).collect();
    let counts = if counts.is_empty() { "none".to_owned() } else { counts.join(", ") };
    lines + &format!("data plane version: {counts}\n")
}

fn data_plane(version: &str, count: usize) -> String {
    let version = if version.is_empty() { "unknown" } else { version };
    let noun = if count == 1 { "proxy" } else { "proxies" };
    format!("{version} ({count} {noun})")
}
