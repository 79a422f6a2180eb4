//! What a large cluster costs istiod: 10,000 Services, 10,000 EndpointSlices, 20,000 Pods. `make soak` runs it; the figures
//! go into docs/performance.md.

use anyhow::{Context, Result, ensure};
use base::ClusterId;
use futures::{StreamExt, TryStreamExt, stream};
use istio_api::Kind;
use kube_source::{Access, Options};
use serde_json::{Value, json};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use testkit::kube::{Api, ApiServer, Istiod, Ports, Watched};

const SERVICES: usize = 10_000;
const NAMESPACES: usize = 100;
const PODS_OF_A_SERVICE: usize = 2;
/// Writes that wait for their answers at a time.
const AT_ONCE: usize = 32;
/// How long istiod may take to be ready at all.
const PATIENCE: Duration = Duration::from_secs(150);
/// Changes of endpoints in the minute that is measured.
const FLIPS: usize = 1_000;

fn apply_definitions(server: &ApiServer) -> Result<()> {
    server.kubectl(&["apply", "--server-side", "-f", &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds").display().to_string()])?;
    server.kubectl(&["wait", "--for=condition=Established", "crd", "--all"])?;
    Ok(())
}

fn place(service: usize) -> (String, String) {
    (format!("ns-{}", service % NAMESPACES), format!("service-{service}"))
}

fn address(service: usize, pod: usize) -> String {
    let number = service * PODS_OF_A_SERVICE + pod;
    format!("10.{}.{}.{}", 100 + (number >> 16), (number >> 8) & 255, number & 255)
}

fn service(number: usize) -> Value {
    let (namespace, name) = place(number);
    let metadata = json!({ "name": name, "namespace": namespace, "labels": { "app": name, "team": "load" } });
    let ports = json!([{ "name": "http", "port": 80, "targetPort": 8080 }, { "name": "grpc", "port": 9000 }]);
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "ports": ports } })
}

fn slice(number: usize, ready: bool) -> Value {
    let (namespace, name) = place(number);
    let endpoints: Vec<Value> = (0..PODS_OF_A_SERVICE)
        .map(|pod| {
            let target = json!({ "kind": "Pod", "name": format!("{name}-{pod}"), "namespace": namespace });
            json!({ "addresses": [address(number, pod)], "conditions": { "ready": ready || pod == 0 }, "targetRef": target })
        })
        .collect();
    let metadata = json!({ "name": format!("{name}-1"), "namespace": namespace, "labels": { "kubernetes.io/service-name": name } });
    let ports = json!([{ "name": "http", "port": 8080 }, { "name": "grpc", "port": 9000 }]);
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4", "ports": ports,
        "endpoints": endpoints,
    })
}

/// A pod of the size that pods have: two containers with a dozen variables each.
fn pod(number: usize, pod: usize) -> Value {
    let (namespace, name) = place(number);
    let variables: Vec<Value> =
        (0..12).map(|i| json!({ "name": format!("VARIABLE_{i}"), "value": format!("value of {i} in {name}") })).collect();
    let container = |container: &str, port: u16| {
        json!({
            "name": container, "image": format!("registry.example.com/{container}:1"), "env": variables,
            "ports": [{ "name": "http", "containerPort": port }], "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } },
        })
    };
    let labels =
        json!({ "app": name, "version": "v1", "team": "load", "pod-template-hash": "6f7c9d8b5", "security.istio.io/tlsMode": "istio" });
    let annotations = json!({ "example.com/note": "x".repeat(200), "sidecar.istio.io/status": "y".repeat(300) });
    let metadata = json!({ "name": format!("{name}-{pod}"), "namespace": namespace, "labels": labels, "annotations": annotations });
    let address = address(number, pod);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": { "containers": [container("app", 8080), container("istio-proxy", 15090)] },
        "status": {
            "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }, { "type": "ContainersReady", "status": "True" }],
        },
    })
}

