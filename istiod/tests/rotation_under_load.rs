//! Workload certificates, the intermediate, the root and the trust domain change while real Envoys call each other over mutual
//! TLS without retries, and one proxy never acknowledges anything. No call is lost and no handshake fails.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod application;
mod client;
mod istiod;
mod under_load;
mod workload;

use client::{Client, node};
use istiod::Istiod;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use under_load::{Handshakes, Load};
use workload::{Workload, programs};

const ROOTS: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
/// No step of a rotation takes so long here.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_everything_rotates() {
    rotate_everything(4, 5, "8s").await;
}

/// Five minutes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make soak runs it"]
async fn nothing_is_lost_among_twenty_while_everything_rotates() {
    rotate_everything(20, 10, "60s").await;
}

async fn rotate_everything(count: u8, rate: u32, lifetime: &'static str) {
    let Some(programs) = programs() else { return };
    let (root, application) = (Root::new("first"), application::serve().await);
    let istiod = Istiod::start_prepared(&under_load::objects(count, application), &[], |folder| {
        fs::write(folder.join("mesh"), under_load::MESH).unwrap();
        root.plug_in(&folder.join("cacerts"), "intermediate 1");
    });
    let workloads = tokio::task::block_in_place(|| under_load::start(&istiod, &programs, count, lifetime));
    let started = Instant::now();
    let load = Load::start(count, rate);
    let watch = Watch { istiod: &istiod, workloads: &workloads, load: &load, started };

    watch.certificates_are_renewed("at first").await;
    let before = watch.status();
    root.plug_in(&istiod.path("cacerts"), "intermediate 2");
    watch.until("another intermediate signs", |status| status["signer"] != before["signer"] && status["phase"] == "settled").await;

    watch.replace_root_against_a_laggard().await;

    let own = under_load::MESH.replace("cluster.local", "mesh.example");
    fs::write(istiod.path("mesh"), own).unwrap();
    watch
        .until("the other trust domain is the only one", |status| status["trustDomain"] == "mesh.example" && status["phase"] == "settled")
        .await;
    let renamed = |workload: &Workload| workload.certificate().is_some_and(|(name, _)| name.starts_with("spiffe://mesh.example/"));
    watch.every("workload has the other trust domain", renamed).await;
    watch.certificates_are_renewed("at last").await;

    let (calls, failures) = load.end().await;
    let Handshakes { made, taken, wrong } = under_load::handshakes(&workloads);
    let elapsed = started.elapsed();
    println!("{count} Envoys, {calls} calls and {made} handshakes in {elapsed:.0?}, {} lost", failures.len());
    assert!(failures.is_empty(), "{} of {calls} calls are lost: {:#?}", failures.len(), &failures[..failures.len().min(10)]);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(made > calls / 8 && taken >= made, "{made} handshakes were made and {taken} taken, for {calls} calls");
}

/// What waits for events, and fails as soon as a call is lost.
struct Watch<'a> {
    istiod: &'a Istiod,
    workloads: &'a [Workload],
    load: &'a Load,
    started: Instant,
}

impl Watch<'_> {
    fn status(&self) -> Value {
        self.istiod.json("/debug/ca")
    }

    /// Waits until the page `/debug/ca` is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                println!("{:6.1?}: {what}, after {} calls", self.started.elapsed(), self.load.calls());
                return;
            }
            self.go_on(deadline, what, &status).await;
        }
    }

    async fn go_on(&self, deadline: Instant, what: &str, status: &Value) {
        let failures = self.load.failures();
        assert!(failures.is_empty(), "before {what}: {failures:#?}, {status:#}, {:#?}", under_load::handshakes(self.workloads).wrong);
        assert!(Instant::now() < deadline, "not in time: {what}: {status:#}");
        sleep(Duration::from_millis(50)).await;
    }

    /// Waits until every workload has another certificate than now.
    async fn certificates_are_renewed(&self, when: &str) {
        let serial = |workload: &Workload| workload.wait("a certificate", || workload.certificate()).1;
        let serials = || -> Vec<String> { self.workloads.iter().map(serial).collect() };
        let (before, deadline) = (serials(), Instant::now() + PATIENCE);
        while serials().iter().zip(&before).any(|(now, before)| now == before) {
            self.go_on(deadline, "certificates are renewed", &Value::Null).await;
        }
        println!("{:6.1?}: all certificates were renewed {when}, after {} calls", self.started.elapsed(), self.load.calls());
    }

    /// Another root takes the place of the first. A proxy that never accepts it is named everywhere, and holds it up until
    /// somebody says that it shall go on.
    async fn replace_root_against_a_laggard(&self) {
        let token = self.istiod.token(&["--namespace=shop", "--serviceAccount=laggard"]);
        let laggard = node("laggard-0", "shop", "laggard");
        let client = Client::new(&self.istiod.secured, &self.istiod.path("ca/root-cert.pem"), None);
        let _stream = client.stream(laggard.clone(), Some(&token), ROOTS).await.unwrap();

        let before = self.status();
        Root::new("second").plug_in(&self.istiod.path("cacerts"), "intermediate 3");
        let waits = |status: &Value, phase: &str| status["phase"] == phase && is_only(&status["waitingFor"], &laggard.id);
        self.until("all but one have the other root", |status| waits(status, "distributing")).await;
        assert!(self.status()["waitingFor"][0]["reason"].as_str().unwrap().contains("has not accepted the new roots"));
        assert!(!self.istiod.log(&["the rotation waits", &laggard.id]).is_empty(), "the log names it");
        let (_, metrics) = self.istiod.get("/metrics");
        assert!(metrics.lines().any(|line| line == "istiod_root_rotation_waiting 1"), "the metrics count it");
        // Time enough to go on, if it would.
        self.certificates_are_renewed("under the old root").await;
        let held = self.status();
        assert!(waits(&held, "distributing") && held["signer"] == before["signer"], "{held:#}");

        assert_eq!(self.istiod.post("/debug/ca?order=force").0, 200);
        self.until("all but one have certificates of the other root", |status| waits(status, "signing")).await;
        self.certificates_are_renewed("under both roots").await;
        assert!(waits(&self.status(), "signing"));
        assert_eq!(self.istiod.post("/debug/ca?order=force").0, 200);
        self.until("the first root is dropped", |status| status["phase"] == "settled" && status["roots"] == 1).await;
        self.every("Envoy trusts the other root only", |workload| workload.roots().len() == 1).await;
    }

    /// Waits until something is so of every workload.
    async fn every(&self, what: &str, holds: impl Fn(&Workload) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.workloads.iter().all(&holds) {
            self.go_on(deadline, what, &Value::Null).await;
        }
        println!("{:6.1?}: every {what}, after {} calls", self.started.elapsed(), self.load.calls());
    }
}

fn is_only(waiting: &Value, proxy: &str) -> bool {
    waiting.as_array().is_some_and(|all| all.len() == 1 && all[0]["proxy"] == proxy)
}

/// A root that is kept elsewhere, and signs intermediates.
struct Root {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Root {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(name);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A new intermediate of this root becomes the plugged-in CA.
    fn plug_in(&self, folder: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = authority(name).signed_by(&key, &self.issuer).unwrap().pem();
        fs::create_dir_all(folder).unwrap();
        for (file, content) in [
            ("ca-cert.pem", &certificate),
            ("ca-key.pem", &key.serialize_pem()),
            ("cert-chain.pem", &certificate),
            ("root-cert.pem", &self.certificate),
        ] {
            fs::write(folder.join(file), content).unwrap();
        }
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
