//! The API server and what it needs.

use super::process::Process;
use anyhow::{Context, Result, bail, ensure};
use std::{
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a start may take on a busy machine.
const START: Duration = Duration::from_secs(120);

/// A cluster without nodes. Pods can be created in it, but nothing runs them.
pub struct ApiServer {
    // Ended in this order: what writes before what stores.
    controller_manager: Option<Process>,
    api_server: Option<Process>,
    _etcd: Process,
    flags: Vec<String>,
    port: u16,
    etcd_port: u16,
    folder: TempDir,
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where `make kube` has put the binaries.
fn binaries() -> PathBuf {
    let cache = std::env::var_os("KUBE_CACHE").map_or_else(|| root().join(".cache/kube"), PathBuf::from);
    cache.join("bin")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).collect()
}

impl ApiServer {
    /// Starts one and waits until it serves; `None`, with a word on stderr, where the binaries are missing.
    ///
    /// # Errors
    /// If they are there but do not come up; the text says what the API server said last.
    pub fn start() -> Result<Option<Self>> {
        Self::start_with(&[])
    }

    /// The same with further flags of kube-apiserver.
    ///
    /// # Errors
    /// Those of [`ApiServer::start`].
    pub fn start_with(flags: &[&str]) -> Result<Option<Self>> {
        if ["etcd", "hyperkube", "kubectl"].iter().any(|name| !binaries().join(name).exists()) {
            eprintln!("kube: skipped {}: no API server in .cache/kube; run `make kube`", std::thread::current().name().unwrap_or("a test"));
            return Ok(None);
        }
        let folder = tempfile::tempdir()?;
        let (port, etcd_port) = (free_port()?, free_port()?);
        let pki = Command::new(root().join("tests/kube/pki.sh"))
            .arg(folder.path().join("pki"))
            .arg(format!("https://127.0.0.1:{port}"))
            .output()?;
        ensure!(pki.status.success(), "tests/kube/pki.sh: {}", String::from_utf8_lossy(&pki.stderr));
        let (client, peer) = (format!("http://127.0.0.1:{etcd_port}"), format!("http://127.0.0.1:{}", free_port()?));
        let etcd = vec![
            format!("--data-dir={}", folder.path().join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".to_owned(),
        ];
        let etcd = Process::start(&binaries().join("etcd"), &etcd, &folder.path().join("etcd.log"))?;
        let mut server = Self { controller_manager: None, api_server: None, _etcd: etcd, flags: owned(flags), port, etcd_port, folder };
        server.start_api_server()?;
        server.start_controller_manager()?;
        Ok(Some(server))
    }

    /// The kubeconfig of somebody who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki().join("admin.conf")
    }

    /// `https://127.0.0.1:…`
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The port of the API server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same kubeconfig for another port of this machine, such as that of a [`super::Link`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn kubeconfig_through(&self, port: u16) -> Result<PathBuf> {
        let text = std::fs::read_to_string(self.kubeconfig())?.replace(&self.url(), &format!("https://127.0.0.1:{port}"));
        let path = self.folder.path().join(format!("through-{port}.conf"));
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Makes etcd forget everything but the newest state, as it does from time to time.
    ///
    /// # Errors
    /// If etcd refuses.
    pub fn compact(&self) -> Result<()> {
        let list: serde_json::Value = serde_json::from_str(&self.kubectl(&["get", "--raw", "/api/v1/namespaces"])?)?;
        let revision = list.pointer("/metadata/resourceVersion").and_then(serde_json::Value::as_str).context("a list without a version")?;
        let body = format!(r#"{{"revision":"{revision}","physical":true}}"#);
        let mut etcd = std::net::TcpStream::connect(("127.0.0.1", self.etcd_port))?;
        let head = "POST /v3/kv/compaction HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Type: application/json";
        write!(etcd, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        etcd.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "etcd: {answer}");
        Ok(())
    }

    /// kubectl's binary; it wants `--kubeconfig`.
    pub fn kubectl_binary(&self) -> PathBuf {
        binaries().join("kubectl")
    }

    /// The folder with the certificates and keys of everybody, and a kubeconfig for each (tests/kube/pki.sh).
    pub fn pki(&self) -> PathBuf {
        self.folder.path().join("pki")
    }

    /// Runs `kubectl` and returns its output.
    ///
    /// # Errors
    /// If it fails; the text is what it says.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with("", arguments)
    }

    /// The same with `input` on its standard input, for `-f -`.
    ///
    /// # Errors
    /// If it fails; the text is what it says.
    pub fn kubectl_with(&self, input: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.kubectl_binary());
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        // Its cache of what the server offers must not outlive this server.
        command.env("KUBECACHEDIR", self.folder.path().join("kubectl"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_owned();
            // From a thread of its own: kubectl may print more than a pipe holds before it has read everything.
            std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        }
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "kubectl {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Ends kube-apiserver at once, as a crash would; etcd keeps what is stored.
    pub fn kill_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts kube-apiserver at its old address and waits until it serves.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_api_server(&mut self) -> Result<()> {
        let pki = |name: &str| self.pki().join(name).display().to_string();
        let mut arguments = owned(&["kube-apiserver", "--bind-address=127.0.0.1", "--service-cluster-ip-range=10.96.0.0/12"]);
        arguments.extend(owned(&["--authorization-mode=Node,RBAC", "--allow-privileged=true", "--endpoint-reconciler-type=none"]));
        arguments.push(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port));
        arguments.push(format!("--secure-port={}", self.port));
        for (flag, file) in [
            ("client-ca-file", "ca.crt"),
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
            ("requestheader-client-ca-file", "front-proxy-ca.crt"),
            ("proxy-client-cert-file", "front-proxy-client.crt"),
            ("proxy-client-key-file", "front-proxy-client.key"),
        ] {
            arguments.push(format!("--{flag}={}", pki(file)));
        }
        arguments.extend(owned(&[
            "--service-account-issuer=https://kubernetes.default.svc",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        ]));
        arguments.extend(self.flags.clone());
        let log = self.folder.path().join("apiserver.log");
        self.api_server = Some(Process::start(&binaries().join("hyperkube"), &arguments, &log)?);
        self.wait_until_ready(&log)
    }

    fn start_controller_manager(&mut self) -> Result<()> {
        let pki = |name: &str| self.pki().join(name).display().to_string();
        let kubeconfig = self.kubeconfig().display().to_string();
        let mut arguments = owned(&["kube-controller-manager", "--leader-elect=false", "--bind-address=127.0.0.1"]);
        // Tests write pods without the ReplicaSet that they say they belong to, and such pods would be swept away.
        arguments.push("--controllers=*,-garbage-collector-controller".to_owned());
        // Its client's own limits would stretch every start by seconds.
        arguments.extend(owned(&["--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-namespace-syncs=20"]));
        arguments.push(format!("--secure-port={}", free_port()?));
        for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
            arguments.push(format!("--{flag}={kubeconfig}"));
        }
        for (flag, file) in [
            ("root-ca-file", "ca.crt"),
            ("service-account-private-key-file", "sa.key"),
            ("cluster-signing-cert-file", "ca.crt"),
            ("cluster-signing-key-file", "ca.key"),
        ] {
            arguments.push(format!("--{flag}={}", pki(file)));
        }
        let log = self.folder.path().join("controller-manager.log");
        self.controller_manager = Some(Process::start(&binaries().join("hyperkube"), &arguments, &log)?);
        Ok(())
    }

    fn wait_until_ready(&self, log: &Path) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            match self.kubectl(&["get", "--raw", "/readyz"]) {
                Ok(answer) if answer == "ok" => return Ok(()),
                _ if Instant::now() < end => std::thread::sleep(Duration::from_millis(100)),
                answer => {
                    let said = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
                    let last: Vec<&str> = said.lines().rev().take(20).collect();
                    bail!("the API server is not ready ({answer:?}); it said, last first: {last:#?}");
                }
            }
        }
    }
}
