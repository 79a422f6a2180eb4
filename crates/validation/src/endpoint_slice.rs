//! EndpointSlice, where it comes from a file and no API server has looked at it. Nothing here is an error: the endpoints that
//! are good are used.

use crate::report::{Field, Report, each};
use istio_api::kubernetes::endpoint_slice::EndpointSlice;
use std::net::IpAddr;

/// The kind of addresses that are names, of which Kubernetes' own proxy makes nothing either.
const NAMES: &str = "FQDN";

pub(crate) fn validate(report: &mut Report, slice: &EndpointSlice) {
    let root = Field::Root("endpoints");
    if slice.address_type == NAMES {
        report
            .warning(&Field::Root("addressType"), "endpoints with names are not used; list addresses, or name the host in a ServiceEntry");
        return;
    }
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let (at, list) = (root.index(index), "addresses");
        if endpoint.addresses.is_empty() {
            report.warning(&at.key(list), "an endpoint without address is not used; give it one");
        }
        each(report, &at, list, &endpoint.addresses, |report, at, address| {
            if address.parse::<IpAddr>().is_err() {
                report.warning(at, format!("{address:?} is not an IP address, so that the endpoint is not used; give its address"));
            }
        });
    }
    let ports = Field::Root("ports");
    for (index, number) in slice.ports.iter().enumerate().filter_map(|(index, port)| Some((index, port.port?))) {
        if !(1..=65535).contains(&number) {
            report.warning(&ports.index(index).key("port"), format!("{number} is not a port, so that no endpoint is used for it"));
        }
    }
}
