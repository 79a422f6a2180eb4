//! The one table that orders HTTP filters, and says why each stands where it stands (Istio's order).

use super::http;
use std::collections::BTreeMap;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

/// The places of an HTTP filter chain. **Requests pass them from top to bottom**, responses the other way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HttpFilterPosition {
    /// Who the peer is, from headers: first, so that every later filter and log can use it.
    PeerMetadata,
    /// External authorization of `CUSTOM` policies: before tokens are read, as it may be what issues them.
    CustomAuthorization,
    /// Users' extensions of phase AUTHN: they may replace the built-in authentication below.
    ExtensionAuthentication,
    /// Tokens of RequestAuthentication: authorization needs their claims.
    TokenAuthentication,
    /// Users' extensions of phase AUTHZ: after authentication, before the built-in authorization.
    ExtensionAuthorization,
    /// AuthorizationPolicy, AUDIT then DENY then ALLOW: before anything that could answer or change the request.
    Authorization,
    /// Users' extensions of phase STATS: they see what was let in.
    ExtensionStatistics,
    /// Users' extensions without a phase.
    Extension,
    /// gRPC-Web to gRPC: before the gRPC statistics, which must see gRPC.
    GrpcWeb,
    /// Counts of gRPC messages: before an injected fault, so that a failed call is still counted.
    GrpcStatistics,
    /// The protocol to negotiate with the upstream: after everything that may change the route.
    UpstreamAlpn,
    /// VirtualService faults: outside of CORS, so that a preflight can fail too.
    Fault,
    /// VirtualService CORS: answers preflights, which therefore never reach the workload.
    Cors,
    /// Sticky sessions: just before the host is picked.
    StatefulSession,
    /// Resolves the host of a wildcard destination: needs the final host name.
    DynamicForwardProxy,
    /// Sends the request; always last, Envoy demands it.
    Router,
}

/// The filters that every HTTP chain has, `additional` ones at their places, in order; `hides_envoy_headers` is the router's. Of two filters at one place, the one
/// given first comes first.
pub fn http_filters(grpc_web: bool, hides_envoy_headers: bool, additional: &[(HttpFilterPosition, HttpFilter)]) -> Vec<HttpFilter> {
    let mut places: BTreeMap<HttpFilterPosition, Vec<HttpFilter>> = BTreeMap::new();
    for (position, filter) in additional {
        places.entry(*position).or_default().push(filter.clone());
    }
    if grpc_web {
        places.entry(HttpFilterPosition::GrpcWeb).or_default().push(http::grpc_web::grpc_web());
    }
    places.entry(HttpFilterPosition::GrpcStatistics).or_default().push(http::grpc_stats::grpc_stats());
    places.entry(HttpFilterPosition::Fault).or_default().push(http::fault::fault());
    places.entry(HttpFilterPosition::Cors).or_default().push(http::cors::cors());
    places.entry(HttpFilterPosition::Router).or_default().push(http::router::router(hides_envoy_headers));
    places.into_values().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds_api::google::protobuf::Empty;

    #[test]
    fn additional_filters_stand_at_their_places() {
        let extra = |name: &str| super::super::http_filter(name, &Empty::default());
        let additional = [
            (HttpFilterPosition::Cors, extra("late")),
            (HttpFilterPosition::Authorization, extra("deny")),
            (HttpFilterPosition::Authorization, extra("allow")),
            (HttpFilterPosition::TokenAuthentication, extra("token")),
        ];
        let names: Vec<_> = http_filters(true, false, &additional).into_iter().map(|filter| filter.name).collect();
        let expected = [
            "token",
            "deny",
            "allow",
            "envoy.filters.http.grpc_web",
            "envoy.filters.http.grpc_stats",
            "envoy.filters.http.fault",
            "late",
            "envoy.filters.http.cors",
            "envoy.filters.http.router",
        ];
        assert_eq!(names, expected);
    }
}
