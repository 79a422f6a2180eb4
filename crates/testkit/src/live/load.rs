//! Runs the steps of `load.yaml`.

use super::{
    certificates::Authority,
    client::{Answer, Caller},
    session::{Session, Variation},
    upstream::{self, Upstream},
    workload::{Running, Workload},
};
use crate::{
    call::Names,
    case::Case,
    load::{ChangeFile, Keys, Share, Step, duration},
    mesh,
};
use anyhow::{Context, Result, bail, ensure};
use simulation::Call;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use xds::State;

/// No change takes longer to reach the Envoys.
const LIMIT: Duration = Duration::from_secs(30);
/// How often something is looked at again.
const PAUSE: Duration = Duration::from_millis(10);

/// Everything that runs for a case.
pub struct Stage<'a> {
    /// The case.
    pub case: &'a Case,
    /// The pipeline behind the ADS servers.
    pub state: RefCell<State>,
    /// The workloads, with what their proxies have got.
    pub workloads: RefCell<Vec<Workload<'a>>>,
    /// Their Envoys.
    pub running: RefCell<Vec<Running>>,
    /// All endpoints.
    pub upstream: Upstream,
    /// The addresses of names.
    pub names: Names,
    /// Signs all certificates.
    pub authority: &'a Authority,
}

/// What came of the calls of a step.
struct Made {
    /// By the number of the key.
    answers: Vec<(usize, Answer)>,
    clusters: BTreeMap<String, u64>,
    endpoints: BTreeMap<SocketAddr, u64>,
    counters: BTreeMap<String, u64>,
}

/// Where the calls of each key went.
type Places = BTreeMap<usize, BTreeSet<String>>;

