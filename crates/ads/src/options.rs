//! The settings of the server, with the defaults that istiod uses.

use std::time::Duration;

/// Settings of [`crate::Server`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server registers its metrics.
    pub registry: prometheus::Registry,
    /// The number of streams that may have large un-acknowledged pushes at a time (Istio's `PILOT_PUSH_THROTTLE`).
    /// Bounds socket memory, which no RSS shows.
    pub push_permits: usize,
    /// The largest request in bytes. A delta reconnect lists every name and version that the proxy holds.
    pub request_bytes: usize,
    /// What one peer may make us hold.
    pub limits: Limits,
    /// How long one thing may wait for another.
    pub waits: Waits,
    /// `SO_SNDBUF` of every connection, in bytes. The kernel's own limit is 4 MB a socket.
    pub socket_send_buffer: usize,
    /// The number of bytes that HTTP/2 may buffer per stream beyond what the socket takes.
    pub http2_send_buffer: usize,
    /// HTTP/2 pings after this much silence; `None` never pings.
    pub keepalive: Option<Duration>,
    /// The answer to a ping must come within this time, or the connection ends.
    pub keepalive_timeout: Duration,
    /// Goes into `control_plane.identifier` of every response; empty leaves it out.
    pub control_plane: String,
}

/// What one peer may make us hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Streams on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// Streams from one IP address.
    pub streams_per_address: usize,
    /// Explicit names that one stream subscribes to, over all types.
    pub names_per_stream: usize,
    /// The bytes of those names.
    pub name_bytes_per_stream: usize,
}

/// How long one thing may wait for another; each is counted when it runs out.
#[derive(Clone, Debug)]
pub struct Waits {
    /// A response for the acknowledgement of what it refers to, and a removal for what no longer refers to it.
    pub order: Duration,
    /// A push permit for the acknowledgement of what was sent under it.
    pub permit: Duration,
    /// A removal found at a reconnect, for the proxy's first request for what might refer to the removed.
    pub reconnect: Duration,
    /// The first request of a stream.
    pub first_request: Duration,
    /// A peer that takes nothing of what is sent to it.
    pub write: Duration,
    /// Open connections, at shutdown.
    pub shutdown: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            registry: prometheus::Registry::new(),
            push_permits: 100,
            request_bytes: 64 << 20,
            limits: Limits::default(),
            waits: Waits::default(),
            socket_send_buffer: 128 << 10,
            http2_send_buffer: 64 << 10,
            keepalive: Some(Duration::from_secs(30)),
            keepalive_timeout: Duration::from_secs(10),
            control_plane: String::new(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { streams_per_connection: 1_000, streams_per_address: 20_000, names_per_stream: 200_000, name_bytes_per_stream: 32 << 20 }
    }
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            order: Duration::from_secs(1),
            permit: Duration::from_secs(1),
            reconnect: Duration::from_millis(200),
            first_request: Duration::from_secs(30),
            write: Duration::from_secs(300),
            shutdown: Duration::from_secs(5),
        }
    }
}
