//! The charts on a real cluster of one node, and a shop behind a gateway under constant load without retries while
//! everything around it is rolled over. About two minutes: `make cluster`.
#![allow(clippy::unwrap_used, clippy::panic)] // a failed unwrap is a failed test

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::{JoinHandle, sleep},
    time::{Duration, Instant, SystemTime},
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
#[derive(Clone)]
struct Place {
    scripts: PathBuf,
    root: PathBuf,
}

/// The same, which ends it.
struct Cluster(Place);

impl std::ops::Deref for Cluster {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.0
    }
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
        let cluster = Self(Place { scripts, root });
        let programs = std::env::current_exe()?.ancestors().nth(2).context("no folder of programs")?.to_owned();
        for program in ["istiod", "pilot-agent", "shop", "shop-load"] {
            anyhow::ensure!(programs.join(program).exists(), "{program} is missing; run `make cluster`");
        }
        cluster.script("mesh-images.sh", &[programs.to_str().context("the path of the programs")?])?;
        Ok(Some(cluster))
    }
}

impl Place {
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
            sleep(Duration::from_millis(200));
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

/// Writes to an object for trial, one after another, each of which the API server asks istiod about.
struct Reviews {
    asking: JoinHandle<Result<(u32, Vec<String>)>>,
    end: std::sync::mpsc::Sender<()>,
}

impl Reviews {
    fn start(cluster: &Place) -> Self {
        let (end, ends) = std::sync::mpsc::channel();
        let cluster = cluster.clone();
        let asking = std::thread::spawn(move || {
            let (mut asked, mut lost) = (0, Vec::new());
            while ends.try_recv().is_err() {
                asked += 1;
                let note = format!(r#"{{"metadata": {{"annotations": {{"note": "{asked}"}}}}}}"#);
                let words = ["--namespace=shop", "patch", "virtualservice/catalog", "--type=merge", "--dry-run=server", "--patch", &note];
                lost.extend(cluster.kubectl(&words).err().map(|error| format!("{error:#}")));
            }
            Ok((asked, lost))
        });
        Self { asking, end }
    }

    /// Fails if one was not answered.
    fn nothing_lost(self, during: &str) -> Result<()> {
        // It ends by itself only in a panic, which the join tells.
        let _ = self.end.send(());
        let (asked, lost) = self.asking.join().ok().context("the asking thread")??;
        anyhow::ensure!(lost.is_empty(), "{} of {asked} writes were lost while {during}: {lost:#?}", lost.len());
        anyhow::ensure!(asked >= 5, "only {asked} writes while {during}");
        eprintln!("cluster: {during}: {asked} writes asked about, none lost");
        Ok(())
    }
}

#[test]
#[ignore = "two minutes: make cluster"]
fn charts_and_a_shop_under_load() -> Result<()> {
    let Some(cluster) = Cluster::up()? else { return Ok(()) };
    let result = from_install_to_uninstall(&cluster);
    if result.is_err() {
        for words in [&["get", "pods", "--all-namespaces"][..], &["get", "events", "--all-namespaces", "--field-selector=type=Warning"]] {
            eprintln!("cluster: {}", cluster.kubectl(words).unwrap_or_else(|error| format!("{error:#}")));
        }
    }
    result
}

fn from_install_to_uninstall(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["create", "namespace", "istio-system"])?;
    let own = ["--namespace=istio-system", "get", "serviceaccount/default", "configmap/kube-root-ca.crt"];
    cluster.eventually("the namespace has what every one has", || Ok(cluster.kubectl(&own).is_ok()))?;
    let before = everything(cluster)?;
    install(cluster)?;
    cluster.kubectl(&["apply", "-f", "tests/kube/cluster/objects"])?;
    for (namespace, deployment) in [("istio-system", "istio-ingressgateway"), ("shop", "catalog-v1"), ("shop", "catalog-v2")] {
        cluster.rolled_out(namespace, deployment)?;
    }
    let address =
        cluster.kubectl(&["--namespace=istio-system", "get", "service", "istio-ingressgateway", "--output=jsonpath={.spec.clusterIP}"])?;
    serves(cluster, &address)?;
    let mut load = Load::start(cluster, &address)?;
    under_load(cluster, &mut load)?;
    drop(load);
    start_of_pods(cluster)?;
    removed(cluster, &before)
}

/// Install, upgrade, rollback; and what is installed is what the chart says.
fn install(cluster: &Cluster) -> Result<()> {
    cluster.helm(&["install", "base", "charts/base", "--namespace=istio-system"])?;
    cluster.helm(&[&["install", "istiod", "charts/istiod", "--wait"][..], &CHART].concat())?;
    cluster.rolled_out("istio-system", "istiod")?;
    // istiod has made its part of the webhook's configuration its own by then, and nobody is in conflict with it. Without a
    // word the policy is `Fail` too, but nobody is asked anything.
    let strict = "--output=jsonpath={.webhooks[0].rules[0].operations[0]} {.webhooks[0].failurePolicy}";
    let strict = ["get", "validatingwebhookconfiguration", "istio-validator-istio-system", strict];
    let is_strict = || Ok(cluster.kubectl(&strict)? == "CREATE Fail");
    cluster.eventually("the webhook is strict", is_strict)?;
    let rendered = cluster.helm(&[&["template", "istiod", "charts/istiod"][..], &CHART].concat())?;
    let file = tempfile::NamedTempFile::new_in(&cluster.root)?;
    std::fs::write(file.path(), rendered)?;
    cluster.kubectl(&["diff", "-f", file.path().to_str().context("path")?]).context("what is installed is not what the chart says")?;
    cluster.helm(&[&["upgrade", "istiod", "charts/istiod", "--wait", "--set=podAnnotations.note=upgraded"][..], &CHART].concat())?;
    cluster.rolled_out("istio-system", "istiod")?;
    cluster.helm(&["rollback", "istiod", "1", "--namespace=istio-system", "--wait"])?;
    anyhow::ensure!(is_strict()?, "the rollback has made the webhook lenient");
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
        let during = format!("restarting {deployment}");
        let reviews = Reviews::start(cluster);
        cluster.kubectl(&["--namespace", namespace, "rollout", "restart", &format!("deployment/{deployment}")])?;
        cluster.rolled_out(namespace, deployment)?;
        let old = || Ok(!cluster.kubectl(&["--namespace", namespace, "get", "pods", "--no-headers"])?.contains("Terminating"));
        cluster.eventually("the old Pods are gone", old)?;
        reviews.nothing_lost(&during)?;
        load.nothing_lost(&during)?;
    }
    let weights = r#"[{"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 0}, {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 100}]"#;
    cluster.kubectl(&["--namespace=shop", "patch", "virtualservice/catalog", "--type=json", "--patch", weights])?;
    cluster.eventually("all requests go to v2", || {
        let before = load.counts()?.0;
        sleep(Duration::from_millis(500));
        let after = load.counts()?.0;
        Ok(before.get("v1") == after.get("v1") && before.get("v2") < after.get("v2"))
    })?;
    let sum = load.nothing_lost("changing weights")?;
    anyhow::ensure!(sum > 1_000, "only {sum} requests were answered");
    Ok(())
}