impl Stage<'_> {
    /// Runs all steps.
    ///
    /// # Errors
    /// If something did not come as expected.
    pub async fn run(&self, steps: &[Step]) -> Result<()> {
        let mut before = Places::new();
        for (number, step) in steps.iter().enumerate() {
            let told = || format!("step {} ({})", number + 1, step.call.as_ref().map_or("changes", |call| call.to.as_str()));
            self.step(step, &mut before).await.with_context(told)?;
        }
        Ok(())
    }

    async fn step(&self, step: &Step, before: &mut Places) -> Result<()> {
        if step.call.is_none() {
            return self.make_changes(&step.change, &Cell::new(0)).await;
        }
        let end = Instant::now() + step.within.as_deref().map(duration).transpose()?.unwrap_or_default();
        loop {
            let made = self.load(step).await?;
            let places = made.places();
            match made.judge(step, before, &places) {
                Ok(()) => {
                    if step.keys.is_some() {
                        *before = places;
                    }
                    return Ok(());
                }
                Err(error) if Instant::now() >= end => return Err(error),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn load(&self, step: &Step) -> Result<Made> {
        let file = step.call.as_ref().context("the step has no call")?;
        let call = file.call(self.case, &self.names)?;
        let caller = self.case.caller(file)?;
        let at = self.case.proxies().position(|proxy| std::ptr::eq(proxy, caller)).context("the caller has no Envoy")?;
        let room = self.workloads.borrow().get(at).context("the caller has no Envoy")?.room.clone();
        let certificate = super::certificate(self.case, file, self.authority)?;
        let caller = Caller { room: &room, certificate: certificate.as_ref(), version: file.version() };
        let admin = self.running.borrow().get(at).context("the caller has no Envoy")?.envoy.admin.clone();
        let (clusters, counters) = (admin.requests().await?, admin.counters().await?);
        self.upstream.take();

        let (next, over) = (Cell::new(0), Cell::new(step.change.is_empty()));
        let clients = (0..step.clients.unwrap_or(8)).map(|_| client(step, &call, caller, &next, &over));
        let changes = async {
            let made = self.make_changes(&step.change, &next).await;
            over.set(true);
            made
        };
        let (answers, changed) = futures::future::join(futures::future::join_all(clients), changes).await;
        changed?;
        let answers: Vec<(usize, Answer)> = answers.into_iter().flatten().collect();
        self.wait_for_copies(step, answers.len()).await;
        let mut endpoints = BTreeMap::new();
        for received in self.upstream.take() {
            *endpoints.entry(received.address).or_insert(0) += 1;
        }
        let clusters = super::check::more(&clusters, admin.requests().await?);
        let counters = super::check::more(&counters, admin.counters().await?);
        Ok(Made { answers, clusters, endpoints, counters })
    }

    /// Envoy does not wait for the answers to copies, so these come late: until no more come.
    async fn wait_for_copies(&self, step: &Step, calls: usize) {
        if step.expect.clusters.len() < 2 && step.expect.endpoints.len() < 2 {
            return;
        }
        let mut count = self.upstream.count();
        loop {
            sleep(PAUSE * 5).await;
            let now = self.upstream.count();
            if now == count && now >= calls.min(1) {
                return;
            }
            count = now;
        }
    }

    async fn make_changes(&self, changes: &[ChangeFile], calls: &Cell<usize>) -> Result<()> {
        for change in changes {
            match change {
                ChangeFile::Apply(file) => self.apply(file).await?,
                ChangeFile::Answer { at, status } => self.upstream.answer_with(*at, *status),
                ChangeFile::Down(address) => self.upstream.down(*address)?,
                ChangeFile::Up(address) => self.upstream.up(*address)?,
                ChangeFile::Restart(what) if what == "istiod" => self.restart().await?,
                ChangeFile::Restart(what) => bail!("{what} cannot be restarted"),
                ChangeFile::Rotate(name) => self.rotate(name)?,
                ChangeFile::Calls(more) => {
                    let enough = calls.get() + more;
                    wait(|| async { Ok(calls.get() >= enough) }).await.context("so many calls are not made")?;
                }
            }
        }
        Ok(())
    }

    async fn apply(&self, file: &str) -> Result<()> {
        let changed = mesh::apply(&mut self.state.borrow_mut(), self.case, file)?;
        for (place, view) in changed {
            let mut workloads = self.workloads.borrow_mut();
            let running = self.running.borrow();
            let (workload, running) = (workloads.get_mut(place).context("no workload")?, running.get(place).context("no Envoy")?);
            workload.update(view, running)?;
        }
        super::listen(self.case, &self.workloads.borrow(), &BTreeSet::new(), &self.upstream)?;
        wait(|| self.have_endpoints()).await.with_context(|| format!("the Envoys do not get what {file} changes"))
    }

    /// Whether all Envoys know the endpoints that they are served, and have accepted all else.
    async fn have_endpoints(&self) -> Result<bool> {
        for place in 0..self.case.proxies().count() {
            let (admin, settled) = {
                let running = self.running.borrow();
                let running = running.get(place).context("no Envoy")?;
                (running.envoy.admin.clone(), running.served.is_settled())
            };
            let found = admin.endpoints().await?;
            let workloads = self.workloads.borrow();
            let wanted = &workloads.get(place).context("no workload")?.resources.endpoints;
            let same = |(name, assignment): (&String, _)| {
                let wanted = upstream::endpoints(assignment, &self.case.file.dns);
                found.get(name).is_none_or(|found| *found == wanted)
            };
            if !settled || !wanted.iter().all(same) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn restart(&self) -> Result<()> {
        let admins: Vec<_> = self.running.borrow().iter().map(|running| running.envoy.admin.clone()).collect();
        self.running.borrow().iter().for_each(|running| running.served.stop());
        wait(|| async {
            for admin in &admins {
                if admin.counters().await?.get("control_plane.connected_state").copied() != Some(0) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
        .context("an Envoy does not notice that istiod is gone")?;
        for running in self.running.borrow_mut().iter_mut() {
            running.served.start()?;
        }
        wait(|| async { Ok(self.running.borrow().iter().all(|running| running.served.is_settled())) })
            .await
            .context("an Envoy does not connect again")
    }

    fn rotate(&self, name: &str) -> Result<()> {
        let place = self.case.proxies().position(|proxy| proxy.name == name).with_context(|| format!("no proxy is named {name}"))?;
        let identity = self.case.proxies().nth(place).context("no proxy")?.identity();
        let running = self.running.borrow();
        let sds = running.get(place).and_then(|running| running.sds.as_ref()).with_context(|| format!("{name} has no agent"))?;
        sds.rotate(self.authority, &identity)
    }
}

/// Waits until something holds.
async fn wait<F: Future<Output = Result<bool>>>(holds: impl Fn() -> F) -> Result<()> {
    let end = Instant::now() + LIMIT;
    while !holds().await? {
        ensure!(Instant::now() < end, "not within {LIMIT:?}");
        sleep(PAUSE).await;
    }
    Ok(())
}

/// One of the clients that make the calls of a step, until all are made and `over` says so.
async fn client(step: &Step, call: &Call, caller: Caller<'_>, next: &Cell<usize>, over: &Cell<bool>) -> Vec<(usize, Answer)> {
    let (mut session, mut answers) = (Session::new(call, caller), Vec::new());
    loop {
        let number = next.get();
        if number >= step.calls && over.get() {
            return answers;
        }
        next.set(number + 1);
        let key = step.keys.as_ref().map_or(0, |keys| number % keys.count.max(1));
        let variation = step.keys.as_ref().map(|keys| vary(keys, key, call)).unwrap_or_default();
        answers.push((key, session.call(&variation).await));
    }
}

fn vary(keys: &Keys, key: usize, call: &Call) -> Variation {
    let value = format!("key-{key}");
    let variation = Variation::default();
    match keys.by.split_once(' ').unwrap_or((&keys.by, "")) {
        ("header", name) => Variation { headers: vec![(name.to_owned(), value)], ..variation },
        ("cookie", name) => Variation { headers: vec![("cookie".to_owned(), format!("{name}={value}"))], ..variation },
        ("query", name) => Variation { path: Some(format!("{}?{name}={value}", call.path)), ..variation },
        _ => {
            let low = u8::try_from(key % 250).unwrap_or_default() + 1;
            Variation { source: Some(Ipv4Addr::new(127, 0, 99, low)), ..variation }
        }
    }
}

impl Made {
    fn places(&self) -> Places {
        let mut places = Places::new();
        for (key, answer) in &self.answers {
            places.entry(*key).or_default().insert(answer.body.clone());
        }
        places
    }

    fn judge(&self, step: &Step, before: &Places, places: &Places) -> Result<()> {
        let (expect, calls) = (&step.expect, self.answers.len() as u64);
        let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
        for (_, answer) in &self.answers {
            *statuses.entry(name_of(answer)).or_default() += 1;
        }
        let told = || {
            let failure = self.answers.iter().find_map(|(_, answer)| answer.failure.clone());
            let Self { clusters, endpoints, .. } = self;
            format!("{calls} calls: {statuses:?}, clusters {clusters:?}, endpoints {endpoints:?}, {failure:?}")
        };
        let judged = || -> Result<()> {
            compare("answers with", &expect.statuses, &statuses, calls)?;
            compare("requests to", &expect.clusters, &self.clusters, calls)?;
            compare("requests to", &expect.endpoints, &self.endpoints, calls)?;
            let attempts: u64 = self.endpoints.values().sum();
            expect.attempts.as_ref().map_or(Ok(()), |share| share.check("tries", attempts, calls))?;
            ensure!(
                expect.endpoints_used.is_none_or(|wanted| wanted == self.endpoints.len()),
                "{:?} endpoints should be used",
                expect.endpoints_used
            );
            for (text, share) in &expect.slower {
                let least = duration(text)?;
                let slow = self.answers.iter().filter(|(_, answer)| answer.took >= least).count() as u64;
                share.check(&format!("answers that take {text} or longer"), slow, calls)?;
            }
            if expect.sticky {
                let moving: Vec<_> = places.iter().filter(|(_, places)| places.len() != 1).collect();
                ensure!(moving.is_empty(), "calls of one key go to several endpoints: {moving:?}");
            }
            if let Some(share) = &expect.kept {
                let kept = places.iter().filter(|(key, places)| before.get(key) == Some(*places)).count() as u64;
                share.check("keys that stay", kept, places.len() as u64)?;
            }
            for (name, share) in &expect.counters {
                let grown = self.counters.get(name).copied().unwrap_or(0) as f64;
                let (least, most) = share.range()?;
                ensure!((least..=most).contains(&grown), "the counter {name} should grow by {share:?}, not {grown}");
            }
            Ok(())
        };
        judged().with_context(told)
    }
}

fn name_of(answer: &Answer) -> String {
    match (answer.status, &answer.failure) {
        (Some(status), _) => status.to_string(),
        (None, None) => "bytes".to_owned(),
        (None, Some(_)) => "none".to_owned(),
    }
}

/// Each wanted share is met, and nothing else occurs.
fn compare<K: Ord + std::fmt::Debug>(what: &str, wanted: &BTreeMap<K, Share>, found: &BTreeMap<K, u64>, calls: u64) -> Result<()> {
    for (name, share) in wanted {
        share.check(&format!("{what} {name:?}"), found.get(name).copied().unwrap_or(0), calls)?;
    }
    let others: Vec<_> = found.iter().filter(|(name, _)| !wanted.is_empty() && !wanted.contains_key(name)).collect();
    ensure!(others.is_empty(), "{what} others: {others:?}");
    Ok(())
}
