//! Leader election and the status writer on a real API server: one leader, few writes, no quarrel.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // a failed look-up is a failed test

use anyhow::{Context, Result, ensure};
use base::ObjectRef;
use futures::FutureExt;
use kube::Client;
use kube_source::{
    Access, connect,
    leader::{Election, elections},
    status::{self, DesiredAddress, DesiredCondition, DesiredStatus, DesiredStatuses, Leadership, ObjectRevision, StatusMetrics},
};
use serde_json::Value;
use std::{path::Path, sync::Arc, time::Duration};
use testkit::kube::ApiServer;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(60);

fn accepted(generation: i64) -> DesiredStatus {
    let condition = DesiredCondition { condition_type: "Accepted", holds: true, reason: "Accepted", message: "It is used.".into() };
    DesiredStatus { generation: Some(generation), conditions: vec![condition], ..DesiredStatus::default() }
}

fn refused(generation: Option<i64>, message: &str) -> DesiredStatus {
    let condition = DesiredCondition { condition_type: "Accepted", holds: false, reason: "Refused", message: message.into() };
    DesiredStatus { generation, conditions: vec![condition], ..DesiredStatus::default() }
}

fn service(name: &str) -> ObjectRef {
    ObjectRef::new("ServiceEntry", "default", name)
}

