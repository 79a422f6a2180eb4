//! Rotations step by step, with a clock and proxies that the test moves.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod mesh;

use base::SpiffeIdentity;
use ca::{
    Authority, ConnectedProxy, FileRootStore, Generation, Holder, Order, Phase, RootStore, Rotation, RotationSettings, Settings, Signer,
    TrustDomains,
};
use mesh::{HOUR, root};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

/// One replica, and its clock.
struct Replica {
    authority: Arc<Authority>,
    rotation: Rotation,
    now: SystemTime,
    proxies: Vec<ConnectedProxy>,
}

fn settings() -> Settings {
    Settings { default_workload_ttl: HOUR, max_workload_ttl: 2 * HOUR, ..Settings::default() }
}

fn generation(trust_domain: &str) -> Generation {
    Generation { material: root(), trust_domain: trust_domain.to_owned() }
}

impl Replica {
    async fn start(name: &str, store: Option<Arc<dyn RootStore>>, generation: &Generation, now: SystemTime) -> Self {
        let authority = Arc::new(Authority::new(Signer::new(&generation.material, now).unwrap(), settings()));
        let settings = RotationSettings {
            replica: name.to_owned(),
            least_phase: Duration::from_secs(10),
            replica_gone: Duration::from_secs(60),
            report_every: Duration::from_secs(20),
        };
        let rotation = Rotation::start(authority.clone(), store, settings, generation.clone(), now).await.unwrap();
        Self { authority, rotation, now, proxies: Vec::new() }
    }

    /// Some time passes, then it looks at everything.
    async fn later(&mut self, seconds: u64, wanted: Option<&Generation>) -> Phase {
        self.now += Duration::from_secs(seconds);
        let proxies = self.proxies.clone();
        self.rotation.tick(wanted, &[], || proxies, self.now).await.unwrap();
        self.rotation.phase()
    }

    /// The same once everybody is ready: the step is not taken before what the last proxy was given is on all of its threads.
    async fn rested(&mut self, wanted: Option<&Generation>) -> Phase {
        let before = self.rotation.phase();
        assert_eq!(self.later(1, wanted).await, before, "somebody was waited for until now");
        assert_eq!(self.waiting(), Vec::<String>::new());
        self.later(10, wanted).await
    }

    /// A proxy that takes roots with its certificates; it renews one now.
    fn renew(&mut self, node: &str) {
        let signer = self.authority.signer();
        let trust_domain = self.authority.trust_domains().unwrap().own.clone();
        let holder = Holder {
            identity: SpiffeIdentity { trust_domain, namespace: "shop".into(), service_account: "cart".into() },
            signer: signer.fingerprint.clone(),
            bundle: signer.bundle.hash.clone(),
            expires: 0,
        };
        self.proxies.retain(|proxy| proxy.node != node);
        self.proxies.push(ConnectedProxy { node: node.into(), told: false, telling: false, settled: true, holder: Some(holder) });
    }

    fn waiting(&self) -> Vec<String> {
        self.rotation.status().waiting_for.into_iter().map(|hold_up| hold_up.proxy).collect()
    }
}

#[tokio::test]
async fn no_step_before_every_proxy_is_ready() {
    let (old, new) = (generation("cluster.local"), generation("cluster.local"));
    let mut one = Replica::start("one", None, &old, SystemTime::now()).await;
    one.renew("a");
    one.renew("b");
    let before = one.authority.signer();
    assert_eq!(one.later(1, Some(&new)).await, Phase::Distributing);
    let both = one.authority.signer();
    assert_eq!((both.fingerprint.clone(), both.bundle.roots.len()), (before.fingerprint.clone(), 2));

    assert_eq!(one.later(3_600, None).await, Phase::Distributing);
    assert_eq!(one.waiting(), ["a", "b"]);
    one.renew("a");
    assert_eq!(one.later(60, None).await, Phase::Distributing, "one has not acknowledged");
    assert_eq!(one.waiting(), ["b"]);
    one.renew("b");
    assert_eq!(one.rested(None).await, Phase::Signing);
    let signing = one.authority.signer();
    assert_ne!(signing.fingerprint, before.fingerprint);
    assert_eq!(signing.bundle.hash, both.bundle.hash, "or everybody would have to take it again");

    assert_eq!(one.later(3_600, None).await, Phase::Signing);
    assert_eq!(one.waiting(), ["a", "b"], "their certificates are of the old one");
    one.renew("a");
    one.renew("b");
    assert_eq!(one.rested(None).await, Phase::Settled);
    assert_eq!(one.authority.signer().bundle.hash, new.bundle().unwrap().hash);
}

