//! The driver of one stream: carries requests, views and time to the state machine, and its actions to the peer.

use crate::{
    connection::{Action, Connection, ConnectionSettings, Protocol, ProtocolError, Request, Response},
    discovery::{ConnectError, Peer, Rejection, SecretAccess},
    grpc::{Message, Outgoing},
    server::Shared,
    status::{Entry, metadata},
    virtual_hosts::takes_virtual_hosts,
};
use futures::{Stream, StreamExt};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    time::SystemTime,
};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::Status;
use xds_api::envoy::config::core::v3::Node;
use xds_wire::ResourceType;

/// Serves one stream until it ends, and tells the peer why.
pub(crate) async fn serve<S>(shared: Arc<Shared>, protocol: Protocol, peer: Peer, requests: S, out: mpsc::Sender<Outgoing>)
where
    S: Stream<Item = Result<Request, Status>> + Send,
{
    let write_wait = shared.options.waits.write;
    let end = {
        let requests = pin!(requests);
        let serving = run(&shared, protocol, peer, requests, &out);
        tokio::select! {
            end = serving => end,
            () = shared.down() => Err(Status::unavailable("the control plane is shutting down")),
            () = out.closed() => return,
        }
    };
    let status = end.err().unwrap_or_else(|| Status::ok(""));
    // Whether the peer still hears it no longer matters.
    let _ = timeout(write_wait, out.send(Outgoing::End(status))).await;
}

async fn run<S>(
    shared: &Shared,
    protocol: Protocol,
    peer: Peer,
    mut requests: Pin<&mut S>,
    out: &mpsc::Sender<Outgoing>,
) -> Result<(), Status>
where
    S: Stream<Item = Result<Request, Status>> + Send,
{
    let first = timeout(shared.options.waits.first_request, requests.next());
    let Some(mut first) = first.await.map_err(|_| Status::deadline_exceeded("no request has come"))?.transpose()? else {
        return Ok(());
    };
    let Some(node) = first.take_node() else {
        shared.metrics.refused_streams.with_label_values(&["no_node"]).inc();
        return Err(Status::invalid_argument("the first request of a stream must name its node"));
    };
    let subscription = shared.discovery.connect(node.clone(), peer.clone()).await.map_err(|error| refusal(shared, error))?;
    let known = peer.identity.is_some() || peer.address.ip().is_loopback();
    let mut view = subscription.view;
    let newest = view.borrow_and_update().clone();
    let number = shared.next_stream();
    let settings = ConnectionSettings {
        protocol,
        virtual_hosts: takes_virtual_hosts(&node, protocol),
        secrets: if known { subscription.secrets } else { SecretAccess::None },
        nonce_prefix: format!("{:x}.{number:x}", shared.epoch),
        limits: shared.options.limits.clone(),
        waits: shared.options.waits.clone(),
    };
    let entry = Arc::new(Entry {
        id: format!("{}-{number}", node.id),
        node: Arc::new(without_extensions(node)),
        peer,
        connected_at: SystemTime::now(),
        connection: Mutex::new(Connection::new(settings, newest, Instant::now().into_std())),
    });
    let _registered = shared.connections.add(number, entry.clone());
    let mut driver = Driver { shared, entry, out, permit: None, asking: None, refused: BTreeMap::new() };
    let _counted = driver.count();
    driver.request(first).await?;
    driver.run(requests, view).await
}

/// What one stream needs besides its state.
struct Driver<'a> {
    shared: &'a Shared,
    entry: Arc<Entry>,
    out: &'a mpsc::Sender<Outgoing>,
    permit: Option<OwnedSemaphorePermit>,
    asking: Option<Asking>,
    /// The codes of refusals that are counted in gauges.
    refused: BTreeMap<ResourceType, i32>,
}

