//! The loop behind one collection: list, watch, resume; start over where the server has forgotten.

use super::{
    Notice,
    backoff::Backoff,
    message::{Line, Lines, read_line, read_page, version_of},
    target::Target,
};
use crate::metrics::Health;
use bytes::Bytes;
use http_body_util::BodyExt;
use kube::{Client, client::Body};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The server ends a watch after this time; then it is taken up again. Not all at once: see [`Follow::seconds`].
const WATCH: Duration = Duration::from_secs(280);
/// Bookmarks come every minute. A connection that has said nothing for longer is taken for dead.
const SILENCE: Duration = Duration::from_secs(180);
/// A list is answered within this time, or asked for again.
const LIST: Duration = Duration::from_secs(60);
/// A watch that ends sooner than this did not work, even if the server ended it in good order.
const SHORT: Duration = Duration::from_secs(2);

/// Why a watch stopped.
enum Stop {
    /// Nobody listens to us.
    Closed,
    /// The server ended it, as it does from time to time.
    Ended,
    /// The version that we know is forgotten (410).
    Expired(String),
    /// The server does not stream this list.
    NoStreaming(String),
    /// Anything else; after a while it may work again.
    Failed(String),
}

/// Follows `target` until `out` is closed. Begins with a list, whatever was sent to `out` before.
pub async fn follow(client: Client, target: Target, health: Arc<Health>, out: mpsc::Sender<Vec<Notice>>) {
    Follow { client, target, health, out, position: None, streams: true, pages: true }.run().await;
}

struct Follow {
    client: Client,
    target: Target,
    health: Arc<Health>,
    out: mpsc::Sender<Vec<Notice>>,
    /// The version up to which everything has been said; `None` before the list is complete.
    position: Option<String>,
    /// Whether the next list is asked for as a stream.
    streams: bool,
    /// Whether the next list that is no stream is asked for in pages.
    pages: bool,
}

impl Follow {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let out = self.out.clone();
        loop {
            let started = Instant::now();
            let known = self.position.clone();
            let result = tokio::select! {
                result = self.attempt() => result,
                () = out.closed() => return,
            };
            if self.position != known && self.position.is_some() {
                backoff.reset();
            }
            let wait = match result {
                Stop::Closed => return,
                Stop::Ended if started.elapsed() > SHORT => Duration::ZERO,
                Stop::Ended => backoff.next(),
                Stop::Expired(message) => {
                    tracing::info!(watch = self.target.name, "listed anew, since the API server has forgotten where we were: {message}");
                    self.health.failed();
                    self.position = None;
                    backoff.next()
                }
                Stop::NoStreaming(message) => {
                    tracing::debug!(
                        watch = self.target.name,
                        "listed page by page, since the API server does not stream the list: {message}"
                    );
                    self.streams = false;
                    Duration::ZERO
                }
                Stop::Failed(message) => {
                    let wait = backoff.next();
                    self.health.failed();
                    tracing::warn!(watch = self.target.name, "the watch broke and is taken up in {} ms: {message}", wait.as_millis());
                    wait
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = out.closed() => return,
            }
        }
    }

    /// One list or watch, up to its end.
    async fn attempt(&mut self) -> Stop {
        let ended = match self.position.clone() {
            Some(version) => self.watch(self.target.watch_from(&version, self.seconds()), false).await,
            None if self.streams => self.watch(self.target.watch_from_start(self.seconds()), true).await,
            None => match self.list().await {
                Ok(()) => return self.resume().await,
                Err(stop) => Err(stop),
            },
        };
        ended.err().unwrap_or(Stop::Ended)
    }

    async fn resume(&mut self) -> Stop {
        let version = self.position.clone().unwrap_or_default();
        self.watch(self.target.watch_from(&version, self.seconds()), false).await.err().unwrap_or(Stop::Ended)
    }

    /// How long this watch shall last: watches that began together shall not end together.
    fn seconds(&self) -> u64 {
        let spread = self.target.name.bytes().map(u64::from).sum::<u64>() % 40;
        WATCH.as_secs() + spread
    }

    async fn list(&mut self) -> Result<(), Stop> {
        self.send(vec![Notice::ListBegins]).await?;
        let mut token = String::new();
        loop {
            let request = self.target.list(&token, self.pages);
            let text = tokio::time::timeout(LIST, async { self.open(request).await?.collect().await.map_err(failed) });
            let text = match text.await {
                Ok(Err(Stop::Expired(message))) => {
                    // The rest of the list is forgotten; all at once cannot be.
                    self.pages = false;
                    return Err(Stop::Expired(message));
                }
                Ok(text) => text?.to_bytes(),
                Err(_) => return Err(Stop::Failed(format!("no answer to a list within {} s", LIST.as_secs()))),
            };
            self.health.heard();
            let page = read_page(&text).map_err(Stop::Failed)?;
            self.send(page.items.into_iter().map(Notice::Listed).collect()).await?;
            if page.token.is_empty() {
                self.send(vec![Notice::ListEnds]).await?;
                self.position = Some(page.resource_version);
                (self.pages, self.streams) = (true, true);
                return Ok(());
            }
            token = page.token;
        }
    }

