//! A mesh of workloads that call each other at a constant rate over mutual TLS, and what becomes of the calls.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)] // a failed unwrap is a failed test

use crate::{
    istiod::Istiod,
    workload::{Pod, Workload},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client};
use hyper_util::rt::TokioIo;
use std::{
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

/// Where a workload takes calls of others, in its own address.
const INBOUND: u16 = 9081;
/// Where its application makes calls.
const OUTBOUND: u16 = 9080;
/// No call takes so long on a busy machine.
const LIMIT: Duration = Duration::from_secs(15);

/// Retries would hide what goes wrong.
pub const MESH: &str = "trustDomain: cluster.local\ndefaultHttpRetryPolicy: {attempts: 0}\n";

/// The workloads `w1`, `w2`, …, of namespace `shop`, each a Service, whose application is at `application`. Every connection
/// between them carries a few calls only, so that there are handshakes all the time.
pub fn objects(count: u8, application: SocketAddr) -> String {
    let mut text = String::from(
        "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: default, namespace: shop}, spec: {mtls: {mode: STRICT}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: short-connections, namespace: shop}
spec:
  host: '*.shop.svc.cluster.local'
  trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 4}}}
",
    );
    for number in 1..=count {
        let (name, address) = (format!("w{number}"), address(number));
        writeln!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: 10.96.1.{number}, selector: {{app: {name}}}, ports: [{{name: http, port: {OUTBOUND}, targetPort: {INBOUND}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {INBOUND}, protocol: TCP}}]
endpoints: [{{addresses: [{address}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: {name}-1, namespace: shop}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}-1, namespace: shop, labels: {{app: {name}, security.istio.io/tlsMode: istio}}}}
spec: {{serviceAccountName: {name}, containers: [{{name: app, image: app}}]}}
status: {{phase: Running, podIP: {address}, podIPs: [{{ip: {address}}}], conditions: [{{type: Ready, status: 'True'}}]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: {name}}}}}
  ingress:
  - port: {{number: {INBOUND}, protocol: HTTP, name: http}}
    bind: {address}
    captureMode: NONE
    defaultEndpoint: {application}
  egress:
  - port: {{number: {OUTBOUND}, protocol: HTTP, name: http}}
    bind: {address}
    captureMode: NONE
    hosts: ['./*']"
        )
        .unwrap();
    }
    text
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, number)
}

/// Starts the workloads of [`objects`], all at once, and waits until they are ready.
pub fn start(istiod: &Istiod, programs: &(PathBuf, PathBuf), count: u8, lifetime: &'static str) -> Vec<Workload> {
    let pod = |number| Pod { app: format!("w{number}"), address: address(number), lifetime, kind: "sidecar" };
    let workloads: Vec<Workload> = (1..=count).map(|number| Workload::launch(istiod, programs, &pod(number))).collect();
    workloads.iter().for_each(Workload::wait_until_ready);
    workloads
}

/// What has become of the calls.
#[derive(Default)]
pub struct Tally {
    calls: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// The calls, until [`Load::end`].
pub struct Load {
    tally: Arc<Tally>,
    over: watch::Sender<bool>,
    callers: JoinSet<()>,
}

impl Load {
    /// Every workload calls all others in turn, so many times a second.
    pub fn start(count: u8, rate: u32) -> Self {
        let (over, tally, mut callers) = (watch::Sender::new(false), Arc::new(Tally::default()), JoinSet::new());
        for number in 1..=count {
            callers.spawn(caller(number, count, rate, tally.clone(), over.subscribe()));
        }
        Self { tally, over, callers }
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        self.tally.calls.load(Relaxed)
    }

    /// What has gone wrong so far.
    pub fn failures(&self) -> Vec<String> {
        self.tally.failures.lock().unwrap().clone()
    }

    /// Ends the calls: how many there were, and what has gone wrong.
    pub async fn end(mut self) -> (u64, Vec<String>) {
        self.over.send_replace(true);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        (self.calls(), self.failures())
    }
}

async fn caller(own: u8, count: u8, rate: u32, tally: Arc<Tally>, mut over: watch::Receiver<bool>) {
    let mut pace = interval(Duration::from_secs(1) / rate);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut other = own;
    loop {
        tokio::select! {
            _ = pace.tick() => {}
            _ = over.wait_for(|over| *over) => return,
        }
        other = other % count + 1;
        if other == own {
            other = other % count + 1;
        }
        let outcome = timeout(LIMIT, call(own, other)).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        tally.calls.fetch_add(1, Relaxed);
        if let Err(failure) = outcome {
            tally.failures.lock().unwrap().push(format!("call {} of w{own} to w{other}: {failure}", tally.calls.load(Relaxed)));
        }
    }
}

/// One call, over a connection of its own to the caller's Envoy.
async fn call(own: u8, other: u8) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect((address(own), OUTBOUND)).await.map_err(|error| text(&error))?;
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let connection = tokio::spawn(connection);
    let host = format!("w{other}.shop.svc.cluster.local:{OUTBOUND}");
    let request = Request::get("/").header("host", host).body(Empty::<Bytes>::new()).unwrap();
    let answer = sender.send_request(request).await.map_err(|error| text(&error))?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| text(&error))?.to_bytes();
    connection.abort();
    let body = String::from_utf8_lossy(&body);
    let known = body.contains(&format!("/ns/shop/sa/w{own}")) && body.contains(&format!("/ns/shop/sa/w{other};"));
    if status.is_success() && known { Ok(()) } else { Err(format!("{status}: {body}")) }
}

/// The handshakes between workloads, as Envoys count them.
#[derive(Default)]
pub struct Handshakes {
    /// Those that callers have completed.
    pub made: u64,
    /// Those that the called have completed.
    pub taken: u64,
    /// Every counter that says that something went wrong.
    pub wrong: Vec<String>,
}

/// What all Envoys have counted so far.
pub fn handshakes(workloads: &[Workload]) -> Handshakes {
    const WRONG: [&str; 6] = [
        "ssl.connection_error",
        "ssl.fail_verify_error",
        "ssl.fail_verify_san",
        "ssl.fail_verify_no_cert",
        "upstream_cx_connect_fail",
        "upstream_rq_retry",
    ];
    let mut all = Handshakes::default();
    for (number, workload) in workloads.iter().enumerate() {
        for (name, value) in workload.counters("ssl|connect_fail|upstream_rq_retry") {
            let (caller, called) = (name.starts_with("cluster.outbound"), name.starts_with("listener.127"));
            if name.ends_with("ssl.handshake") {
                all.made += if caller { value } else { 0 };
                all.taken += if called { value } else { 0 };
            }
            if (caller || called) && value > 0 && WRONG.iter().any(|end| name.ends_with(end)) {
                all.wrong.push(format!("w{}: {name}: {value}", number + 1));
            }
        }
    }
    all
}