/// How long a gateway takes from the start of its process to its certificate, and until it is ready.
fn start_of_pods(cluster: &Cluster) -> Result<()> {
    let selector = "--selector=istio=ingressgateway";
    let pods = |field: &str| {
        let output = format!("--output=jsonpath={{range .items[?(@.status.phase==\"Running\")]}}{{{field}}} {{end}}");
        let all = cluster.kubectl(&["--namespace=istio-system", "get", "pods", selector, &output])?;
        Ok::<_, anyhow::Error>(all.split_whitespace().map(str::to_owned).collect::<BTreeSet<String>>())
    };
    for _ in 0..3 {
        let before = pods(".metadata.name")?;
        let created = SystemTime::now();
        cluster.kubectl(&["--namespace=istio-system", "delete", "pods", selector, "--wait=false"])?;
        let mut name = None;
        cluster.eventually("another Pod runs", || {
            name = pods(".metadata.name")?.difference(&before).next().cloned();
            Ok(name.is_some())
        })?;
        let name = name.context("no name")?;
        let address = ["--namespace=istio-system", "get", "pod", &name, "--output=jsonpath={.status.podIP}"];
        let url = format!("http://{}:15021/healthz/ready", cluster.kubectl(&address)?);
        let asks = format!("until curl --silent --fail --max-time 1 --output /dev/null {url}; do sleep 0.01; done");
        cluster.run(&["timeout", "60", "sh", "-c", &asks])?;
        let ready = SystemTime::now();
        let logs = cluster.kubectl(&["--namespace=istio-system", "logs", &name])?;
        let said = logs.lines().find(|line| line.contains("certificate received")).context("no word of a certificate")?;
        let certificate = said.split_whitespace().next().context("no time")?;
        let started = cluster.run(&["sh", "-c", STARTED, "sh", &name])?;
        let after =
            |script: &str| Ok::<_, anyhow::Error>(cluster.run(&["date", "--date", script.trim(), "+%s%3N"])?.trim().parse::<i64>()?);
        let milliseconds =
            |time: SystemTime| Ok::<_, anyhow::Error>(i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?);
        let (started, certificate) = (started.trim().parse::<i64>()?, after(certificate)?);
        let (created, ready) = (milliseconds(created)?, milliseconds(ready)?);
        let (process, held, serves) = (started - created, certificate - started, ready - started);
        eprintln!(
            "cluster: a gateway: {process} ms from the deletion of the former to its process; from there {held} ms to its certificate, {serves} ms until ready"
        );
        cluster.rolled_out("istio-system", "istio-ingressgateway")?;
    }
    Ok(())
}

