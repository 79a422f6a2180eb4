//! The folder `samples/shop` as the demo and stock Envoys take it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;
use shop::demo::bootstrap::bootstrap;
use shop::demo::gateway;
use shop::demo::pod::{Proxy, read_pods};
use shop::service::Settings;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All objects of the folder.
fn objects(folder: &Path) -> Vec<Value> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            objects.extend(self::objects(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            objects.extend(serde_saphyr::from_multiple::<Value>(&text).unwrap());
        }
    }
    objects
}

#[test]
fn every_pod_can_be_started() {
    let pods = read_pods(&root().join("samples/shop")).unwrap();
    let addresses: BTreeSet<_> = pods.iter().map(|pod| pod.address).collect();
    assert_eq!(addresses.len(), pods.len(), "two Pods share an address");
    assert!(addresses.iter().all(IpAddr::is_loopback));
    assert!(pods.iter().filter(|pod| pod.proxy == Proxy::Sidecar).count() >= 4);
    gateway(&pods).unwrap();
    for pod in pods.iter().filter(|pod| pod.proxy != Proxy::Router) {
        let arguments = pod.arguments.clone().unwrap();
        let settings = Settings::try_parse_from(std::iter::once("shop".to_owned()).chain(arguments)).unwrap();
        assert_eq!((settings.listen.ip(), settings.name.as_str()), (pod.address, pod.app()));
        assert_eq!(settings.through.unwrap_or(pod.address), pod.address);
        assert_eq!(pod.labels.get("version"), Some(&settings.version));
    }
}

#[test]
fn endpoints_and_sidecars_name_the_addresses_of_the_pods() {
    let folder = root().join("samples/shop");
    let pods: BTreeSet<_> = read_pods(&folder).unwrap().into_iter().map(|pod| pod.address.to_string()).collect();
    let mut seen = 0;
    for object in objects(&folder) {
        let lists = ["/endpoints", "/spec/ingress", "/spec/egress"].map(|list| object.pointer(list).and_then(Value::as_array));
        for entry in lists.into_iter().flatten().flatten() {
            for address in [entry.get("bind"), entry.pointer("/addresses/0")].into_iter().flatten() {
                assert!(pods.contains(address.as_str().unwrap()), "{address} in {} is no Pod", object["metadata"]["name"]);
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} addresses were found");
}

/// Asks the stock Envoy, where it is there already: `make envoy` gets it.
#[test]
fn envoy_accepts_its_bootstrap() {
    let envoy = root().join(".cache/envoy/envoy");
    if !envoy.is_file() {
        println!("skipped: there is no {}; `make envoy` gets it", envoy.display());
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let istiod: SocketAddr = "127.0.0.1:15010".parse().unwrap();
    for pod in read_pods(&root().join("samples/shop")).unwrap().iter().filter(|pod| pod.proxy != Proxy::None) {
        let path = scratch.path().join("bootstrap.json");
        std::fs::write(&path, bootstrap(pod, istiod).to_string()).unwrap();
        let output =
            std::process::Command::new(&envoy).args(["--mode", "validate", "--log-level", "error", "-c"]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{}: {}", pod.name, String::from_utf8_lossy(&output.stderr));
    }
}
