//! The charts on a real cluster of one node, and a shop behind a gateway under constant load without retries while
//! everything around it is rolled over. About two minutes: `make cluster`, which `make soak` includes.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed unwrap is a failed test

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long anything may take to become so.
const PATIENCE: Duration = Duration::from_secs(120);
const CHART: [&str; 10] = [
    "--namespace=istio-system",
    "--set=hub=docker.io/local",
    "--set=tag=test",
    "--set=global.imagePullPolicy=Never",
    "--set=autoscaleEnabled=false",
    "--set=replicaCount=2",
    "--set=rollingMaxUnavailable=0",
    "--set=resources.requests.cpu=10m",
    "--set=resources.requests.memory=64Mi",
    "--set=meshConfig.accessLogFile=/dev/stdout",
];

/// The cluster; it ends with the test.
struct Cluster {
    scripts: PathBuf,
    root: PathBuf,
}

impl Cluster {
    /// Brings it up with the images of the mesh; `None` where this machine cannot.
    fn up() -> Result<Option<Self>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let scripts = root.join("tests/kube/cluster");
        // Whatever an earlier, killed run has left.
        Command::new(scripts.join("down")).status()?;
        match Command::new(scripts.join("up")).status()?.code() {
            Some(0) => {}
            Some(3) => return Ok(None),
            other => bail!("the cluster does not come up ({other:?})"),
        }
        let cluster = Self { scripts, root };
        let programs = std::env::current_exe()?.ancestors().nth(2).context("no folder of programs")?.to_owned();
        for program in ["istiod", "pilot-agent", "shop", "shop-load"] {
            anyhow::ensure!(programs.join(program).exists(), "{program} is missing; run `make cluster`");
        }
        cluster.script("mesh-images.sh", &[programs.to_str().context("the path of the programs")?])?;
        Ok(Some(cluster))
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let output = Command::new(self.scripts.join(name)).args(arguments).output()?;
        anyhow::ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.scripts.join("run"));
        command.args(words).current_dir(&self.root);
        command
    }

    /// What a command inside the cluster says; fails as it does.
    fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.inside(words).output()?;
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        anyhow::ensure!(output.status.success(), "{}: {out}{error}", words.join(" "));
        Ok(out.into_owned())
    }

    fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.run(&[&["kubectl"], words].concat())
    }

    fn helm(&self, words: &[&str]) -> Result<String> {
        self.run(&[&["helm"], words].concat())
    }

    fn rolled_out(&self, namespace: &str, deployment: &str) -> Result<()> {
        self.kubectl(&["--namespace", namespace, "rollout", "status", &format!("deployment/{deployment}"), "--timeout=120s"]).map(drop)
    }

    /// Tries until it holds.
    fn eventually(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds()? {
            anyhow::ensure!(Instant::now() < deadline, "not in time: {what}");
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What it leaves is taken away by the next `up`.
        drop(Command::new(self.scripts.join("down")).status());
    }
}