    async fn watch(&mut self, request: Result<http::Request<Vec<u8>>, http::Error>, mut listing: bool) -> Result<(), Stop> {
        if listing {
            self.send(vec![Notice::ListBegins]).await?;
        }
        let opened = tokio::time::timeout(LIST, self.open(request)).await;
        let opened = opened.unwrap_or_else(|_| Err(Stop::Failed(format!("no answer within {} s", LIST.as_secs()))));
        let mut body = opened.map_err(|stop| if listing { stop } else { stop.without_streaming() })?;
        self.health.heard();
        let mut lines = Lines::default();
        loop {
            let frame = tokio::time::timeout(SILENCE, body.frame()).await;
            let frame = match frame.map_err(|_| Stop::Failed(format!("nothing heard for {} s", SILENCE.as_secs())))? {
                Some(frame) => frame.map_err(failed)?,
                None if listing => return Err(Stop::Failed("the list was cut off".to_owned())),
                None => return Ok(()),
            };
            self.health.heard();
            let Ok(chunk) = frame.into_data() else { continue };
            self.take(lines.push(chunk), &mut listing).await?;
        }
    }

    /// Passes the lines of a chunk on as one batch, and remembers how far that is.
    async fn take(&mut self, lines: Vec<Bytes>, listing: &mut bool) -> Result<(), Stop> {
        let mut notices = Vec::with_capacity(lines.len());
        let mut position = None;
        let mut last = None;
        let mut stop = None;
        for line in &lines {
            match read_line(line) {
                Ok(Line::Added(object)) if *listing => notices.push(Notice::Listed(object)),
                Ok(Line::Added(object) | Line::Modified(object)) => {
                    last = Some(object.clone());
                    notices.push(Notice::Changed(object));
                }
                Ok(Line::Deleted(object)) => {
                    last = Some(object.clone());
                    notices.push(Notice::Deleted(object));
                }
                Ok(Line::Bookmark { resource_version, list_ends }) => {
                    if *listing && list_ends {
                        *listing = false;
                        notices.push(Notice::ListEnds);
                    }
                    if !*listing {
                        (position, last) = (Some(resource_version), None);
                    }
                }
                Ok(Line::Error { code: 410, message }) => stop = Some(Stop::Expired(message)),
                Ok(Line::Error { code: 400 | 422 | 500, message }) if *listing => stop = Some(Stop::NoStreaming(message)),
                Ok(Line::Error { code, message }) => stop = Some(Stop::Failed(format!("{code}: {message}"))),
                Err(message) => stop = Some(Stop::Failed(message)),
            }
            if stop.is_some() {
                break;
            }
        }
        if !notices.is_empty() {
            self.send(notices).await?;
        }
        // Only the last object of a chunk is asked for its version.
        let version = last.map(|object| version_of(&object)).filter(|version| !version.is_empty());
        self.position = version.or(position).or_else(|| self.position.take());
        stop.map_or(Ok(()), Err)
    }

    async fn open(&self, request: Result<http::Request<Vec<u8>>, http::Error>) -> Result<Body, Stop> {
        let request = request.map_err(failed)?;
        let response = self.client.send(request.map(Body::from)).await.map_err(failed)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let text = response.into_body().collect().await.map_err(failed)?.to_bytes();
        let message = serde_json::from_slice::<kube::core::Status>(&text)
            .map_or_else(|_| String::from_utf8_lossy(&text).trim().to_owned(), |status| status.message);
        Err(match status.as_u16() {
            410 => Stop::Expired(message),
            // The feature may be off (422), unknown (400) or without support of an old etcd (500).
            400 | 422 | 500 => Stop::NoStreaming(message),
            403 => Stop::Failed(format!("{message}; allow list and watch to the control plane's service account")),
            code => Stop::Failed(format!("{code}: {message}")),
        })
    }

    async fn send(&self, notices: Vec<Notice>) -> Result<(), Stop> {
        self.out.send(notices).await.map_err(|_| Stop::Closed)
    }
}

impl Stop {
    /// What only a streaming list can be told is an ordinary failure of anything else.
    fn without_streaming(self) -> Self {
        match self {
            Self::NoStreaming(message) => Self::Failed(message),
            other => other,
        }
    }
}

/// An error with its causes, which say more than it does itself.
fn failed(error: impl std::error::Error) -> Stop {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    Stop::Failed(text)
}
