//! Shares of requests.

use istio_api::networking::virtual_service::Percent;
use xds_api::envoy::{
    config::core::v3::RuntimeFractionalPercent,
    r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
};

/// Percents with decimal places; what is finer than a millionth is cut. Values outside 0 to 100 become the nearest limit.
pub(super) fn millionths(percent: &Percent) -> FractionalPercent {
    let numerator = (percent.value.clamp(0.0, 100.0) * 10_000.0) as u32;
    FractionalPercent { numerator, denominator: DenominatorType::Million.into() }
}

/// Whole percents.
pub(super) fn hundredths(percent: u32) -> FractionalPercent {
    FractionalPercent { numerator: percent.min(100), denominator: DenominatorType::Hundred.into() }
}

/// A share that no runtime key overrides.
pub(super) fn fixed(share: FractionalPercent) -> RuntimeFractionalPercent {
    RuntimeFractionalPercent { default_value: Some(share), ..Default::default() }
}
