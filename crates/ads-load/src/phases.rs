//! The phases of a run, in order: first configuration, changes, reconnect.

use crate::{
    Flags,
    cluster::Cluster,
    folder::{self, Changed, Generation},
    process::{Usage, usage},
    report::{Phase, Report, Spread},
    stream::{self, Shared},
    target::Target,
    tls::{self, Identities},
};
use anyhow::{Context, bail};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use xds_wire::ResourceType;

/// Runs everything that the flags ask for.
pub async fn run(flags: Flags) -> anyhow::Result<Report> {
    let mesh = Mesh::of(&flags).await?;
    if let Some(mesh) = &mesh {
        if !flags.written {
            mesh.write(&flags).await?;
        }
        if flags.write_only {
            return Ok(Report::default());
        }
    } else if flags.changes + flags.virtual_service_changes > 0 {
        bail!("changes need --config-dir or --kubeconfig");
    }
    let streams = (0..flags.streams).map(|_| Default::default()).collect();
    let shared = Arc::new(Shared {
        identities: flags.ca_dir.as_deref().map(Identities::read).transpose()?,
        flags: flags.clone(),
        target: Default::default(),
        streams,
        failed: Default::default(),
        epoch: Instant::now(),
    });
    let mut run =
        Run { shared, tasks: JoinSet::new(), report: Report { streams: flags.streams, ..Report::default() }, files: BTreeMap::new() };
    run.handshakes().await?;
    if flags.streams > 0 {
        run.connect("first configuration").await?;
    }
    if flags.quiet > 0 {
        let mark = run.mark();
        tokio::time::sleep(Duration::from_secs(flags.quiet)).await;
        run.report.phases.push(Phase { name: "nothing changes".to_owned(), ..run.phase(&mark, 0) });
    }
    if let Some(mesh) = &mesh {
        run.endpoint_changes(mesh).await?;
        run.route_changes(mesh).await?;
    }
    if flags.reconnect {
        run.reconnect().await?;
    }
    run.report.failed_streams = run.shared.failed.load(Ordering::Relaxed);
    Ok(run.report)
}

/// Where the server has its objects from.
enum Mesh {
    Folder(PathBuf),
    Cluster(Cluster),
}

impl Mesh {
    async fn of(flags: &Flags) -> anyhow::Result<Option<Self>> {
        Ok(match (&flags.config_dir, &flags.kubeconfig) {
            (Some(folder), _) => Some(Self::Folder(folder.clone())),
            (None, Some(kubeconfig)) => Some(Self::Cluster(Cluster::connect(kubeconfig).await?)),
            (None, None) => None,
        })
    }

    async fn write(&self, flags: &Flags) -> anyhow::Result<()> {
        match self {
            Self::Folder(folder) => folder::write(folder, flags).map(|_| ()),
            Self::Cluster(cluster) => cluster.write(flags).await,
        }
    }

    /// The time at which the change was made.
    async fn change(&self, i: usize, changed: Changed, generation: Generation, flags: &Flags) -> anyhow::Result<Instant> {
        match self {
            Self::Folder(folder) => folder::change(folder, i, generation, flags),
            Self::Cluster(cluster) => cluster.change(i, changed, generation, flags).await,
        }
    }
}

struct Run {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    report: Report,
    /// What was changed in the files so far.
    files: BTreeMap<usize, Generation>,
}

/// The state of all counters when a phase begins.
struct Mark {
    at: Instant,
    usage: Option<Usage>,
    bytes: BTreeMap<ResourceType, u64>,
}

impl Run {
    fn flags(&self) -> &Flags {
        &self.shared.flags
    }

    fn mark(&self) -> Mark {
        Mark { at: Instant::now(), usage: usage(self.flags()), bytes: self.bytes() }
    }

    fn bytes(&self) -> BTreeMap<ResourceType, u64> {
        let sum = |kind| self.shared.streams.iter().map(|stream| stream.bytes(kind).load(Ordering::Relaxed)).sum();
        ResourceType::ALL.into_iter().map(|kind| (kind, sum(kind))).collect()
    }

