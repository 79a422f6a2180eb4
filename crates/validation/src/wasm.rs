//! WasmPlugin and TrafficExtension (Istio's `ValidateWasmPlugin` and `ValidateTrafficExtension`).

use crate::{
    report::{Field, Report, each},
    selector,
};
use istio_api::extensions::{
    traffic_extension::{ExtensionFilter, TrafficExtension},
    wasm_plugin::{EnvValueSource, TrafficSelector, VmConfig, WasmPlugin},
};
use std::collections::BTreeSet;

/// The size of Lua code that an extension may have, in bytes.
const MAX_LUA: usize = 64 * 1024;

/// The fields that both kinds share.
struct Module<'a> {
    url: &'a str,
    sha256: &'a str,
    image_pull_secret: &'a str,
    plugin_name: &'a str,
    vm_config: Option<&'a VmConfig>,
}

pub(crate) fn validate_plugin(report: &mut Report, plugin: &WasmPlugin) {
    let at = Field::Root("spec");
    selector::attachment(report, &at, plugin.selector.as_ref(), plugin.target_ref.as_ref(), &plugin.target_refs);
    let WasmPlugin { url, sha256, image_pull_secret, plugin_name, vm_config, .. } = plugin;
    module(report, &at, &Module { url, sha256, image_pull_secret, plugin_name, vm_config: vm_config.as_ref() });
    matches(report, &at, &plugin.matches);
}

pub(crate) fn validate_extension(report: &mut Report, extension: &TrafficExtension) {
    let at = Field::Root("spec");
    selector::attachment(report, &at, extension.selector.as_ref(), None, &extension.target_refs);
    match extension.filter() {
        Some(ExtensionFilter::Wasm(wasm)) => {
            let (url, sha256) = (wasm.url.as_str(), wasm.sha256.as_str());
            let (image_pull_secret, plugin_name) = (wasm.image_pull_secret.as_str(), wasm.plugin_name.as_str());
            module(report, &at.key("wasm"), &Module { url, sha256, image_pull_secret, plugin_name, vm_config: wasm.vm_config.as_ref() });
        }
        Some(ExtensionFilter::Lua(lua)) if lua.inline_code.trim().is_empty() => {
            report.error(&at.key("lua").key("inlineCode"), "lua inlineCode must be set");
        }
        Some(ExtensionFilter::Lua(lua)) if lua.inline_code.len() > MAX_LUA => {
            report.error(&at.key("lua").key("inlineCode"), format!("lua inlineCode must be less than {MAX_LUA} bytes"));
        }
        Some(ExtensionFilter::Lua(_)) => {}
        None => report.error(&at, "one of wasm or lua must be set"),
    }
    matches(report, &at, &extension.matches);
}

fn module(report: &mut Report, at: &Field<'_>, module: &Module<'_>) {
    url(report, &at.key("url"), module.url);
    if !module.sha256.is_empty() {
        if module.sha256.len() != 64 {
            report.error(&at.key("sha256"), "sha256 field must be 64 characters long");
        } else if !module.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            report.error(&at.key("sha256"), "sha256 field must match [a-f0-9]{64} pattern");
        }
    }
    for (field, text) in [("imagePullSecret", module.image_pull_secret), ("pluginName", module.plugin_name)] {
        if text.len() > 253 {
            report.error(&at.key(field), format!("{field} field must be less than 254 characters long"));
        }
    }
    if let Some(machine) = module.vm_config {
        environment(report, &at.key("vmConfig"), machine);
    }
}

fn url(report: &mut Report, at: &Field<'_>, url: &str) {
    if url.is_empty() {
        report.error(at, "url field needs to be set");
        return;
    }
    match url.split_once("://") {
        Some((scheme, _)) if !matches!(scheme, "oci" | "file" | "http" | "https") => {
            report.error(at, format!("url contains unsupported scheme: {scheme}; write oci, file, http or https"));
        }
        _ if url.starts_with('#') || url.contains(char::is_whitespace) || has_bad_escape(url) => {
            report.error(at, format!("failed to parse url: parse {url:?}: invalid URI for request"));
        }
        _ => {}
    }
}

/// Whether a percent sign is not followed by two hex digits.
fn has_bad_escape(url: &str) -> bool {
    url.split('%').skip(1).any(|part| !part.get(..2).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())))
}

fn environment(report: &mut Report, at: &Field<'_>, machine: &VmConfig) {
    let mut names = BTreeSet::new();
    each(report, at, "env", &machine.env, |report, at, variable| {
        if variable.name.is_empty() {
            report.error(&at.key("name"), "spec.vmConfig.env invalid: the name must be set");
        } else if !names.insert(variable.name.clone()) {
            report.error(&at.key("name"), format!("duplicate env {}", variable.name));
        }
        if variable.value_from == EnvValueSource::Host && !variable.value.is_empty() {
            report.error(&at.key("value"), "value may only be set when valueFrom is INLINE");
        }
    });
}

fn matches(report: &mut Report, at: &Field<'_>, matches: &[TrafficSelector]) {
    each(report, at, "match", matches, |report, at, traffic| {
        each(report, at, "ports", &traffic.ports, |report, at, port| {
            if !(1..=65535).contains(&port.number) {
                report.error(&at.key("number"), format!("the port is out of range: {}; write 1 to 65535", port.number));
            }
        });
    });
}
