//! Retry policies (Istio's `networking/core/route/retry`).

use istio_api::networking::virtual_service::HttpRetry;
use xds_api::{
    Wire,
    envoy::{
        config::route::v3::{
            RetryPolicy,
            retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority, retry_host_predicate, retry_priority},
        },
        extensions::retry::{
            host::previous_hosts::v3::PreviousHostsPredicate, priority::previous_priorities::v3::PreviousPrioritiesConfig,
        },
    },
};

const DEFAULT_RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const STATUS_CODES: &str = "retriable-status-codes";

/// The policy of an outbound route; `None` if retries are turned off. `hashed`: the endpoint is chosen by a hash, which a
/// retry on another endpoint would defeat.
pub(super) fn retry_policy(wanted: Option<&HttpRetry>, hashed: bool) -> Option<RetryPolicy> {
    let mut policy = RetryPolicy {
        retry_on: DEFAULT_RETRY_ON.to_string(),
        num_retries: Some(2.into()),
        retry_host_predicate: if hashed { Vec::new() } else { vec![previous_hosts()] },
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    };
    let Some(wanted) = wanted else { return Some(policy) };
    apply(&mut policy, wanted)?;
    if let Some(ignore) = wanted.retry_ignore_previous_hosts {
        policy.retry_host_predicate = if ignore { vec![previous_hosts()] } else { Vec::new() };
    }
    if wanted.retry_remote_localities == Some(true) {
        policy.retry_priority = Some(previous_priorities());
    }
    Some(policy)
}

/// The policy of an inbound route: only requests that the application has not seen are repeated.
pub(super) fn inbound_retry_policy(wanted: Option<&HttpRetry>) -> Option<RetryPolicy> {
    let mut policy = RetryPolicy { retry_on: "reset-before-request".to_string(), num_retries: Some(2.into()), ..Default::default() };
    if let Some(wanted) = wanted {
        apply(&mut policy, wanted)?;
    }
    Some(policy)
}

/// The part of a user's policy that both directions share; `None` if it turns retries off.
fn apply(policy: &mut RetryPolicy, wanted: &HttpRetry) -> Option<()> {
    let attempts = u32::try_from(wanted.attempts).ok().filter(|attempts| *attempts > 0)?;
    policy.num_retries = Some(attempts.into());
    if !wanted.retry_on.is_empty() {
        (policy.retry_on, policy.retriable_status_codes) = conditions(&wanted.retry_on);
    }
    policy.per_try_timeout = wanted.per_try_timeout.map(|timeout| timeout.0.into());
    policy.retry_back_off = wanted.backoff.map(|interval| RetryBackOff { base_interval: Some(interval.0.into()), ..Default::default() });
    Some(())
}

/// Splits a list of conditions and status codes. Codes work only under the condition of their own, which is added.
fn conditions(retry_on: &str) -> (String, Vec<u32>) {
    let mut codes = Vec::new();
    let mut names = Vec::new();
    for part in retry_on.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<u32>() {
            Ok(code) if (100..=599).contains(&code) => codes.push(code),
            _ => names.push(part),
        }
    }
    if !codes.is_empty() && !names.contains(&STATUS_CODES) {
        names.push(STATUS_CODES);
    }
    (names.join(","), codes)
}

/// Not the hosts that were tried already.
fn previous_hosts() -> RetryHostPredicate {
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_string(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(PreviousHostsPredicate {}.to_any())),
    }
}

/// Another priority, which is another locality, for every second attempt.
fn previous_priorities() -> RetryPriority {
    RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_string(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(PreviousPrioritiesConfig { update_frequency: 2 }.to_any())),
    }
}