/// A steady load inside the cluster.
struct Load {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Load {
    fn start(cluster: &Cluster, address: &str) -> Result<Self> {
        let program = std::env::current_exe()?.ancestors().nth(2).context("no folder of programs")?.join("shop-load");
        let to = format!("{address}:80");
        let words = [program.to_str().context("the path of the load program")?, "--rate=100", "--host=shop.example.com", "--to", &to];
        let mut process = cluster.inside(&words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(process.stdout.take().context("no output")?);
        Ok(Self { process, answers })
    }

    /// Requests answered so far by version, and those that were not, by what they met instead.
    fn counts(&mut self) -> Result<(BTreeMap<String, u64>, BTreeMap<String, u64>)> {
        writeln!(self.process.stdin.as_mut().context("no input")?)?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let counts: Value = serde_json::from_str(&line)?;
        let part = |name: &str| serde_json::from_value(counts.get(name).cloned().unwrap_or_default());
        Ok((part("answered")?, part("lost")?))
    }

    /// Fails if a request was lost up to now.
    fn nothing_lost(&mut self, during: &str) -> Result<u64> {
        let (answered, lost) = self.counts()?;
        anyhow::ensure!(lost.is_empty(), "lost while {during}: {lost:?}");
        let sum = answered.values().sum();
        eprintln!("cluster: {during}: {sum} answered so far, none lost");
        Ok(sum)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The script has replaced itself by the program.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
#[ignore = "two minutes: make cluster"]
fn charts_and_a_shop_under_load() -> Result<()> {
    let Some(cluster) = Cluster::up()? else { return Ok(()) };
    install(&cluster)?;
    cluster.kubectl(&["apply", "-f", "tests/kube/cluster/objects"])?;
    for (namespace, deployment) in [("istio-system", "istio-ingressgateway"), ("shop", "catalog-v1"), ("shop", "catalog-v2")] {
        cluster.rolled_out(namespace, deployment)?;
    }
    let address =
        cluster.kubectl(&["--namespace=istio-system", "get", "service", "istio-ingressgateway", "--output=jsonpath={.spec.clusterIP}"])?;
    serves(&cluster, &address)?;
    let mut load = Load::start(&cluster, &address)?;
    under_load(&cluster, &mut load)?;
    drop(load);
    removed(&cluster)
}

/// Install, upgrade, rollback; and what is installed is what the chart says.
fn install(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["create", "namespace", "istio-system"])?;
    cluster.helm(&["install", "base", "charts/base", "--namespace=istio-system"])?;
    cluster.helm(&[&["install", "istiod", "charts/istiod", "--wait"][..], &CHART].concat())?;
    cluster.rolled_out("istio-system", "istiod")?;
    // What istiod itself keeps up in the webhook is taken over by the template, which asks the server for it.
    cluster.eventually("what is installed is what the chart says", || {
        let rendered = cluster.helm(&[&["template", "istiod", "charts/istiod", "--dry-run=server"][..], &CHART].concat())?;
        let file = tempfile::NamedTempFile::new_in(&cluster.root)?;
        std::fs::write(file.path(), rendered)?;
        Ok(cluster.kubectl(&["diff", "-f", file.path().to_str().context("path")?]).is_ok())
    })?;
    cluster.helm(&[&["upgrade", "istiod", "charts/istiod", "--wait", "--set=podAnnotations.note=upgraded"][..], &CHART].concat())?;
    cluster.rolled_out("istio-system", "istiod")?;
    // istiod has made the failure policy its own; it sets it again within seconds.
    cluster.helm(&["rollback", "istiod", "1", "--namespace=istio-system", "--wait", "--force-conflicts"])?;
    cluster.rolled_out("istio-system", "istiod")
}

/// The gateway answers before the load begins: that it is started is not what is measured.
fn serves(cluster: &Cluster, address: &str) -> Result<()> {
    let url = format!("http://{address}/");
    let words = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--header", "Host: shop.example.com", &url];
    cluster.eventually("the gateway answers", || Ok(cluster.run(&words).is_ok_and(|code| code == "200")))
}

fn under_load(cluster: &Cluster, load: &mut Load) -> Result<()> {
    let scale = |replicas: u32| {
        cluster.kubectl(&["--namespace=shop", "scale", "deployment/catalog-v1", &format!("--replicas={replicas}")])?;
        cluster.rolled_out("shop", "catalog-v1")
    };
    scale(4)?;
    load.nothing_lost("scaling up")?;
    scale(1)?;
    let gone = || Ok(cluster.kubectl(&["--namespace=shop", "get", "pods", "--selector=version=v1", "--output=name"])?.lines().count() == 1);
    cluster.eventually("three Pods are gone", gone)?;
    load.nothing_lost("scaling down")?;
    for (namespace, deployment) in [("shop", "catalog-v1"), ("shop", "catalog-v2"), ("istio-system", "istiod")] {
        cluster.kubectl(&["--namespace", namespace, "rollout", "restart", &format!("deployment/{deployment}")])?;
        cluster.rolled_out(namespace, deployment)?;
        load.nothing_lost(&format!("restarting {deployment}"))?;
    }
    let weights = r#"[{"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 0}, {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 100}]"#;
    cluster.kubectl(&["--namespace=shop", "patch", "virtualservice/catalog", "--type=json", "--patch", weights])?;
    cluster.eventually("all requests go to v2", || {
        let before = load.counts()?.0;
        std::thread::sleep(Duration::from_millis(500));
        let after = load.counts()?.0;
        Ok(before.get("v1") == after.get("v1") && before.get("v2") < after.get("v2"))
    })?;
    let sum = load.nothing_lost("changing weights")?;
    anyhow::ensure!(sum > 1_000, "only {sum} requests were answered");
    Ok(())
}

/// Nothing is left of istiod but the kinds.
fn removed(cluster: &Cluster) -> Result<()> {
    cluster.helm(&["uninstall", "istiod", "--namespace=istio-system", "--wait"])?;
    cluster.helm(&["uninstall", "base", "--namespace=istio-system"])?;
    let kinds = "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets";
    let left = cluster.kubectl(&["--namespace=istio-system", "get", kinds, "--selector=app=istiod", "--output=name"])?;
    let wide = "clusterroles,clusterrolebindings,validatingwebhookconfigurations";
    let left = left + &cluster.kubectl(&["get", wide, "--selector=app=istiod", "--output=name"])?;
    anyhow::ensure!(left.is_empty(), "left behind: {left}");
    let kinds = cluster.kubectl(&["get", "customresourcedefinitions", "--output=name"])?;
    anyhow::ensure!(kinds.lines().filter(|name| name.ends_with(".istio.io")).count() == 15, "the kinds must stay: {kinds}");
    Ok(())
}