    /// Opens connections and closes them again, some at the same time.
    async fn handshakes(&mut self) -> anyhow::Result<()> {
        let (count, parallel) = (self.flags().handshakes, self.flags().parallel.max(1));
        let Some(identities) = self.shared.identities.as_ref().filter(|_| count > 0) else { return Ok(()) };
        let connectors = (0..parallel).map(|number| identities.connector(&folder::namespace(number, self.flags())));
        let connectors = connectors.collect::<anyhow::Result<Vec<_>>>()?;
        let mark = self.mark();
        let mut tasks = JoinSet::new();
        for (number, connector) in connectors.into_iter().enumerate() {
            let (address, own) = (self.flags().ads.clone(), count / parallel + usize::from(number < count % parallel));
            tasks.spawn(async move {
                let mut each = Vec::with_capacity(own);
                for _ in 0..own {
                    let start = Instant::now();
                    tls::greet(&connector, &address).await?;
                    each.push(start.elapsed());
                }
                Ok(each)
            });
        }
        let each: anyhow::Result<Vec<Vec<Duration>>> = tasks.join_all().await.into_iter().collect();
        let each: Vec<Duration> = each?.into_iter().flatten().collect();
        let phase = Phase { name: format!("{count} connections in mutual TLS"), ..self.phase(&mark, 0) };
        self.report.phases.push(Phase { each_stream_ms: Spread::of(each), ..phase });
        Ok(())
    }

    /// Opens all streams and waits until each has everything it asks for and nothing more comes.
    async fn connect(&mut self, name: &str) -> anyhow::Result<()> {
        let mark = self.mark();
        let permits = Arc::new(Semaphore::new(self.flags().parallel.max(1)));
        for (number, counters) in self.shared.streams.iter().enumerate() {
            counters.complete.store(false, Ordering::Relaxed);
            let (shared, permits) = (self.shared.clone(), permits.clone());
            self.tasks.spawn(async move {
                let Ok(opening) = permits.acquire_owned().await else { return };
                let end = stream::run(shared, number, opening).await;
                if let Err(error) = end {
                    eprintln!("stream {number}: {error:#}");
                }
            });
        }
        let missed = self.completed().await;
        self.settled().await;
        let last = |counters: &stream::Counters| Duration::from_micros(counters.last.load(Ordering::Relaxed));
        let offset = mark.at.duration_since(self.shared.epoch);
        let each: Vec<_> = self.shared.streams.iter().map(|counters| last(counters).saturating_sub(offset)).collect();
        let seconds = each.iter().max().copied().unwrap_or_default();
        let phase = Phase { name: name.to_owned(), missed, each_stream_ms: Spread::of(each), ..self.phase(&mark, 0) };
        self.report.phases.push(Phase { seconds: seconds.as_secs_f64(), ..phase });
        Ok(())
    }

