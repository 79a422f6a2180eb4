//! A workload as a pod has it: `pilot-agent proxy` as a process of its own, and the stock Envoy that it runs.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)] // a failed unwrap is a failed test; not every test needs all

use crate::istiod::Istiod;
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long something may take that takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The agent and its Envoy; both end with the test.
pub struct Workload {
    agent: Child,
    folder: TempDir,
    admin: u16,
    status: u16,
}

/// Where Envoy and the agent are; `None`, with a word that CI repeats, if one of them is missing.
pub fn programs() -> Option<(PathBuf, PathBuf)> {
    let envoy =
        std::env::var_os("ENVOY_BINARY").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/envoy/envoy"), PathBuf::from);
    let agent = Path::new(env!("CARGO_BIN_EXE_istiod")).with_file_name("pilot-agent");
    for (path, remedy) in [(&envoy, "make envoy"), (&agent, "cargo build --package agent")] {
        if !path.exists() {
            eprintln!("skipped: {} is missing; run `{remedy}`", path.display());
            return None;
        }
    }
    Some((envoy.canonicalize().unwrap(), agent))
}

/// Who a workload is.
pub struct Pod {
    /// Its name, label `app` and service account.
    pub app: String,
    /// Its address, of 127.0.0.0/8.
    pub address: Ipv4Addr,
    /// How long its certificates live, as in `SECRET_TTL`.
    pub lifetime: &'static str,
    /// `sidecar` or `router`.
    pub kind: &'static str,
}

impl Workload {
    /// Starts `cart` of namespace `shop`, whose certificates live for `lifetime`, and waits until it is ready.
    pub fn start(istiod: &Istiod, programs: &(PathBuf, PathBuf), lifetime: &'static str) -> Self {
        let pod = Pod { app: "cart".to_owned(), address: Ipv4Addr::new(127, 0, 0, 9), lifetime, kind: "sidecar" };
        let workload = Self::launch(istiod, programs, &pod);
        workload.wait_until_ready();
        workload
    }

