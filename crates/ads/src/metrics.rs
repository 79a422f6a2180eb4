//! The metrics of the server: under Istio's names where Istio has the thing, and ours beside them.

use crate::connection::Observation;
use prometheus::{Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};
use xds_wire::ResourceType;

/// Handles to all metrics of the server.
pub(crate) struct Metrics {
    pub connected: IntGaugeVec,
    pub pushes: IntCounterVec,
    pub push_time: HistogramVec,
    pub send_time: Histogram,
    pub convergence_time: Histogram,
    pub config_size: HistogramVec,
    pub internal_errors: IntCounter,
    pub write_timeouts: IntCounter,
    pub resources_sent: IntCounterVec,
    pub refused_streams: IntCounterVec,
    expired_nonces: IntCounterVec,
    total_rejects: IntCounterVec,
    rejects: [(ResourceType, IntGaugeVec); 4],
    order_timeouts: IntCounterVec,
    permit_timeouts: IntCounter,
    secret_refusals: IntCounter,
    unknown_types: IntCounter,
}

/// Buckets of Istio's push metrics, in seconds.
const SECONDS: &[f64] = &[0.001, 0.01, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];
/// Buckets of Istio's `pilot_xds_config_size_bytes`.
const SIZES: &[f64] = &[1.0, 10_000.0, 1_000_000.0, 4_000_000.0, 10_000_000.0, 40_000_000.0];

impl Metrics {
    /// Registers everything; an error if a name is taken.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let reject = |kind: ResourceType| {
            let name = format!("pilot_xds_{}_reject", kind.short());
            let help = format!("Proxies that refuse the {} configuration they were sent last.", kind.short());
            registered(registry, IntGaugeVec::new(Opts::new(name, help), &["node", "err"])).map(|gauge| (kind, gauge))
        };
        Ok(Self {
            connected: registered(
                registry,
                IntGaugeVec::new(Opts::new("pilot_xds", "Connected proxies, by their version."), &["version"]),
            )?,
            pushes: counters(registry, "pilot_xds_pushes", "Responses sent.", "type")?,
            push_time: registered(
                registry,
                HistogramVec::new(
                    HistogramOpts::new("pilot_xds_push_time", "Seconds to encode and queue a response.").buckets(SECONDS.to_vec()),
                    &["type"],
                ),
            )?,
            send_time: histogram(registry, "pilot_xds_send_time", "Seconds until the transport has taken all of a response.")?,
            convergence_time: histogram(
                registry,
                "pilot_proxy_convergence_time",
                "Seconds between a new view and its last acknowledgement.",
            )?,
            config_size: registered(
                registry,
                HistogramVec::new(
                    HistogramOpts::new("pilot_xds_config_size_bytes", "Bytes of a response.").buckets(SIZES.to_vec()),
                    &["type"],
                ),
            )?,
            internal_errors: counter(registry, "pilot_total_xds_internal_errors", "Streams that ended because of an error of ours.")?,
            write_timeouts: counter(
                registry,
                "pilot_xds_write_timeout",
                "Streams that ended because the proxy took nothing for too long.",
            )?,
            resources_sent: counters(registry, "pilot_xds_resources_sent", "Resources in the responses sent.", "type")?,
            refused_streams: counters(
                registry,
                "pilot_xds_refused_streams",
                "Streams that were ended because of what the peer did.",
                "reason",
            )?,
            expired_nonces: counters(
                registry,
                "pilot_xds_expired_nonce",
                "Requests that answer a response which is not the last.",
                "type",
            )?,
            total_rejects: counters(registry, "pilot_total_xds_rejects", "Responses that proxies have refused.", "type")?,
            rejects: [
                reject(ResourceType::Cluster)?,
                reject(ResourceType::Endpoint)?,
                reject(ResourceType::Listener)?,
                reject(ResourceType::Route)?,
            ],
            order_timeouts: counters(
                registry,
                "pilot_xds_order_wait_timeouts",
                "Responses that went out before what they refer to was acknowledged.",
                "type",
            )?,
            permit_timeouts: counter(registry, "pilot_xds_permit_timeouts", "Push permits taken back before the acknowledgement.")?,
            secret_refusals: counter(registry, "pilot_xds_secret_refusals", "Requests for secrets by peers that must not have them.")?,
            unknown_types: counter(registry, "pilot_xds_unknown_type_requests", "Requests for types that are not served.")?,
        })
    }

    /// Counts what a state machine reports.
    pub fn observe(&self, observation: Observation) {
        match observation {
            Observation::ExpiredNonce(kind) => self.expired_nonces.with_label_values(&[kind.short()]).inc(),
            Observation::OrderWaitRanOut(kind) => self.order_timeouts.with_label_values(&[kind.short()]).inc(),
            Observation::PermitRanOut => self.permit_timeouts.inc(),
            Observation::SecretsRefused => self.secret_refusals.inc(),
            Observation::UnknownType => self.unknown_types.inc(),
            Observation::Converged(after) => self.convergence_time.observe(after.as_secs_f64()),
        }
    }

    /// A proxy has refused a response.
    pub fn rejected(&self, kind: ResourceType, node: &str, code: i32) {
        self.total_rejects.with_label_values(&[kind.short()]).inc();
        if let Some(gauge) = self.reject_gauge(kind) {
            gauge.with_label_values(&[node, &code.to_string()]).inc();
        }
    }

    /// A proxy no longer refuses what it is sent, or is gone; the series of its node must not stay for ever.
    pub fn recovered(&self, kind: ResourceType, node: &str, code: i32) {
        if let Some(gauge) = self.reject_gauge(kind) {
            // It is missing if the node was removed by another stream of the same proxy, which is what is wanted.
            let _ = gauge.remove_label_values(&[node, &code.to_string()]);
        }
    }

    fn reject_gauge(&self, kind: ResourceType) -> Option<&IntGaugeVec> {
        self.rejects.iter().find(|(of, _)| *of == kind).map(|(_, gauge)| gauge)
    }
}

fn registered<C: Collector + Clone + 'static>(registry: &Registry, collector: Result<C, Error>) -> Result<C, Error> {
    let collector = collector?;
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, Error> {
    registered(registry, IntCounter::new(name, help))
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntCounterVec, Error> {
    registered(registry, IntCounterVec::new(Opts::new(name, help), &[label]))
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Result<Histogram, Error> {
    registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())))
}
