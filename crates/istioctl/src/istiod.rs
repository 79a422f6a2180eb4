//! Where istiod is, and its debug pages.

use crate::http;
use anyhow::Context;
use serde_json::Value;

/// The port of a deployed istiod's Service on which the pages are served, beside the metrics.
const SERVICE_PORT: u16 = 15014;

/// The flags that every command has.
#[derive(clap::Args)]
pub struct Istiod {
    /// HTTP address of istiod's debug pages [default: http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "ADDRESS")]
    istiod: Option<String>,
    /// XDS address of istiod; its debug pages are looked for at port 15014 of the same host
    #[arg(long, global = true, value_name = "ADDRESS")]
    xds_address: Option<String>,
    /// Istio system namespace: look for the pages at its Service istiod, rather than on this machine
    #[arg(short = 'i', long = "istioNamespace", global = true, value_name = "NAMESPACE")]
    istio_namespace: Option<String>,
}

impl Istiod {
    /// The address of the pages; the most exact flag counts.
    pub fn address(&self) -> String {
        if let Some(address) = &self.istiod {
            return address.clone();
        }
        if let Some(address) = &self.xds_address {
            return format!("http://{}:{SERVICE_PORT}", host(address));
        }
        match &self.istio_namespace {
            Some(namespace) => format!("http://istiod.{namespace}.svc:{SERVICE_PORT}"),
            None => "http://127.0.0.1:8080".to_string(),
        }
    }

    /// `host:port` of the pages, for people.
    pub fn name(&self) -> String {
        let address = self.address();
        address.strip_prefix("http://").unwrap_or(&address).trim_end_matches('/').to_string()
    }

    /// A page as it is.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        http::get(&self.address(), path).map_err(|error| {
            error.with_hint(
                "Is that istiod? Name its address with --istiod; one that runs in Kubernetes can be brought here by\n  \
                 kubectl -n istio-system port-forward deployment/istiod 8080",
            )
        })
    }

    /// A page of JSON.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        let text = self.text(path)?;
        serde_json::from_str(&text).with_context(|| format!("{}{path} is not JSON; is that an istiod?", self.name()))
    }
}

/// The host of `host:port`, also of `[::1]:15010`.
fn host(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => address,
    }
}
