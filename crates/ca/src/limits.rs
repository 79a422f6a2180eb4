//! What one peer may take of the secured port, so that the others get theirs.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Bounds for each IP address, and for all that is sent.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerLimits {
    /// Open connections.
    pub connections: usize,
    /// Requests for certificates, and authentications, in a second and for a long time.
    pub requests_per_second: f64,
    /// The same at once, after a time without any.
    pub burst: f64,
    /// The largest CSR message in bytes.
    pub request_bytes: usize,
    /// A handshake must be over by then.
    pub handshake: Duration,
    /// A request must have come in full by then; and the first of a connection.
    pub request: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            connections: 2_000,
            requests_per_second: 200.0,
            burst: 50_000.0,
            request_bytes: 64 << 10,
            handshake: Duration::from_secs(5),
            request: Duration::from_secs(10),
        }
    }
}

/// The peers that are there, or were there a moment ago. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    limits: Arc<PeerLimits>,
    peers: Arc<Mutex<HashMap<IpAddr, Peer>>>,
}

struct Peer {
    connections: usize,
    /// What is left of the burst at `at`.
    left: f64,
    at: Instant,
}

/// Above this, peers that hold nothing are forgotten.
const REMEMBERED: usize = 10_000;

/// One open connection of a peer.
pub struct OpenConnection {
    peers: Peers,
    address: IpAddr,
}

impl Peers {
    /// Nobody is there yet.
    pub fn new(limits: PeerLimits) -> Self {
        Self { limits: Arc::new(limits), peers: Arc::default() }
    }

    /// The bounds.
    pub fn limits(&self) -> &PeerLimits {
        &self.limits
    }

    /// Counts a connection for as long as the result lives; `None` if the peer has too many.
    pub fn connect(&self, address: IpAddr) -> Option<OpenConnection> {
        let address = address.to_canonical();
        let mut peers = self.lock();
        let peer = self.peer(&mut peers, address, Instant::now());
        if peer.connections >= self.limits.connections {
            return None;
        }
        peer.connections += 1;
        Some(OpenConnection { peers: self.clone(), address })
    }

    /// Whether the peer may ask for one more thing that costs a signature.
    pub fn request(&self, address: IpAddr, now: Instant) -> bool {
        let mut peers = self.lock();
        let peer = self.peer(&mut peers, address.to_canonical(), now);
        let rested = now.saturating_duration_since(peer.at).as_secs_f64();
        peer.left = (peer.left + rested * self.limits.requests_per_second).min(self.limits.burst);
        peer.at = now;
        if peer.left < 1.0 {
            return false;
        }
        peer.left -= 1.0;
        true
    }

    fn peer<'a>(&self, peers: &'a mut HashMap<IpAddr, Peer>, address: IpAddr, now: Instant) -> &'a mut Peer {
        if peers.len() >= REMEMBERED && !peers.contains_key(&address) {
            let full = |peer: &Peer| {
                let rested = now.saturating_duration_since(peer.at).as_secs_f64();
                peer.left + rested * self.limits.requests_per_second >= self.limits.burst
            };
            peers.retain(|_, peer| peer.connections > 0 || !full(peer));
        }
        peers.entry(address).or_insert(Peer { connections: 0, left: self.limits.burst, at: now })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(peer) = self.peers.lock().get_mut(&self.address) {
            peer.connections = peer.connections.saturating_sub(1);
        }
    }
}