#[tokio::test]
async fn proxies_that_are_told_over_xds_are_waited_for_until_they_accept() {
    let (old, new) = (generation("cluster.local"), generation("cluster.local"));
    let mut one = Replica::start("one", None, &old, SystemTime::now()).await;
    one.proxies.push(ConnectedProxy { node: "a".into(), told: false, telling: true, settled: false, holder: None });
    one.later(1, Some(&new)).await;
    assert_eq!(one.later(3_600, None).await, Phase::Distributing);
    assert_eq!(one.waiting(), ["a"]);
    one.proxies.clear();
    one.proxies.push(ConnectedProxy { node: "a".into(), told: true, telling: false, settled: true, holder: None });
    assert_eq!(one.rested(None).await, Phase::Signing);
    // It has not asked this replica for a certificate, so its own is of the old root until the last of those has expired.
    assert_eq!(one.later(60, None).await, Phase::Signing);
    assert_eq!(one.waiting(), ["a"]);
    one.now += 2 * HOUR;
    assert_eq!(one.rested(None).await, Phase::Settled);
}

#[tokio::test]
async fn a_trust_domain_changes_by_the_same_steps() {
    let old = generation("cluster.local");
    let new = Generation { trust_domain: "mesh.example".into(), ..old.clone() };
    let mut one = Replica::start("one", None, &old, SystemTime::now()).await;
    one.renew("a");
    let domains = |own: &str, alias: &str| TrustDomains { own: own.into(), aliases: vec![alias.into()] };
    one.later(1, Some(&new)).await;
    assert_eq!(one.rotation.domains(), domains("cluster.local", "mesh.example"));
    one.proxies.iter_mut().for_each(|proxy| proxy.settled = false);
    assert_eq!(one.later(60, Some(&new)).await, Phase::Distributing);
    assert_eq!(one.waiting(), ["a"]);
    one.proxies.iter_mut().for_each(|proxy| proxy.settled = true);
    assert_eq!(one.rested(Some(&new)).await, Phase::Signing);
    assert_eq!(one.rotation.domains(), domains("mesh.example", "cluster.local"));
    assert_eq!(one.later(60, Some(&new)).await, Phase::Signing, "its certificate is of the old trust domain");
    one.renew("a");
    assert_eq!(one.rested(Some(&new)).await, Phase::Settled);
    assert_eq!(one.rotation.domains(), TrustDomains { own: "mesh.example".into(), aliases: Vec::new() });
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn RootStore> = Arc::new(FileRootStore::new(folder.path().to_owned()));
    let old = generation("cluster.local");
    let mut one = Replica::start("one", Some(store.clone()), &old, SystemTime::now()).await;
    one.renew("a");
    one.rotation.order(Order::NewRoot, one.now).await.unwrap();
    let target = one.rotation.target().clone();
    for phase in [Phase::Distributing, Phase::Signing, Phase::Settled] {
        // Whatever the process is started with, the store decides.
        let (now, proxies) = (one.now, std::mem::take(&mut one.proxies));
        let signer = one.authority.signer();
        one = Replica::start("one", Some(store.clone()), &old, now).await;
        assert_eq!(one.rotation.phase(), phase);
        assert_eq!(one.authority.signer().fingerprint, signer.fingerprint);
        assert_eq!(one.authority.signer().bundle.hash, signer.bundle.hash);
        one.proxies = proxies;
        one.renew("a");
        one.later(60, None).await;
        one.later(60, None).await;
    }
    assert!(one.rotation.target().is_same(&target));
}

