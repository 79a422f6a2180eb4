//! PeerAuthentication (Istio's `ValidatePeerAuthentication`).

use crate::{
    report::{Field, Report},
    selector,
};
use istio_api::security::peer_authentication::PeerAuthentication;

pub(crate) fn validate(report: &mut Report, policy: &PeerAuthentication) {
    let at = Field::Root("spec");
    selector::workload_selector(report, &at.key("selector"), policy.selector.as_ref());
    let ports = at.key("portLevelMtls");
    let selects = policy.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    if !policy.port_level_mtls.is_empty() && !selects {
        report.error(&ports, "mesh/namespace peer authentication cannot have port level mTLS; add a selector with labels");
    }
    for number in policy.port_level_mtls.keys().filter(|number| !(1..=65535).contains(*number)) {
        report.error(&ports.key(&number.to_string()), "port must be in range 1..65535");
    }
}