async fn populate(api: &Api) -> Result<()> {
    // Where istiod's leases are.
    api.namespace("istio-system").await?;
    for number in 0..NAMESPACES {
        api.namespace(&format!("ns-{number}")).await?;
    }
    let objects = (0..SERVICES).flat_map(|number| {
        let pods = (0..PODS_OF_A_SERVICE).map(move |index| pod(number, index));
        pods.chain([service(number), slice(number, true)])
    });
    stream::iter(objects.map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |object| async move { api.create(&object).await })
        .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn ten_thousand_objects_come_and_go() -> Result<()> {
    let Some(server) = ApiServer::start()? else { return Ok(()) };
    apply_definitions(&server)?;
    let kubeconfig = server.kubeconfig();
    let api = Api::new(kube_source::connect(&Access::Kubeconfig(kubeconfig.clone())).await?);
    let mut watched = Watched::start(&kubeconfig, Options::new(ClusterId::new("Kubernetes"))).await?;
    watched.forget();
    let object = |number: usize| {
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": { "name": format!("object-{number}"), "namespace": "default" },
            "spec": { "hosts": [format!("host-{number}.example.com")], "http": [{ "route": [{ "destination": { "host": "a" } }] }] },
        })
    };
    let count = |watched: &Watched| watched.store.objects().iter().filter(|object| object.kind() == Kind::VirtualService).count();
    for round in 1..=2 {
        let started = Instant::now();
        for batch in 0..SERVICES / 1000 {
            let created = stream::iter((0..1000).map(|number| Ok::<_, anyhow::Error>(object(batch * 1000 + number))));
            let api = &api;
            created.try_for_each_concurrent(AT_ONCE, |object| async move { api.create(&object).await }).await?;
            watched.until("a thousand more", |watched| count(watched) == (batch + 1) * 1000).await?;
        }
        println!("kube scale: round {round}, {SERVICES} objects created in {:.0?}", started.elapsed());
        let started = Instant::now();
        while api.delete_all(Kind::VirtualService, "default").await.is_err() {
            ensure!(started.elapsed() < Duration::from_secs(300), "the objects are not deleted");
        }
        watched.until("the end of all", |watched| count(watched) == 0).await?;
        println!("kube scale: round {round}, deleted in {:.0?}", started.elapsed());
    }
    // Each of them was told once, as it came and as it went.
    assert_eq!(watched.counts(), (2 * SERVICES, 2 * SERVICES));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn a_large_cluster() -> Result<()> {
    // The accounts of 100 namespaces would be waited for.
    let Some(server) = ApiServer::start_with(&["--disable-admission-plugins=ServiceAccount", "--max-mutating-requests-inflight=0"])? else {
        return Ok(());
    };
    apply_definitions(&server)?;
    let api = Api::new(kube_source::connect(&Access::Kubeconfig(server.kubeconfig())).await?);
    let started = Instant::now();
    populate(&api).await?;
    println!(
        "kube scale: {SERVICES} Services, {SERVICES} EndpointSlices, {} Pods written in {:.0?}",
        SERVICES * PODS_OF_A_SERVICE,
        started.elapsed()
    );

    let binary = std::env::var("ISTIOD_BINARY").context("ISTIOD_BINARY names no istiod; `make soak` does")?;
    let started = Instant::now();
    let istiod = Istiod::start(Path::new(&binary), &server, Ports::free()?)?;
    istiod.wait_until_ready(PATIENCE)?;
    let sync = started.elapsed();
    let peak = istiod.resident()?;
    // Until the memory of the first list has gone back to the system.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = istiod.resident()?;
    println!("kube scale: synced in {sync:.1?}, {} MiB then, {} MiB idle, {} s computed", peak >> 20, idle >> 20, istiod.ticks()? / 100);

    let (before, started) = (istiod.ticks()?, Instant::now());
    let flips = stream::iter(0..FLIPS).then(|flip| {
        let api = &api;
        async move {
            let due = Duration::from_secs(60) * u32::try_from(flip)? / u32::try_from(FLIPS)?;
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
            let object = slice(flip * 7 % SERVICES, false);
            api.patch(&object, &json!({ "endpoints": object["endpoints"] })).await
        }
    });
    flips.try_collect::<()>().await?;
    let took = started.elapsed();
    let computed = istiod.ticks()? - before;
    println!(
        "kube scale: {FLIPS} changes of endpoints in {took:.0?} cost {} ms, {:.2} ms each",
        computed * 10,
        computed as f64 * 10.0 / FLIPS as f64
    );
    Ok(())
}
