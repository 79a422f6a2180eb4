//! The way of a call, from the listener to its end.

use crate::{
    action, admission,
    admission::Admitted,
    call::{Call, Protocol, Security},
    certificate, filter_chain, listener,
    outcome::{End, Failure, Forwarded, Outcome},
    path,
    resources::Resources,
    route_match, virtual_host,
};
use std::borrow::Cow;
use xds_api::Wire;
use xds_api::envoy::{
    config::{
        core::v3::transport_socket::ConfigType as SocketConfig,
        listener::v3::{FilterChain, filter::ConfigType},
        route::v3::{RouteConfiguration, virtual_host::TlsRequirementType},
    },
    extensions::{
        filters::network::{
            http_connection_manager::v3::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
            tcp_proxy::v3::{TcpProxy, tcp_proxy::ClusterSpecifier},
        },
        transport_sockets::tls::v3::DownstreamTlsContext,
    },
};

/// Where the call goes with this configuration.
pub fn simulate(resources: &Resources, call: &Call) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.end = follow(resources, call, &mut outcome).unwrap_or_else(End::Failure);
    outcome
}

fn follow(resources: &Resources, call: &Call, outcome: &mut Outcome) -> Result<End, Failure> {
    let listener = listener::choose(resources, call).ok_or(Failure::NoListener)?;
    outcome.listener = listener.name.clone();
    let inspected = listener::inspect(listener, call);
    let chain = filter_chain::choose(listener, call, &inspected)?;
    outcome.filter_chain = chain.name.clone();
    let decrypted = check_tls(chain, call, resources)?;
    match terminal(chain) {
        Some(Terminal::Http(manager)) => {
            // Bytes of TLS are no HTTP.
            if call.protocol == Protocol::Tcp || (call.security != Security::Plaintext && !decrypted) {
                return Err(Failure::NotHttp);
            }
            admission::connection(chain, call, decrypted, outcome)?;
            let call = Call { path: path::normalized(&manager, &call.path), ..call.clone() };
            match admission::request(&manager, &call, decrypted, outcome) {
                Ok(admitted) => http(resources, &manager, &admitted, outcome),
                Err(answer) => Ok(answer),
            }
        }
        Some(Terminal::Tcp(proxy)) => {
            admission::connection(chain, call, decrypted, outcome)?;
            tcp(&proxy)
        }
        None => Err(Failure::NotSimulated),
    }
}

/// Whether the chain decrypts; an error if it wants another security than the call has.
fn check_tls(chain: &FilterChain, call: &Call, resources: &Resources) -> Result<bool, Failure> {
    let Some(SocketConfig::TypedConfig(config)) = chain.transport_socket.as_ref().and_then(|socket| socket.config_type.as_ref()) else {
        return Ok(false);
    };
    if config.type_url != DownstreamTlsContext::TYPE_URL {
        return Ok(false);
    }
    let context = DownstreamTlsContext::from_bytes(&config.value).map_err(|_| Failure::NotSimulated)?;
    let wants_client = context.require_client_certificate.is_some_and(|value| value.value);
    match call.security {
        Security::Plaintext => Err(Failure::Tls),
        _ if !context.common_tls_context.as_ref().is_none_or(|common| certificate::is_ready(common, resources)) => {
            Err(Failure::NoCertificate)
        }
        Security::Tls if wants_client => Err(Failure::Tls),
        _ => Ok(true),
    }
}

/// The filter at the end of a chain that decides where a connection goes.
enum Terminal {
    Http(Box<HttpConnectionManager>),
    Tcp(Box<TcpProxy>),
}

fn terminal(chain: &FilterChain) -> Option<Terminal> {
    chain.filters.iter().find_map(|filter| match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) if any.type_url == HttpConnectionManager::TYPE_URL => {
            HttpConnectionManager::from_bytes(&any.value).ok().map(|manager| Terminal::Http(Box::new(manager)))
        }
        Some(ConfigType::TypedConfig(any)) if any.type_url == TcpProxy::TYPE_URL => {
            TcpProxy::from_bytes(&any.value).ok().map(|proxy| Terminal::Tcp(Box::new(proxy)))
        }
        _ => None,
    })
}

fn tcp(proxy: &TcpProxy) -> Result<End, Failure> {
    let clusters = match &proxy.cluster_specifier {
        Some(ClusterSpecifier::Cluster(cluster)) => vec![(cluster.clone(), 1)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.weight)).collect()
        }
        None => return Err(Failure::NotSimulated),
    };
    Ok(End::Forwarded(Forwarded { clusters, ..Forwarded::default() }))
}

fn http(resources: &Resources, manager: &HttpConnectionManager, admitted: &Admitted, outcome: &mut Outcome) -> Result<End, Failure> {
    let call = &admitted.call;
    let routes: Cow<'_, RouteConfiguration> = match &manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => {
            outcome.route_configuration = rds.route_config_name.clone();
            Cow::Borrowed(resources.routes.get(&rds.route_config_name).ok_or(Failure::NoRouteConfiguration)?)
        }
        Some(RouteSpecifier::RouteConfig(routes)) => Cow::Borrowed(routes),
        Some(RouteSpecifier::ScopedRoutes(_)) | None => return Err(Failure::NotSimulated),
    };
    outcome.route_configuration = routes.name.clone();
    let host = virtual_host::choose(&routes, &call.authority).ok_or(Failure::NoVirtualHost)?;
    outcome.virtual_host = host.name.clone();
    if call.security == Security::Plaintext && host.require_tls == i32::from(TlsRequirementType::All) {
        return Ok(End::Redirect { status: 301, location: format!("https://{}{}", call.authority, call.path) });
    }
    let route = route_match::choose(&host.routes, call, &admitted.metadata).ok_or(Failure::NoRoute)?;
    outcome.route = route.name.clone();
    Ok(action::end(route, call))
}
