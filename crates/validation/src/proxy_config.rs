//! ProxyConfig (Istio's `ValidateProxyConfig`).

use crate::{
    report::{Field, Report},
    selector,
};
use istio_api::networking::proxy_config::ProxyConfig;

pub(crate) fn validate(report: &mut Report, config: &ProxyConfig) {
    let at = Field::Root("spec");
    selector::workload_selector(report, &at.key("selector"), config.selector.as_ref());
    if config.concurrency.is_some_and(|concurrency| concurrency < 0) {
        report.error(&at.key("concurrency"), "concurrency must be greater than or equal to 0");
    }
    if let Some(image) = &config.image
        && !matches!(image.image_type.as_str(), "" | "default" | "debug" | "distroless")
    {
        report.warning(
            &at.key("image").key("imageType"),
            format!("imageType {:?} is not one of default, debug, distroless", image.image_type),
        );
    }
}