    /// Starts a workload of namespace `shop`.
    pub fn launch(istiod: &Istiod, (envoy, agent): &(PathBuf, PathBuf), pod: &Pod) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [admin, status, ready, prometheus] = free_ports();
        let port = istiod.secured.rsplit_once(':').unwrap().1;
        let settings = json!({
            "discoveryAddress": format!("localhost:{port}"), "binaryPath": envoy, "proxyAdminPort": admin, "statusPort": status,
            "concurrency": 1, "terminationDrainDuration": "100ms",
        });
        let (token, app) = (folder.path().join("token"), pod.app.as_str());
        std::fs::write(&token, istiod.token(&["--namespace=shop", &format!("--serviceAccount={app}")])).unwrap();
        // As mounted when the pod has started; nobody brings it up to date.
        std::fs::copy(istiod.path("ca/root-cert.pem"), folder.path().join("root-cert.pem")).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let agent = Command::new(agent)
            .args(["proxy", pod.kind, "--proxyLogLevel=warning"])
            .current_dir(folder.path())
            .env_clear()
            .env("PROXY_CONFIG", settings.to_string())
            .env("TOKEN_PATH", token)
            .env("XDS_ROOT_CA", folder.path().join("root-cert.pem"))
            .env("SECRET_TTL", pod.lifetime)
            .env("ENVOY_STATUS_PORT", ready.to_string())
            .env("ENVOY_PROMETHEUS_PORT", prometheus.to_string())
            .envs([("POD_NAME", &*format!("{app}-1")), ("POD_NAMESPACE", "shop"), ("SERVICE_ACCOUNT", app)])
            .env("INSTANCE_IP", pod.address.to_string())
            .envs([("ISTIO_META_INTERCEPTION_MODE", "NONE"), ("ISTIO_META_ENABLE_SELF_DISCOVERY", "true")])
            .env("ISTIO_META_LABELS", json!({ "app": app }).to_string())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { agent, folder, admin, status }
    }

    /// Waits until traffic may come.
    pub fn wait_until_ready(&self) {
        self.wait("/healthz/ready answers", || self.page(self.status, "/healthz/ready").filter(|(code, _)| *code == 200));
    }

    /// What the agent and Envoy have written.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// All of Envoy's counters whose names match, with their values.
    pub fn counters(&self, filter: &str) -> Vec<(String, u64)> {
        let (_, text) = self.wait("statistics", || self.page(self.admin, &format!("/stats?filter={filter}")));
        let pair = |line: &str| line.rsplit_once(": ").and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        text.lines().filter_map(pair).collect()
    }

    /// The root certificates that Envoy has: their serial numbers.
    pub fn roots(&self) -> Vec<String> {
        let (_, text) = self.wait("certificates", || self.page(self.admin, "/certs"));
        let page: Value = serde_json::from_str(&text).unwrap();
        let all = page.get("certificates").and_then(Value::as_array).into_iter().flatten();
        let roots = all.filter_map(|one| one.pointer("/ca_cert")?.as_array()).flatten();
        let mut serials: Vec<String> = roots.filter_map(|root| Some(root.get("serial_number")?.as_str()?.to_owned())).collect();
        serials.sort();
        serials.dedup();
        serials
    }

    /// The certificate that Envoy has: its names and its serial number.
    pub fn certificate(&self) -> Option<(String, String)> {
        let (_, text) = self.page(self.admin, "/certs")?;
        let page: Value = serde_json::from_str(&text).ok()?;
        let leaf = page.pointer("/certificates/0/cert_chain/0")?;
        Some((leaf.pointer("/subject_alt_names/0/uri")?.as_str()?.to_owned(), leaf.get("serial_number")?.as_str()?.to_owned()))
    }

    /// The value of a counter of Envoy's.
    pub fn counter(&self, name: &str) -> Option<u64> {
        let (_, text) = self.page(self.admin, &format!("/stats?filter={name}"))?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
    }

    /// Whether the kubelet would send traffic.
    pub fn is_ready(&self) -> bool {
        self.page(self.status, "/healthz/ready").is_some_and(|(code, _)| code == 200)
    }

    /// The merged page of metrics.
    pub fn metrics(&self) -> String {
        self.page(self.status, "/stats/prometheus").unwrap().1
    }

    /// Asks again until there is an answer, and fails after a minute.
    pub fn wait<T>(&self, what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = answer() {
                return answer;
            }
            assert!(Instant::now() < deadline, "not in time: {what}; the log says: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the agent to end, as the kubelet does; returns how it ended.
    pub fn terminate(&mut self) -> std::process::ExitStatus {
        let ended = Command::new("kill").arg(self.agent.id().to_string()).status().unwrap();
        assert!(ended.success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.agent.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the agent does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether anything still listens on Envoy's admin port.
    pub fn envoy_is_gone(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin)).is_err()
    }

    /// The permissions of the two sockets' folder and the bootstrap that was written.
    pub fn bootstrap(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("etc/istio/proxy/envoy-rev.json")).unwrap()
    }

    fn page(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        Some((head.split(' ').nth(1)?.parse().ok()?, if chunked { joined(body)? } else { body.to_owned() }))
    }
}

/// A body that came in chunks.
fn joined(mut chunks: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n")?;
        let (chunk, rest) = rest.split_at_checked(usize::from_str_radix(length, 16).ok()?)?;
        if chunk.is_empty() {
            return Some(body);
        }
        body.push_str(chunk);
        chunks = rest.strip_prefix("\r\n")?;
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // The agent ends its Envoy when it is asked to end; killed, it could not.
        if self.agent.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.terminate();
        }
    }
}

/// Ports that nobody else is given meanwhile: below those that the kernel takes for outgoing connections, and each once.
fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut candidates = std::iter::from_fn(|| {
        let number = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Relaxed));
        u16::try_from(20_000 + number % 12_000).ok()
    });
    std::array::from_fn(|_| candidates.find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).unwrap())
}
