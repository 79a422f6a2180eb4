//! A running istiod, and what looks at it from outside.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)] // a failed unwrap is a failed test; not every test needs all

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The process over a folder of objects; it ends with the test.
pub struct Istiod {
    process: Child,
    folder: TempDir,
    http: String,
    pub webhook: String,
    pub monitoring: String,
    pub grpc: String,
    pub secured: String,
    log: Arc<Mutex<Vec<String>>>,
}

impl Istiod {
    /// Starts it on free ports and waits until it is ready.
    pub fn start(objects: &str) -> Self {
        Self::start_with(objects, &[])
    }

    /// The same with further flags. It keeps its root in the folder `ca`, and takes tokens of [`Istiod::token`].
    pub fn start_with(objects: &str, flags: &[&str]) -> Self {
        Self::start_prepared(objects, flags, |_| {})
    }

    /// The same, with further files in its folder: `mesh` is the mesh configuration, `cacerts` a folder with a plugged-in CA.
    pub fn start_prepared(objects: &str, flags: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let below = |name: &str| folder.path().join(name);
        std::fs::create_dir(below("objects")).unwrap();
        std::fs::write(below("objects/objects.yaml"), objects).unwrap();
        token(folder.path(), &["--namespace=shop"]);
        let own = [
            format!("--configDir={}", below("objects").display()),
            format!("--meshConfig={}", below("mesh").display()),
            format!("--caStore={}", below("ca").display()),
            format!("--tokenKeys={}", below("keys/jwks.json").display()),
        ];
        let flags: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        Self::run(folder, &flags)
    }

    /// Starts it over a cluster.
    pub fn start_in_cluster(kubeconfig: &Path, flags: &[&str]) -> Self {
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        let flags: Vec<&str> = std::iter::once(kubeconfig.as_str()).chain(flags.iter().copied()).collect();
        Self::run(tempfile::tempdir().unwrap(), &flags)
    }

    fn run(folder: TempDir, flags: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_istiod"))
            .args(["discovery", "--httpAddr=127.0.0.1:0", "--grpcAddr=127.0.0.1:0", "--secureGRPCAddr=127.0.0.1:0"])
            .args(["--httpsAddr=127.0.0.1:0", "--monitoringAddr=127.0.0.1:0", "--log_as_json"])
            .arg(format!("--rootCaDir={}", folder.path().join("cacerts").display()))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut listening = || {
            let line = lines.find_map(|line| Some(line.split_once("listening on ")?.1.split('"').next()?.to_owned()));
            line.unwrap()
        };
        let (webhook, http, monitoring, grpc, secured) = (listening(), listening(), listening(), listening(), listening());
        // Read to the end, or the process would block on a full pipe.
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = log.clone();
        std::thread::spawn(move || lines.for_each(|line| written.lock().unwrap().push(line)));
        let istiod = Self { process, folder, http, webhook, monitoring, grpc, secured, log };
        istiod.wait_for("/ready", |status, _| status == 200);
        istiod
    }

    /// The lines of its log since it listens that hold all of these texts.
    pub fn log(&self, texts: &[&str]) -> Vec<String> {
        let lines = self.log.lock().unwrap();
        lines.iter().filter(|line| texts.iter().all(|text| line.contains(text))).cloned().collect()
    }

    /// The number of this process.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Where the pages are.
    pub fn address(&self) -> &str {
        &self.http
    }

    /// A file of the process's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A token, with the flags of `istiod token`.
    pub fn token(&self, flags: &[&str]) -> String {
        token(self.folder.path(), flags)
    }

    /// Asks it to end, as Kubernetes does.
    pub fn terminate(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap().success());
    }

    /// How it has ended, once it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// The status and the body of a page.
    pub fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path)
    }

    /// Asks for something to be done.
    pub fn post(&self, path: &str) -> (u16, String) {
        self.request("POST", path)
    }

    fn request(&self, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.http).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// A page of JSON.
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Asks for a page until it is as wanted, and fails after ten seconds.
    pub fn wait_for(&self, path: &str, wanted: impl Fn(u16, &str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let (status, body) = self.get(path);
            if wanted(status, &body) {
                return;
            }
            assert!(Instant::now() < deadline, "{path} stays {status}: {body}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn token(folder: &Path, flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_istiod"));
    let output = command.arg("token").arg(format!("--keyFolder={}", folder.join("keys").display())).args(flags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Drop for Istiod {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
