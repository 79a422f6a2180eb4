//! The load of tools/bench.py through a real API server, and what istiod writes meanwhile. `make soak` and `make bench` run
//! it; the figures go into docs/performance.md.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use testkit::kube::{ApiServer, Istiod, Ports};

/// Who writes beside istiod: the cluster itself, and those who make the load.
const OTHERS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kubectl"];
/// Only writes, each once it is answered.
const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [create, update, patch, delete, deletecollection]}
- {level: None}
";
/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(30);

/// The API server's log of writes.
struct Audit(PathBuf);

impl Audit {
    /// What istiod has written so far, by verb and resource.
    fn writes(&self) -> Result<BTreeMap<String, usize>> {
        let mut writes = BTreeMap::new();
        for line in std::fs::read_to_string(&self.0)?.lines() {
            let event: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if OTHERS.iter().any(|other| text("/userAgent").starts_with(other)) {
                continue;
            }
            let what = [text("/verb"), text("/objectRef/resource"), text("/objectRef/subresource")].join(" ");
            *writes.entry(what.trim_end().to_owned()).or_default() += 1;
        }
        Ok(writes)
    }
}

/// What is in `now` beyond `before`.
fn since(now: BTreeMap<String, usize>, before: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let more = now.into_iter().map(|(what, count)| (what.clone(), count - before.get(&what).copied().unwrap_or_default()));
    more.filter(|(_, count)| *count > 0).collect()
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[test]
#[ignore = "takes minutes: make soak"]
fn a_thousand_services_and_two_hundred_streams() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    std::fs::write(&policy, POLICY)?;
    let flags = [format!("--audit-policy-file={}", policy.display()), format!("--audit-log-path={}", log.display())];
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--max-mutating-requests-inflight=0"]).collect();
    let Some(server) = ApiServer::start_with(&flags)? else { return Ok(()) };
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds").display().to_string();
    server.kubectl(&["apply", "--server-side", "-f", &definitions])?;
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;

    let istiod = PathBuf::from(std::env::var("ISTIOD_BINARY").context("ISTIOD_BINARY names no istiod; `make soak` does")?);
    let load = |ports: Ports, more: &[&str]| {
        let mut command = Command::new(istiod.with_file_name("ads-load"));
        command.arg("--kubeconfig").arg(server.kubeconfig()).args(["--services=1000", "--endpoints=10", "--streams=200"]);
        command.arg(format!("--ads=127.0.0.1:{}", ports.grpc)).args(more);
        command
    };
    let ports = Ports::free()?;
    ensure!(load(ports, &["--write-only"]).stdout(std::process::Stdio::null()).status()?.success(), "the objects are not written");
    let before = Audit(log.clone()).writes()?;
    let process = Istiod::start(&istiod, &server, ports)?;
    process.wait_until_ready(Duration::from_secs(60))?;
    // Until every object has its status.
    let statuses = || -> Result<usize> {
        let writes = since(Audit(log.clone()).writes()?, &before);
        Ok(writes.iter().filter(|(what, _)| what.ends_with(" status")).map(|(_, count)| count).sum())
    };
    let written = |wanted: usize| -> Result<()> {
        for _ in 0..600 {
            if statuses()? >= wanted {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        anyhow::bail!("{} statuses are written", statuses()?);
    };
    written(2000)?;
    println!("kube load: {} MB resident with a status at every object", process.resident()? / 1_000_000);

    let (changes, routes) = (variable("CHANGES", "100"), variable("ROUTE_CHANGES", "20"));
    let (pid, quiet) = (format!("--pid={}", process.id()), format!("--quiet={}", QUIET.as_secs()));
    let arguments = ["--written", &pid, &quiet, "--changes", &changes, "--virtual-service-changes", &routes];
    ensure!(load(ports, &arguments).status()?.success(), "not everything came in time");
    let all = since(Audit(log.clone()).writes()?, &before);
    println!("kube load: istiod (and the load) wrote {all:?}");

    // The last change has its status as well, and then nothing is written but leases.
    std::thread::sleep(Duration::from_secs(5));
    let settled = Audit(log.clone()).writes()?;
    std::thread::sleep(QUIET);
    let quiet = since(Audit(log).writes()?, &settled);
    println!("kube load: in {} s without a change istiod wrote {quiet:?}", QUIET.as_secs());
    ensure!(quiet.keys().all(|what| what.ends_with(" leases")), "written without a reason: {quiet:?}");
    Ok(())
}