/// Keeps its place in the queue for permits while other things happen.
type Asking = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl Driver<'_> {
    async fn run<S>(&mut self, mut requests: Pin<&mut S>, mut view: watch::Receiver<Arc<xds_wire::View>>) -> Result<(), Status>
    where
        S: Stream<Item = Result<Request, Status>> + Send,
    {
        loop {
            let deadline = self.entry.lock().deadline();
            tokio::select! {
                request = requests.next() => match request.transpose()? {
                    Some(request) => self.request(request).await?,
                    None => return Ok(()),
                },
                changed = view.changed() => {
                    if changed.is_err() {
                        self.shared.metrics.internal_errors.inc();
                        return Err(Status::unavailable("the control plane no longer serves this proxy"));
                    }
                    let newest = view.borrow_and_update().clone();
                    let actions = self.entry.lock().on_view(newest, now());
                    self.act(actions).await?;
                }
                permit = granted(&mut self.asking) => {
                    self.asking = None;
                    self.permit = permit;
                    let actions = self.entry.lock().on_permit(now());
                    self.act(actions).await?;
                }
                () = sleep_until(deadline.map_or_else(Instant::now, Instant::from_std)), if deadline.is_some() => {
                    let actions = self.entry.lock().on_tick(now());
                    self.act(actions).await?;
                }
            }
        }
    }

    async fn request(&mut self, request: Request) -> Result<(), Status> {
        let actions = self.entry.lock().on_request(request, now());
        match actions {
            Ok(actions) => self.act(actions).await,
            Err(error) => Err(match error {
                ProtocolError::TooManyNames => {
                    self.shared.metrics.refused_streams.with_label_values(&["too_many_names"]).inc();
                    Status::resource_exhausted(error.to_string())
                }
                ProtocolError::MixedProtocols => Status::invalid_argument(error.to_string()),
            }),
        }
    }

    async fn act(&mut self, actions: Vec<Action>) -> Result<(), Status> {
        for action in actions {
            match action {
                Action::Send(response) => self.send(response).await?,
                Action::AcquirePermit => self.asking = Some(Box::pin(self.shared.permits.clone().acquire_owned())),
                Action::ReleasePermit => self.permit = None,
                Action::Rejected { kind, resources, origins, code, message } => {
                    let proxy: Arc<str> = Arc::from(self.entry.node.id.as_str());
                    tracing::warn!(proxy = %proxy, r#type = kind.short(), %message, "a proxy has refused its configuration");
                    self.forget_refusal(kind);
                    self.shared.metrics.rejected(kind, &proxy, code);
                    self.refused.insert(kind, code);
                    self.shared.discovery.rejected(Rejection { proxy, kind, resources, origins, message });
                }
                Action::Recovered(kind) => {
                    self.forget_refusal(kind);
                    self.shared.discovery.recovered(&self.entry.node.id, kind);
                }
                Action::Accepted(kind, version) => self.shared.discovery.accepted(kind, version),
                Action::Observe(observation) => self.shared.metrics.observe(observation),
            }
        }
        Ok(())
    }

    async fn send(&mut self, response: Response) -> Result<(), Status> {
        let metrics = &self.shared.metrics;
        let kind = response.kind.map_or("unknown", ResourceType::short);
        let (began, resources) = (std::time::Instant::now(), response.resources.len() as u64);
        tracing::debug!(connection = %self.entry.id, r#type = kind, nonce = %response.nonce, resources, removed = response.removed.len(), "push");
        let message =
            Message::new(response, &self.shared.options.control_plane, &self.shared.responses, Some((metrics.send_time.clone(), began)));
        metrics.pushes.with_label_values(&[kind]).inc();
        metrics.resources_sent.with_label_values(&[kind]).inc_by(resources);
        metrics.config_size.with_label_values(&[kind]).observe(message.length as f64);
        let sent = timeout(self.shared.options.waits.write, self.out.send(Outgoing::Message(message))).await;
        metrics.push_time.with_label_values(&[kind]).observe(began.elapsed().as_secs_f64());
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the peer is gone")),
            Err(_) => {
                metrics.write_timeouts.inc();
                Err(Status::deadline_exceeded("the peer takes nothing of what is sent to it"))
            }
        }
    }

    /// Counts the stream for as long as the result lives.
    fn count(&self) -> CountedConnection {
        let version = metadata(&self.entry.node, "ISTIO_VERSION");
        let version = if version.is_empty() { "unknown" } else { &version };
        let gauge = self.shared.metrics.connected.with_label_values(&[version]);
        gauge.inc();
        CountedConnection(gauge)
    }

    fn forget_refusal(&mut self, kind: ResourceType) {
        if let Some(code) = self.refused.remove(&kind) {
            self.shared.metrics.recovered(kind, &self.entry.node.id, code);
        }
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        for (kind, code) in std::mem::take(&mut self.refused) {
            self.shared.metrics.recovered(kind, &self.entry.node.id, code);
        }
    }
}

struct CountedConnection(prometheus::IntGauge);

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Resolves when the permit that was asked for is there; never if none was. The semaphore is never closed.
async fn granted(asking: &mut Option<Asking>) -> Option<OwnedSemaphorePermit> {
    match asking {
        Some(asking) => asking.await.ok(),
        None => std::future::pending().await,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn refusal(shared: &Shared, error: ConnectError) -> Status {
    let text = error.to_string();
    let (reason, status) = match error {
        ConnectError::InvalidNode(_) => ("invalid_node", Status::invalid_argument(text)),
        ConnectError::NotAuthorized(_) => ("not_authorized", Status::permission_denied(text)),
        ConnectError::NotReady(_) => ("not_ready", Status::unavailable(text)),
    };
    shared.metrics.refused_streams.with_label_values(&[reason]).inc();
    status
}

fn without_extensions(mut node: Node) -> Node {
    node.extensions = Vec::new();
    node
}

impl Request {
    fn take_node(&mut self) -> Option<Node> {
        match self {
            Self::Delta(request) => request.node.take(),
            Self::StateOfTheWorld(request) => request.node.take(),
        }
    }
}
