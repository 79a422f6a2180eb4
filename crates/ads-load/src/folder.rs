//! The folder that the server follows: one file per service, replaced as editors do it.

use crate::Flags;
use anyhow::Context;
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

/// A service of the folder and what was changed about it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Generation {
    /// Decides the address of the first endpoint.
    pub endpoint: usize,
    /// Decides the timeout of the VirtualService.
    pub route: usize,
}

/// What of a service is changed.
#[derive(Clone, Copy, Debug)]
pub enum Changed {
    /// Its EndpointSlice.
    Endpoint,
    /// Its VirtualService.
    Route,
}

/// The objects of one service.
pub fn objects(i: usize, generation: Generation, flags: &Flags) -> anyhow::Result<Vec<Value>> {
    let text = content(i, generation, flags);
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).with_context(|| document.to_owned())).collect()
}

/// Writes all files that do not exist with this content; whether any was written.
pub fn write(folder: &Path, flags: &Flags) -> anyhow::Result<bool> {
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut namespaces = String::new();
    for i in 0..flags.namespaces {
        let _ = write!(namespaces, "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n", namespace(i, flags));
    }
    let mut written = put(&folder.join("namespaces.yaml"), &namespaces)?;
    for i in 0..flags.services {
        written |= put(&file(folder, i), &content(i, Generation::default(), flags))?;
    }
    Ok(written)
}

/// Replaces the file of one service; the time at which it was there.
pub fn change(folder: &Path, i: usize, generation: Generation, flags: &Flags) -> anyhow::Result<Instant> {
    put(&file(folder, i), &content(i, generation, flags))?;
    Ok(Instant::now())
}

/// The namespace of a service or proxy.
pub fn namespace(i: usize, flags: &Flags) -> String {
    format!("load-{}", i % flags.namespaces.max(1))
}

/// The host of a service.
pub fn host(i: usize, flags: &Flags) -> String {
    format!("svc-{i}.{}.svc.cluster.local", namespace(i, flags))
}

fn file(folder: &Path, i: usize) -> PathBuf {
    folder.join(format!("svc-{i}.yaml"))
}

fn put(path: &Path, content: &str) -> anyhow::Result<bool> {
    if fs::read_to_string(path).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, content).with_context(|| format!("writing {}", temporary.display()))?;
    fs::rename(&temporary, path).with_context(|| format!("replacing {}", path.display()))?;
    Ok(true)
}

fn content(i: usize, generation: Generation, flags: &Flags) -> String {
    let (namespace, host) = (namespace(i, flags), host(i, flags));
    let mut endpoints = String::new();
    for k in 0..flags.endpoints {
        let address = match (k, generation.endpoint) {
            (0, changed) if changed > 0 => format!("10.{}.{}.{}", 220 + changed / 62_500 % 20, changed / 250 % 250, changed % 250 + 1),
            _ => format!("10.{}.{}.{}", 16 + i / 200, i % 200, k + 1),
        };
        let _ = writeln!(endpoints, "- addresses: [{address}]\n  conditions: {{ready: true}}");
    }
    let timeout = 10 + generation.route;
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: svc-{i}, namespace: {namespace}}}
spec:
  clusterIP: 10.{}.{}.{}
  ports: [{{name: http, port: 80, targetPort: 8080, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: svc-{i}-s, namespace: {namespace}, labels: {{kubernetes.io/service-name: svc-{i}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
{endpoints}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: svc-{i}, namespace: {namespace}}}
spec:
  hosts: [{host}]
  http:
  - timeout: {timeout}s
    route:
    - destination: {{host: {host}}}
      weight: 90
    - destination: {{host: {host}, subset: v1}}
      weight: 10
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: svc-{i}, namespace: {namespace}}}
spec:
  host: {host}
  subsets:
  - name: v1
    labels: {{version: v1}}
",
        96 + i / 62_500,
        i / 250 % 250,
        i % 250 + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn a_folder_is_written_once_and_changed_in_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let flags = Flags::parse_from(["ads-load", "--services", "3", "--endpoints", "2"]);
        assert!(write(folder.path(), &flags).unwrap());
        assert!(!write(folder.path(), &flags).unwrap());
        let before = fs::read_to_string(folder.path().join("svc-1.yaml")).unwrap();
        change(folder.path(), 1, Generation { endpoint: 5, route: 0 }, &flags).unwrap();
        let after = fs::read_to_string(folder.path().join("svc-1.yaml")).unwrap();
        let differing = before.lines().zip(after.lines()).filter(|(a, b)| a != b);
        assert_eq!(differing.collect::<Vec<_>>(), [("- addresses: [10.16.1.1]", "- addresses: [10.220.0.6]")]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "no temporary file stays");
    }
}
