//! Injected faults (Istio's `TranslateFault`).

use super::percent::{hundredths, millionths};
use base::GRPC_STATUSES;
use istio_api::networking::virtual_service::{Abort, AbortError, Delay, DelayType, HttpFaultInjection};
use xds_api::envoy::extensions::filters::{
    common::fault::v3::{FaultDelay, fault_delay::FaultDelaySecifier},
    http::fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType},
};

/// The configuration of the fault filter for one route; `None` if nothing is left of the fault.
pub(super) fn fault(fault: &HttpFaultInjection) -> Option<HttpFault> {
    let delay = fault.delay.as_ref().and_then(delay);
    let abort = fault.abort.as_ref().and_then(abort);
    (delay.is_some() || abort.is_some()).then(|| HttpFault { delay, abort, ..Default::default() })
}

/// Exponential delays do not exist in Envoy.
fn delay(delay: &Delay) -> Option<FaultDelay> {
    let Some(DelayType::Fixed(duration)) = delay.delay_type() else { return None };
    let whole_percents = || hundredths(u32::try_from(delay.percent).unwrap_or(0));
    Some(FaultDelay {
        percentage: Some(delay.percentage.as_ref().map_or_else(whole_percents, millionths)),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration.0.into())),
    })
}

/// Without a percentage no request is aborted: Envoy takes a missing share for 0.
fn abort(abort: &Abort) -> Option<FaultAbort> {
    let error = match abort.error_type()? {
        AbortError::HttpStatus(status) => ErrorType::HttpStatus(u32::try_from(*status).ok()?),
        AbortError::GrpcStatus(name) => ErrorType::GrpcStatus(grpc_status(name)?),
        AbortError::Http2Error(_) => return None,
    };
    Some(FaultAbort { percentage: abort.percentage.as_ref().map(millionths), error_type: Some(error), ..Default::default() })
}

fn grpc_status(name: &str) -> Option<u32> {
    GRPC_STATUSES.iter().zip(0..).find_map(|(known, number)| (*known == name).then_some(number))
}