/// A replica: it takes part in the elections and writes while it leads.
struct Replica {
    desired: watch::Sender<Option<Arc<DesiredStatuses>>>,
    leads: watch::Receiver<bool>,
    leads_own: watch::Receiver<bool>,
    registry: prometheus::Registry,
    end: Option<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Replica {
    fn start(client: &Client, revision: &str, identity: &str, first: &Arc<DesiredStatuses>) -> Result<Self> {
        let (desired, desired_in) = watch::channel(Some(first.clone()));
        let registry = prometheus::Registry::new();
        let (end, ending) = oneshot::channel::<()>();
        let ending = async { drop(ending.await) }.shared();
        let (mut tasks, mut all) = (Vec::new(), Vec::new());
        for election in [Election::of_all_revisions, Election::of_revision] {
            let election = election(client.clone(), "default", elections::STATUS, revision, identity);
            let (leads_out, leads) = watch::channel(false);
            let ending = ending.clone();
            tasks.push(tokio::spawn(async move { election.run(&leads_out, ending).await }));
            all.push(leads);
        }
        let (leads_own, leads) = all.pop().zip(all.pop()).context("two elections")?;
        let leadership = Leadership::follow(leads.clone(), leads_own.clone());
        tasks.push(tokio::spawn(status::run(client.clone(), revision.into(), desired_in, leadership, StatusMetrics::new(&registry)?)));
        Ok(Self { desired, leads, leads_own, registry, end: Some(end), tasks })
    }

    /// As if the process had been killed.
    fn kill(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    fn writes(&self) -> u64 {
        let families = self.registry.gather();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    async fn wait_until_leading(&mut self) -> Result<Duration> {
        let since = Instant::now();
        timeout(PATIENCE, self.leads.wait_for(|leads| *leads)).await.context("it does not lead")??;
        Ok(since.elapsed())
    }
}

fn all(server: &ApiServer) -> Result<Vec<Value>> {
    let list: Value = serde_json::from_str(&server.kubectl(&["get", "serviceentries", "-o", "json", "--show-managed-fields"])?)?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

async fn wait_for(server: &ApiServer, what: &str, holds: impl Fn(&[Value]) -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let objects = all(server)?;
        if holds(&objects) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{what}; the first is {:#}", objects.first().cloned().unwrap_or_default());
        sleep(Duration::from_millis(100)).await;
    }
}

fn condition<'a>(object: &'a Value, wanted: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == wanted)
}

fn named<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["metadata"]["name"] == name)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leader_writes_what_has_changed() -> Result<()> {
    let Some(server) = ApiServer::start()? else { return Ok(()) };
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    server.kubectl(&["apply", "--server-side", "-f", &crds.display().to_string()])?;
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
    let entry = |index: usize| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: s{index}, namespace: default}}, spec: {{hosts: [h{index}.example.com], ports: [{{number: 80, name: http}}], resolution: DNS}}}}\n---\n"
        )
    };
    server.kubectl_with(&(0..1000).map(entry).collect::<String>(), &["apply", "--server-side", "-f", "-"])?;
    let client = connect(&Access::Kubeconfig(server.kubeconfig())).await?;
    let status = Arc::new(accepted(1));
    let mut wanted: DesiredStatuses = (0..1000).map(|index| (service(&format!("s{index}")), status.clone())).collect();

    // 1,000 objects: one write each, by the leader only, and then none.
    let mut first = Replica::start(&client, "default", "first", &Arc::new(wanted.clone()))?;
    first.wait_until_leading().await?;
    let mut second = Replica::start(&client, "default", "second", &Arc::new(wanted.clone()))?;
    wait_for(&server, "not all have a status", |all| all.iter().all(|object| condition(object, "Accepted").is_some())).await?;
    let versions = |all: &[Value]| all.iter().map(|object| object["metadata"]["resourceVersion"].clone()).collect::<Vec<_>>();
    let before = versions(&all(&server)?);
    sleep(Duration::from_secs(3)).await;
    ensure!(versions(&all(&server)?) == before, "written again without a reason");
    ensure!((first.writes(), second.writes()) == (1000, 0), "{} and {}", first.writes(), second.writes());

    // A storm on one object: a write a second, and the last word is stored.
    let storm = Instant::now();
    for round in 0..100 {
        wanted.insert(service("s0"), Arc::new(refused(Some(1), &format!("round {round}"))));
        first.desired.send_replace(Some(Arc::new(wanted.clone())));
        sleep(Duration::from_millis(10)).await;
    }
    let lasted = storm.elapsed();
    wait_for(&server, "the last word is missing", |all| {
        named(all, "s0")
            .and_then(|s0| condition(s0, "Accepted"))
            .is_some_and(|found| found["message"] == "round 99" && found["status"] == "False")
    })
    .await?;
    let writes = first.writes() - 1000;
    ensure!(writes <= 2 + lasted.as_secs(), "{writes} writes in {lasted:?}");
    let events = server.kubectl(&["get", "events", "--field-selector=involvedObject.name=s0,reason=Refused"])?;
    ensure!(events.contains("round 99"), "{events}");

    // A refused object's generation is only known to the API server; other controllers' conditions stay theirs.
    server.kubectl(&["patch", "serviceentry", "s1", "--subresource=status", "--type=merge", "-p", r#"{"status":{"conditions":[{"type":"Other","status":"True"},{"type":"Accepted","status":"True","reason":"Accepted","message":"It is used."}]}}"#])?;
    wanted.insert(service("s1"), Arc::new(refused(None, "no")));
    let address = DesiredAddress { value: "240.240.0.1".into(), host: "h2.example.com".into() };
    wanted.insert(service("s2"), Arc::new(DesiredStatus { addresses: vec![address], ..accepted(1) }));
    wanted.insert(service("nowhere"), Arc::new(accepted(1)));
    first.desired.send_replace(Some(Arc::new(wanted.clone())));
    wait_for(&server, "addresses", |all| named(all, "s2").is_some_and(|s2| s2["status"]["addresses"][0]["value"] == "240.240.0.1")).await?;
    wait_for(&server, "the foreign condition", |all| named(all, "s1").is_some_and(|s1| condition(s1, "Other").is_some())).await?;

    // The leader is killed: another one leads in seconds, and finds nothing to write.
    first.kill();
    let took = second.wait_until_leading().await?;
    ensure!(took < Duration::from_secs(12), "{took:?}");
    let before = versions(&all(&server)?);
    second.desired.send_replace(Some(Arc::new(wanted.clone())));
    wanted.insert(service("s0"), Arc::new(accepted(1)));
    second.desired.send_replace(Some(Arc::new(wanted.clone())));
    wait_for(&server, "healed", |all| {
        named(all, "s0").and_then(|s0| condition(s0, "Accepted")).is_some_and(|found| found["status"] == "True")
    })
    .await?;
    let changed = versions(&all(&server)?).iter().zip(&before).filter(|(after, before)| after != before).count();
    ensure!(changed <= 2, "{changed} objects were written by the new leader");

    // In order, the lease is handed over at once.
    let mut third = Replica::start(&client, "default", "third", &Arc::new(wanted))?;
    sleep(Duration::from_secs(2)).await;
    ensure!(!*third.leads.borrow(), "two leaders");
    second.end.take().context("ended before")?.send(()).ok().context("the election is over")?;
    let took = third.wait_until_leading().await?;
    ensure!(took < Duration::from_secs(3), "{took:?}");
    ensure!(!*second.leads.borrow(), "two leaders");
    Ok(())
}

/// Who says that an object is accepted.
fn says(objects: &[Value], name: &str) -> String {
    let accepted = named(objects, name).and_then(|object| condition(object, "Accepted"));
    accepted.map(|accepted| accepted["message"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_revisions_one_writes_what_both_read() -> Result<()> {
    let Some(server) = ApiServer::start()? else { return Ok(()) };
    let crd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/networking.istio.io.serviceentries.yaml");
    server.kubectl(&["apply", "--server-side", "-f", &crd.display().to_string()])?;
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
    for (name, labels) in [("everybodys", ""), ("refused", ""), ("canarys", "istio.io/rev: canary"), ("strange", "istio.io/rev: canary")] {
        let object = format!(
            "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: {name}, namespace: default, labels: {{{labels}}}}}, spec: {{hosts: [{name}.example.com], ports: [{{number: 80, name: http}}], resolution: DNS}}}}"
        );
        server.kubectl_with(&object, &["apply", "--server-side", "-f", "-"])?;
    }
    let client = connect(&Access::Kubeconfig(server.kubeconfig())).await?;
    // Each is of its own opinion of everything that it reads.
    let wanted = |revision: &str, own: &[&str]| -> Arc<DesiredStatuses> {
        let status = |revision_of: ObjectRevision| {
            let condition = DesiredCondition { condition_type: "Accepted", holds: true, reason: "Accepted", message: revision.into() };
            let generation = (revision_of != ObjectRevision::Unknown).then_some(1);
            Arc::new(DesiredStatus { generation, revision: revision_of, conditions: vec![condition], ..DesiredStatus::default() })
        };
        let unread = ["refused", "strange"].map(|name| (service(name), status(ObjectRevision::Unknown)));
        let own = own.iter().map(|name| (service(name), status(ObjectRevision::Ours)));
        Arc::new(unread.into_iter().chain(own).chain([(service("everybodys"), status(ObjectRevision::All))]).collect())
    };

    let mut canary = Replica::start(&client, "canary", "canary-0", &wanted("canary", &["canarys"]))?;
    canary.wait_until_leading().await?;
    wait_for(&server, "canary does not write", |all| {
        ["everybodys", "refused", "canarys", "strange"].iter().all(|name| says(all, name) == "canary")
    })
    .await?;
    let mut default = Replica::start(&client, "default", "default-0", &wanted("default", &[]))?;
    let (mut first, mut second) = (canary.leads.clone(), default.leads.clone());
    let both = tokio::spawn(async move {
        loop {
            if *first.borrow_and_update() && *second.borrow_and_update() {
                return;
            }
            let changed = tokio::select! { changed = first.changed() => changed, changed = second.changed() => changed };
            if changed.is_err() {
                return std::future::pending().await;
            }
        }
    });
    default.wait_until_leading().await?;
    wait_for(&server, "default does not write", |all| ["everybodys", "refused"].iter().all(|name| says(all, name) == "default")).await?;
    let written = all(&server)?;
    ensure!(says(&written, "canarys") == "canary" && says(&written, "strange") == "canary", "{written:#?}");
    ensure!(*canary.leads_own.borrow(), "canary has lost its own objects");

    // Neither takes it back, and nothing is written any more.
    let counted = (canary.writes(), default.writes());
    sleep(Duration::from_secs(5)).await;
    ensure!((canary.writes(), default.writes()) == counted, "{counted:?} writes, then more");

    // The tag says which revision is the default one.
    let tag = "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: istio-revision-tag-default, labels: {istio.io/tag: default, istio.io/rev: canary}}}";
    server.kubectl_with(tag, &["apply", "-f", "-"])?;
    canary.wait_until_leading().await?;
    wait_for(&server, "canary does not write", |all| ["everybodys", "refused"].iter().all(|name| says(all, name) == "canary")).await?;
    ensure!(!both.is_finished(), "two leaders at a time");
    Ok(())
}
