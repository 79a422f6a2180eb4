//! Where the configuration of a proxy is read: istiod, the proxy's own admin port, or a file.

use super::dump::Dump;
use crate::{
    http, istiod,
    json::{list, text},
};
use anyhow::Context;
use serde_json::Value;
use std::io::Read;

/// The flags that say where to look.
#[derive(clap::Args)]
pub struct Source {
    /// The proxy, <pod>.<namespace>; needed if istiod is asked and several are connected
    proxy: Option<String>,
    /// Config dump of an Envoy as JSON, a file or - for standard input
    #[arg(short = 'f', long, conflicts_with_all = ["envoy_admin", "proxy_admin_port"])]
    file: Option<String>,
    /// Ask the Envoy with this admin address, rather than istiod
    #[arg(long, value_name = "ADDRESS", conflicts_with = "proxy_admin_port")]
    envoy_admin: Option<String>,
    /// Ask the Envoy with this admin port on this machine, rather than istiod
    #[arg(long, value_name = "PORT")]
    proxy_admin_port: Option<u16>,
}

impl Source {
    /// The dump of the proxy.
    pub fn config_dump(&self, istiod: &istiod::Istiod) -> anyhow::Result<Dump> {
        let (text, origin) = match (&self.file, self.admin()) {
            (Some(file), _) => (read(file)?, file.clone()),
            (None, Some(admin)) => (admin_page(&admin, "/config_dump?include_eds")?, admin),
            (None, None) => {
                let path = format!("/debug/config_dump?proxyID={}&include_eds", http::query_value(&self.proxy(istiod)?));
                (istiod.text(&path)?, istiod.name())
            }
        };
        Dump::parse(&text).with_context(|| origin).map_err(|error| anyhow::anyhow!("{error:#}"))
    }

    /// Groups of endpoints: what an Envoy says of the state of each, or else the assignments that the proxy was sent.
    pub fn endpoints(&self, istiod: &istiod::Istiod) -> anyhow::Result<Vec<Value>> {
        let statuses = match (&self.file, self.admin()) {
            (Some(file), _) => read(file)?,
            (None, Some(admin)) => admin_page(&admin, "/clusters?format=json")?,
            (None, None) => return Ok(self.config_dump(istiod)?.endpoints()),
        };
        match serde_json::from_str::<Value>(&statuses) {
            Ok(value) if value.get("cluster_statuses").is_some() => Ok(list(&value, "/cluster_statuses").to_vec()),
            _ => Ok(Dump::parse(&statuses)?.endpoints()),
        }
    }

    fn admin(&self) -> Option<String> {
        self.envoy_admin.clone().or_else(|| self.proxy_admin_port.map(|port| format!("127.0.0.1:{port}")))
    }

    /// The named proxy, or else the only one.
    fn proxy(&self, istiod: &istiod::Istiod) -> anyhow::Result<String> {
        if let Some(proxy) = &self.proxy {
            return Ok(proxy.clone());
        }
        let page = istiod.json("/debug/syncz")?;
        let mut names: Vec<&str> = list(&page, "").iter().map(|proxy| text(proxy, "/proxy")).collect();
        names.sort_unstable();
        names.dedup();
        match names.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => {
                anyhow::bail!("no proxy is connected to {}; read a saved dump with -f, or ask an Envoy with --envoy-admin", istiod.name())
            }
            several => anyhow::bail!("name one of the connected proxies:\n  {}", several.join("\n  ")),
        }
    }
}

fn admin_page(address: &str, path: &str) -> anyhow::Result<String> {
    http::get(address, path)
        .map_err(|error| error.with_hint("Is that the admin address of an Envoy? A sidecar's is 127.0.0.1:15000 in its pod."))
}

fn read(file: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    match file {
        "-" => std::io::stdin().lock().read_to_string(&mut text).map(|_| text).context("standard input"),
        file => std::fs::read_to_string(file).with_context(|| file.to_owned()),
    }
    .map_err(|error| anyhow::anyhow!("{error:#}"))
}
