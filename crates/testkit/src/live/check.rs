//! Whether a call through Envoy ended as its case says.

use super::{
    certificates::Certificate,
    client::{self, Answer, Caller},
    upstream::{self, Received, Upstream},
    workload::{Running, Workload},
};
use crate::call::{CallFile, GoesTo};
use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use simulation::{Call, Protocol};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The cluster without endpoints.
const BLACK_HOLE: &str = "BlackHoleCluster";

/// One call, and everything that is needed to judge it.
pub struct Judge<'a> {
    /// The expectation.
    pub file: &'a CallFile,
    /// The call.
    pub call: &'a Call,
    /// The client's own certificate.
    pub certificate: Option<Certificate>,
    /// All workloads of the case.
    pub workloads: &'a [Workload<'a>],
    /// Their Envoys.
    pub running: &'a [Running],
    /// Which of them is the caller's, or for a call from outside the called one's.
    pub at: usize,
    /// The endpoints.
    pub upstream: &'a Upstream,
    /// The names that have addresses.
    pub dns: &'a BTreeMap<String, IpAddr>,
}

/// What came of a call, or of several.
struct Made {
    answers: Vec<Answer>,
    received: Vec<Received>,
    /// Requests by cluster of the caller's proxy.
    requests: BTreeMap<String, u64>,
    /// Requests by cluster of the proxies of all other workloads.
    arrived: BTreeMap<String, u64>,
}

