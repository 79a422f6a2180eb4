//! One Envoy process.

use super::{admin, room::Room};
use crate::case::Proxy;
use anyhow::{Context, Result, bail};
use envoy::tls::SDS_CLUSTER;
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// How long Envoy may take until it has all its configuration. It takes less than a second; a busy machine takes longer.
const START: Duration = Duration::from_secs(30);

/// A running Envoy, which ends with this value.
pub struct Envoy {
    /// Its admin page.
    pub admin: admin::Admin,
    log: PathBuf,
    access_log: PathBuf,
    process: Child,
}

impl Envoy {
    /// Starts an Envoy as the proxy in `room`, and waits until it serves. `ads` and `sds` are the sockets that it gets its
    /// configuration and, with an agent, its certificates from.
    ///
    /// # Errors
    /// If it ends, or is not ready in time; the text holds what it complained about.
    pub async fn start(proxy: &Proxy, room: &Room, scratch: &Path, ads: &Path, sds: Option<&Path>) -> Result<Self> {
        let socket = scratch.join("admin.sock");
        let (config, log) = (scratch.join("bootstrap.json"), scratch.join("envoy.log"));
        let access_log = scratch.join("access.log");
        fs::write(&config, bootstrap(proxy, ads, sds, &socket).to_string())?;
        let mut words: Vec<OsString> =
            vec![binary()?.into(), "--config-path".into(), config.into(), "--log-path".into(), log.clone().into()];
        words.extend(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"].map(OsString::from));
        // Lines of access logs are wanted soon after the call.
        words.extend(["--file-flush-interval-msec", "20"].map(OsString::from));
        // For a test program that is killed, the kernel ends Envoy.
        if let Some(setpriv) = ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|path| Path::new(path).exists()) {
            words.splice(0..0, [setpriv, "--pdeathsig", "KILL"].map(OsString::from));
        }
        let (program, arguments) = words.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(fs::File::create(&access_log)?).stderr(Stdio::null()).kill_on_drop(true);
        let mut process = room.inside(|| command.spawn())?.context("Envoy cannot be started")?;
        let admin = admin::Admin { socket };
        let end = Instant::now() + START;
        while !admin.is_ready().await {
            let ended = process.try_wait()?;
            if let Some(status) = ended {
                bail!("Envoy has ended ({status}): {}", fs::read_to_string(&log).unwrap_or_default());
            }
            if Instant::now() > end {
                bail!("Envoy is not ready: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { admin, log, access_log, process })
    }

    /// Ends it and waits until its ports are free.
    pub async fn stop(&mut self) {
        // Fails only for a process that has ended.
        let _ = self.process.kill().await;
    }

    /// What it has written to its standard output, where cases let it write access logs.
    pub fn access_log(&self) -> String {
        fs::read_to_string(&self.access_log).unwrap_or_default()
    }

    /// The warnings in its log.
    pub fn complaints(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The stock Envoy: `ENVOY_BINARY`, or the one that `make envoy` got.
fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("ENVOY_BINARY") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/envoy/envoy"),
    };
    path.canonicalize().with_context(|| format!("{} is missing: run `make envoy`", path.display()))
}

fn bootstrap(proxy: &Proxy, ads: &Path, sds: Option<&Path>, admin: &Path) -> Value {
    let mut clusters: Vec<Value> =
        [("xds-grpc", Some(ads)), (SDS_CLUSTER, sds)].into_iter().filter_map(|(name, at)| Some(cluster(name, at?))).collect();
    // As the agent's bootstrap has it.
    let discovers_itself = proxy.metadata.get("ENABLE_SELF_DISCOVERY").is_some_and(|value| value == "true");
    let mut cluster_manager = json!({});
    if discovers_itself {
        clusters.push(json!({
            "name": "local_cluster",
            "type": "EDS",
            "connect_timeout": "1s",
            "eds_cluster_config": { "eds_config": { "ads": {}, "resource_api_version": "V3" }, "service_name": "local_cluster" },
        }));
        cluster_manager = json!({ "local_cluster_name": "local_cluster" });
    }
    json!({
        "node": proxy.node(),
        "admin": { "address": pipe(admin) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
            "cds_config": { "ads": {}, "resource_api_version": "V3" },
            "lds_config": { "ads": {}, "resource_api_version": "V3" },
        },
        "cluster_manager": cluster_manager,
        "static_resources": { "clusters": clusters },
    })
}

fn pipe(path: &Path) -> Value {
    json!({ "pipe": { "path": path } })
}

/// A gRPC server on a Unix socket.
fn cluster(name: &str, socket: &Path) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": pipe(socket) } }] }],
        },
    })
}