/// When the agent of a Pod was started, in milliseconds of the epoch; to 10 ms, as the kernel tells it from the start of the
/// machine.
const STARTED: &str = r#"
boot=$(( $(date +%s%3N) - $(cut -d. -f1 /proc/uptime) * 1000 - $(cut -d' ' -f1 /proc/uptime | cut -d. -f2 | sed 's/^0//') * 10 ))
for folder in /proc/[0-9]*; do
  [ "$(cat $folder/comm 2>/dev/null)" = pilot-agent ] && grep -qzx "POD_NAME=$1" $folder/environ &&
    echo $(( boot + $(sed 's/.*) //' $folder/stat | cut -d' ' -f20) * 10 ))
done | head -1"#;

/// Every object of the cluster, as `kind namespace/name`; without Events, and without what the cluster keeps for itself.
fn everything(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events") && !kind.starts_with("componentstatuses")).collect();
    let output = r#"--output=jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{end}"#;
    let all = cluster.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--ignore-not-found", output])?;
    // What the node says of itself may come later than everything else.
    Ok(all.lines().filter(|object| !object.starts_with("Lease kube-node-lease/")).map(str::to_owned).collect())
}

/// Nothing is left but what charts/README.md says.
fn removed(cluster: &Cluster, before: &BTreeSet<String>) -> Result<()> {
    cluster.kubectl(&["delete", "-f", "tests/kube/cluster/objects", "--wait"])?;
    cluster.helm(&["uninstall", "istiod", "--namespace=istio-system", "--wait"])?;
    cluster.helm(&["uninstall", "base", "--namespace=istio-system"])?;
    let may_stay = |object: &str| {
        let (kind, name) = object.split_once(' ').unwrap_or_default();
        match kind {
            "CustomResourceDefinition" => name.ends_with(".istio.io"),
            "Secret" => name == "istio-system/istio-ca-secret",
            "Lease" => name.starts_with("istio-system/istio-"),
            "ConfigMap" => name.ends_with("/istio-ca-root-cert"),
            _ => false,
        }
    };
    let mut left = BTreeSet::new();
    let gone = cluster.eventually("an end of what was installed", || {
        left = everything(cluster)?.difference(before).filter(|object| !may_stay(object)).cloned().collect();
        // What describes the kinds themselves follows them by itself.
        left.retain(|object| !object.starts_with("APIService "));
        Ok(left.is_empty())
    });
    gone.with_context(|| format!("left behind: {left:#?}"))?;
    let stays: Vec<String> = everything(cluster)?.difference(before).filter(|object| !object.ends_with(".istio.io")).cloned().collect();
    eprintln!("cluster: beside the kinds there stays {}", stays.join(", "));
    let kinds = cluster.kubectl(&["get", "customresourcedefinitions", "--output=name"])?;
    anyhow::ensure!(kinds.lines().filter(|name| name.ends_with(".istio.io")).count() == 15, "the kinds must stay: {kinds}");
    Ok(())
}