    /// Waits until all streams are complete; the number that are not in time.
    async fn completed(&self) -> usize {
        let end = Instant::now() + Duration::from_secs(self.flags().timeout);
        loop {
            let open = self.shared.streams.iter().filter(|stream| !stream.complete.load(Ordering::Relaxed)).count();
            let ended = self.shared.failed.load(Ordering::Relaxed) as usize;
            if open == 0 || ended >= self.flags().streams || Instant::now() >= end {
                return open;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing has come for a while.
    async fn settled(&self) {
        let end = Instant::now() + Duration::from_secs(self.flags().timeout);
        let mut before = self.bytes();
        while Instant::now() < end {
            tokio::time::sleep(self.flags().settle).await;
            let now = self.bytes();
            if now == before {
                return;
            }
            before = now;
        }
    }

    fn phase(&self, mark: &Mark, changes: usize) -> Phase {
        let usage = usage(self.flags());
        let per = (self.flags().streams * changes.max(1)).max(1) as f64;
        let bytes = self.bytes();
        let since = |kind: &ResourceType| bytes.get(kind).unwrap_or(&0) - mark.bytes.get(kind).unwrap_or(&0);
        let cpu = match (mark.usage, usage) {
            // A restarted server counts anew.
            (Some(before), Some(now)) if now.cpu_seconds >= before.cpu_seconds => Some(now.cpu_seconds - before.cpu_seconds),
            (_, now) => now.map(|now| now.cpu_seconds),
        };
        Phase {
            seconds: mark.at.elapsed().as_secs_f64(),
            changes,
            bytes: ResourceType::ALL.iter().map(since).sum(),
            bytes_per_stream_and_change: ResourceType::ALL.iter().map(|kind| (kind.short().to_owned(), since(kind) as f64 / per)).collect(),
            cpu_seconds: cpu,
            rss: usage.map(|usage| usage.rss),
            ..Phase::default()
        }
    }

    async fn endpoint_changes(&mut self, mesh: &Mesh) -> anyhow::Result<()> {
        let (count, seed) = (self.flags().changes, seed());
        self.changes(mesh, Changed::Endpoint, count, |k, services, flags, files| {
            let i = k * 7 % services;
            let host = folder::host(i, flags);
            let file = files.entry(i).or_default();
            file.endpoint = 1 + (seed + k) % 1_250_000;
            (i, *file, Target::new(ResourceType::Endpoint, format!("outbound|80||{host}"), host, flags.streams))
        })
        .await
    }

    async fn route_changes(&mut self, mesh: &Mesh) -> anyhow::Result<()> {
        let (count, seed) = (self.flags().virtual_service_changes, seed());
        self.changes(mesh, Changed::Route, count, |k, services, flags, files| {
            let i = k * 11 % services;
            let file = files.entry(i).or_default();
            file.route = 1 + (seed + k) % 10_000;
            (i, *file, Target::new(ResourceType::Route, "80".to_owned(), "80".to_owned(), flags.streams))
        })
        .await
    }

    /// Changes one service after the other and waits each time until all streams have received the resource.
    async fn changes<F>(&mut self, mesh: &Mesh, changed: Changed, count: usize, what: F) -> anyhow::Result<()>
    where
        F: Fn(usize, usize, &Flags, &mut BTreeMap<usize, Generation>) -> (usize, Generation, Target),
    {
        if count == 0 {
            return Ok(());
        }
        let mark = self.mark();
        let (mut each, mut last, mut missed, mut others, mut size) = (Vec::new(), Vec::new(), 0, 0, 0);
        for k in 0..count {
            let (i, generation, target) = what(k, self.flags().services.max(1), &self.shared.flags, &mut self.files);
            let target = Arc::new(target);
            *self.shared.target.write().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
            let written = mesh.change(i, changed, generation, self.flags()).await?;
            let limit = Duration::from_secs(self.flags().timeout.min(10));
            let in_time = timeout(limit, target.complete()).await.is_ok();
            // What comes beside it is counted as well.
            tokio::time::sleep(self.flags().settle).await;
            let receipts = target.receipts();
            let times: Vec<_> = receipts.iter().flatten().map(|at| at.saturating_duration_since(written)).collect();
            missed += receipts.len() - times.len();
            if in_time {
                last.extend(times.iter().max().copied());
            }
            each.extend(times);
            others += target.others.load(Ordering::Relaxed);
            size = target.size.load(Ordering::Relaxed);
        }
        *self.shared.target.write().unwrap_or_else(PoisonError::into_inner) = None;
        let phase = Phase {
            name: match changed {
                Changed::Endpoint => "endpoint change".to_owned(),
                Changed::Route => "VirtualService change".to_owned(),
            },
            each_stream_ms: Spread::of(each),
            last_stream_ms: Spread::of(last),
            missed,
            resource_bytes: size,
            other_resources: others,
            ..self.phase(&mark, count)
        };
        self.report.phases.push(phase);
        Ok(())
    }

    /// Drops all streams, restarts the server if asked to, and opens them again with what they hold.
    async fn reconnect(&mut self) -> anyhow::Result<()> {
        let first = self.report.phases.first().map_or(0, |phase| phase.bytes);
        self.tasks.shutdown().await;
        if let Some(command) = self.flags().restart_command.clone() {
            let status = tokio::process::Command::new("sh").args(["-c", &command]).status().await.context("--restart-command")?;
            anyhow::ensure!(status.success(), "the restart command failed: {status}");
        }
        self.reachable().await?;
        self.connect("reconnect").await?;
        if let Some(phase) = self.report.phases.last_mut() {
            phase.resent_percent = Some(phase.bytes as f64 * 100.0 / first.max(1) as f64);
        }
        Ok(())
    }

    async fn reachable(&self) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(self.flags().timeout);
        while let Err(error) = tokio::net::TcpStream::connect(&self.flags().ads).await {
            if Instant::now() > end {
                return Err(error).context("the server does not come back");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Two runs on one folder write different things.
fn seed() -> usize {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() as usize)
}