impl Judge<'_> {
    /// Makes the call and judges it.
    ///
    /// # Errors
    /// If it ended differently.
    pub async fn call(&self) -> Result<()> {
        let made = self.make().await?;
        let file = self.file;
        match file {
            CallFile { goes_to: Some(GoesTo::One(cluster)), .. } if cluster == BLACK_HOLE => self.ended(&made)?,
            CallFile { goes_to: Some(GoesTo::One(cluster)), .. } => self.went_to(&made, std::slice::from_ref(cluster))?,
            CallFile { goes_to: Some(GoesTo::Several(shares)), .. } => self.shared(&made, shares)?,
            CallFile { redirects_to: Some(location), .. } => {
                let answer = self.own_answer(&made, file.status.unwrap_or(301))?;
                let found = answer.headers.get("location");
                ensure!(found == Some(location), "should be sent to {location}, not {found:?}");
            }
            CallFile { responds: Some(status), .. } => drop(self.own_answer(&made, *status)?),
            CallFile { error: Some(_), .. } => self.ended(&made)?,
            _ => bail!("nothing is expected of the call"),
        }
        self.compare_answers(&made)?;
        self.compare_log().await?;
        if let Some(wanted) = &file.arrives_at {
            let found: Vec<&String> = made.arrived.keys().filter(|cluster| !file.passes.contains(cluster)).collect();
            ensure!(found == [wanted], "should arrive at {wanted}, not {found:?}");
        }
        if let Some(wanted) = file.attempts {
            ensure!(made.received.len() == wanted as usize, "should be tried {wanted} times, not {}", made.received.len());
        }
        Ok(())
    }

    /// Calls, and waits for the copies that Envoy sends without waiting itself.
    async fn make(&self) -> Result<Made> {
        let (before, elsewhere) = (self.requests().await?, self.requests_elsewhere().await?);
        self.upstream.take();
        let mut answers = Vec::new();
        let times = if matches!(self.file.goes_to, Some(GoesTo::Several(_))) { 200 } else { 1 };
        let caller = Caller { room: &self.workload()?.room, certificate: self.certificate.as_ref(), version: self.file.version() };
        let call = || client::call(self.call, caller, self.file.presents.as_deref());
        let calls = (0..self.file.times.unwrap_or(times)).map(|_| call());
        if self.file.at_once {
            answers = futures::future::try_join_all(calls).await?;
        } else {
            for call in calls {
                answers.push(call.await?);
            }
        }
        let wanted = answers.len() * (1 + self.file.mirrors.len());
        let end = Instant::now() + Duration::from_secs(5);
        while !self.file.mirrors.is_empty() && self.upstream.count() < wanted && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
        let mut requests = more(&before, self.requests().await?);
        let mut received = self.upstream.take();
        for authorizer in &self.file.asks {
            ensure!(requests.remove(authorizer).is_some(), "{authorizer} should be asked");
            let endpoints = self.endpoints(authorizer)?;
            received.retain(|received| !endpoints.contains(&received.address));
        }
        let arrived = more(&elsewhere, self.requests_elsewhere().await?);
        Ok(Made { answers, received, requests, arrived })
    }

    fn workload(&self) -> Result<&Workload<'_>> {
        self.workloads.get(self.at).context("the caller is no workload of the case")
    }

    async fn requests(&self) -> Result<BTreeMap<String, u64>> {
        self.running.get(self.at).context("the caller has no Envoy")?.envoy.admin.requests().await
    }

    async fn requests_elsewhere(&self) -> Result<BTreeMap<String, u64>> {
        let mut sums = BTreeMap::new();
        for (_, running) in self.running.iter().enumerate().filter(|(at, _)| *at != self.at) {
            for (cluster, count) in running.envoy.admin.requests().await? {
                *sums.entry(cluster).or_insert(0) += count;
            }
        }
        Ok(sums)
    }

    /// Envoy writes the line soon after the call.
    async fn compare_log(&self) -> Result<()> {
        let Some(wanted) = &self.file.logs else { return Ok(()) };
        let envoy = &self.running.get(self.at).context("the caller has no Envoy")?.envoy;
        let end = Instant::now() + Duration::from_secs(5);
        while !envoy.access_log().contains(wanted) {
            ensure!(Instant::now() < end, "the access log should hold {wanted:?}: {}", envoy.access_log());
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Every call was answered by an endpoint of one of the clusters, and of no other but the mirrors.
    fn went_to(&self, made: &Made, clusters: &[String]) -> Result<()> {
        let told = || format!("{:?}, requests {:?}, received {:?}", made.answers.first(), made.requests, made.received);
        let allowed: BTreeSet<&String> = clusters.iter().chain(&self.file.mirrors).collect();
        let found: BTreeSet<&String> = made.requests.keys().collect();
        ensure!(found == allowed, "should go to {allowed:?}: {}", told());
        ensure!(!made.received.is_empty(), "no endpoint got it: {}", told());
        let wanted = self.file.status.unwrap_or(200);
        let different: BTreeSet<SocketAddr> = made.received.iter().map(|received| received.address).collect();
        ensure!(
            self.file.endpoints.is_none_or(|wanted| wanted == different.len()),
            "should go to {:?} endpoints, not {different:?}",
            self.file.endpoints
        );
        self.compare_statuses(made)?;
        for answer in made.answers.iter().filter(|_| self.file.statuses.is_empty()) {
            ensure!(answer.failure.is_none(), "no answer: {}", told());
            ensure!(answer.status.is_none_or(|status| status == wanted), "should be answered with {wanted}: {}", told());
        }
        let endpoints = self.all_endpoints(allowed.iter().copied())?;
        for received in &made.received {
            ensure!(endpoints.contains(&received.address), "{} is no endpoint of {allowed:?}", received.address);
            ensure!(received.method == self.method(), "the method should be {:?}, not {:?}", self.method(), received.method);
            self.compare_received(received)?;
        }
        Ok(())
    }

    fn compare_statuses(&self, made: &Made) -> Result<()> {
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        for status in made.answers.iter().filter_map(|answer| answer.status) {
            *statuses.entry(status).or_default() += 1;
        }
        let wanted = &self.file.statuses;
        ensure!(wanted.is_empty() || *wanted == statuses, "should be answered with {wanted:?}, not {statuses:?}");
        Ok(())
    }

    /// The shares are near those wanted: chance may move them by four standard deviations.
    fn shared(&self, made: &Made, shares: &BTreeMap<String, u32>) -> Result<()> {
        let present: Vec<String> = shares.iter().filter(|(_, share)| **share > 0).map(|(cluster, _)| cluster.clone()).collect();
        self.went_to(made, &present)?;
        let whole = f64::from(shares.values().sum::<u32>());
        let calls = made.answers.len() as f64;
        for (cluster, share) in shares {
            let part = f64::from(*share) / whole;
            let wanted = part * calls;
            let deviation = 4.0 * (calls * part * (1.0 - part)).sqrt();
            let found = made.requests.get(cluster).copied().unwrap_or(0) as f64;
            ensure!((found - wanted).abs() <= deviation, "{cluster} should get about {wanted} of {calls}, not {found}");
        }
        Ok(())
    }

    /// Envoy answered itself.
    fn own_answer<'m>(&self, made: &'m Made, wanted: u16) -> Result<&'m Answer> {
        let answer = made.answers.first().context("no call was made")?;
        ensure!(answer.status == Some(wanted), "should be answered with {wanted}, not {answer:?}");
        ensure!(made.received.is_empty() || self.file.attempts.is_some(), "an endpoint got it: {:?}", made.received);
        if let Some(body) = &self.file.body {
            ensure!(answer.body == *body, "the body should be {body:?}, not {:?}", answer.body);
        }
        Ok(answer)
    }

    /// The connection ended without an answer.
    fn ended(&self, made: &Made) -> Result<()> {
        let answer = made.answers.first().context("no call was made")?;
        ensure!(answer.failure.is_some(), "should get no answer, not {answer:?}");
        ensure!(made.received.is_empty(), "an endpoint got it: {:?}", made.received);
        Ok(())
    }

    /// The addresses of a cluster; a cluster without any goes where the client wanted to.
    fn all_endpoints<'c>(&self, clusters: impl Iterator<Item = &'c String>) -> Result<BTreeSet<SocketAddr>> {
        let own: Vec<BTreeSet<SocketAddr>> = clusters.map(|cluster| self.endpoints(cluster)).collect::<Result<_>>()?;
        // A gateway sends what arrives there on to endpoints of its own.
        let passed_on = self.file.arrives_at.iter().chain(&self.file.passes).flat_map(|elsewhere| {
            let assignments = self.workloads.iter().filter_map(move |workload| workload.resources.assignment(elsewhere));
            assignments.flat_map(|assignment| upstream::endpoints(assignment, self.dns))
        });
        Ok(own.into_iter().flatten().chain(passed_on).collect())
    }

    fn endpoints(&self, cluster: &str) -> Result<BTreeSet<SocketAddr>> {
        Ok(match self.workload()?.resources.assignment(cluster) {
            Some(assignment) => upstream::endpoints(assignment, self.dns),
            None => BTreeSet::from([(self.call.address, self.call.port).into()]),
        })
    }

    /// TCP has none.
    fn method(&self) -> &str {
        if self.call.protocol == Protocol::Tcp { "" } else { &self.call.method }
    }

    fn compare_received(&self, received: &Received) -> Result<()> {
        let Some(wanted) = &self.file.receives else { return Ok(()) };
        if let Some(path) = &wanted.path {
            ensure!(*path == received.path, "the path should be {path:?}, not {:?}", received.path);
        }
        if let Some(host) = &wanted.host {
            ensure!(*host == received.host, "the host should be {host:?}, not {:?}", received.host);
        }
        for (name, wanted) in &wanted.matches {
            let found = received.headers.get(&name.to_ascii_lowercase()).map(String::as_str).unwrap_or_default();
            ensure!(Regex::new(&format!("^(?:{wanted})$"))?.is_match(found), "the header {name} should match {wanted}, not be {found:?}");
        }
        compare_headers("of the request", &wanted.headers, &received.headers)
    }

    fn compare_answers(&self, made: &Made) -> Result<()> {
        for answer in &made.answers {
            compare_headers("of the answer", &self.file.answers, &answer.headers)?;
            let Some(takes) = &self.file.takes else { continue };
            let (least, most) = range(takes)?;
            ensure!((least..=most).contains(&answer.took), "should take {takes}, not {:?}", answer.took);
        }
        // Kept so that a wrong name in a case is found: every cluster that a case names must exist.
        let named = match &self.file.goes_to {
            Some(GoesTo::One(cluster)) => vec![cluster],
            Some(GoesTo::Several(shares)) => shares.keys().collect(),
            None => Vec::new(),
        };
        for cluster in named {
            ensure!(self.workload()?.resources.clusters.contains_key(cluster), "there is no cluster {cluster}");
        }
        Ok(())
    }
}

/// By how much counts have grown, where they have.
pub(super) fn more(before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.into_iter().map(|(name, count)| {
        let earlier = before.get(&name).copied().unwrap_or(0);
        (name, count.saturating_sub(earlier))
    });
    grown.filter(|(_, count)| *count > 0).collect()
}

fn compare_headers(what: &str, wanted: &BTreeMap<String, Option<String>>, found: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in wanted {
        let found = found.get(&name.to_ascii_lowercase());
        ensure!(found == value.as_ref(), "the header {name} {what} should be {value:?}, not {found:?}");
    }
    Ok(())
}

/// `200ms-2s`
fn range(text: &str) -> Result<(Duration, Duration)> {
    let (least, most) = text.split_once('-').context("`takes` is not <least>-<most>")?;
    Ok((duration(least)?, duration(most)?))
}

fn duration(text: &str) -> Result<Duration> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(milliseconds.parse()?));
    }
    let seconds: f64 = text.strip_suffix('s').context("a duration ends with s or ms")?.parse()?;
    Ok(Duration::from_secs_f64(seconds))
}