#[tokio::test]
async fn replicas_wait_for_each_others_proxies() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn RootStore> = Arc::new(FileRootStore::new(folder.path().to_owned()));
    let old = generation("cluster.local");
    let now = SystemTime::now();
    let mut one = Replica::start("one", Some(store.clone()), &old, now).await;
    let mut two = Replica::start("two", Some(store), &old, now).await;
    two.renew("b");
    one.rotation.order(Order::NewRoot, now).await.unwrap();
    assert_eq!(two.later(1, None).await, Phase::Distributing, "the other one has begun");
    assert_eq!(two.waiting(), ["b"]);
    assert_eq!(one.later(30, None).await, Phase::Distributing);
    assert_eq!(one.waiting(), ["two"]);
    two.renew("b");
    two.later(31, None).await;
    for phase in [Phase::Distributing, Phase::Signing] {
        let phases = [one.later(5, None).await, two.later(6, None).await];
        assert!(phases.contains(&phase), "{phases:?}");
    }
    assert_eq!(one.later(1, None).await, Phase::Signing);
    assert_eq!(one.authority.signer().fingerprint, two.authority.signer().fingerprint);
}

#[tokio::test]
async fn an_operator_may_go_on_or_back() {
    let old = generation("cluster.local");
    let mut one = Replica::start("one", None, &old, SystemTime::now()).await;
    one.renew("a");
    assert!(one.rotation.order(Order::Force, one.now).await.is_err());
    one.rotation.order(Order::NewRoot, one.now).await.unwrap();
    one.rotation.order(Order::Abort, one.now).await.unwrap();
    assert_eq!((one.rotation.phase(), one.authority.signer().bundle.roots.len()), (Phase::Settled, 1));
    one.rotation.order(Order::NewRoot, one.now).await.unwrap();
    one.rotation.order(Order::Force, one.now).await.unwrap();
    assert_eq!(one.rotation.phase(), Phase::Signing);
    assert!(one.rotation.order(Order::Abort, one.now).await.is_err(), "certificates of the new one are out");
    one.rotation.order(Order::Force, one.now).await.unwrap();
    assert_eq!(one.rotation.phase(), Phase::Settled);
}

#[tokio::test]
async fn a_new_intermediate_under_the_same_root_waits_for_nobody() {
    let now = SystemTime::now();
    let top = root();
    let (first, second) = (mesh::intermediate(&top), mesh::intermediate(&top));
    let of = |material: ca::KeyMaterial| Generation { material, trust_domain: "cluster.local".into() };
    let mut one = Replica::start("one", None, &of(first), now).await;
    one.proxies.push(ConnectedProxy { node: "a".into(), told: false, telling: false, settled: true, holder: None });
    assert_eq!(one.authority.signer().intermediates.len(), 1);
    let before = one.authority.signer().fingerprint.clone();
    let second = of(second);
    one.later(1, Some(&second)).await;
    assert_eq!(one.later(10, Some(&second)).await, Phase::Signing);
    assert_eq!(one.rested(Some(&second)).await, Phase::Settled);
    assert_ne!(one.authority.signer().fingerprint, before);
}

#[tokio::test]
async fn a_root_that_nobody_rotates_is_not_taken_over_a_plugged_in_one() {
    // As an Istio leaves it that was moved to plugged-in certificates long ago.
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileRootStore::new(folder.path().to_owned()));
    store.save(&ca::RootData::of(root()), None).await.unwrap();
    let plugged_in = generation("cluster.local");
    let mut one = Replica::start("one", Some(store), &plugged_in, SystemTime::now()).await;
    assert_eq!(one.authority.signer().bundle.hash, plugged_in.bundle().unwrap().hash);
    assert_eq!(one.later(60, Some(&plugged_in)).await, Phase::Settled);
}
