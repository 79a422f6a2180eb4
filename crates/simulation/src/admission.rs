//! The filters that let a call in or refuse it, in the order of the chain: tokens, rules, external authorizers.

use crate::{
    call::Call,
    jwt,
    metadata::Metadata,
    outcome::{End, Failure, Outcome},
    rbac::{self, Subject, Verdict},
};
use serde_json::Value;
use std::net::IpAddr;
use xds_api::envoy::{
    config::{
        core::v3::{GrpcService, HttpUri, grpc_service::TargetSpecifier, http_uri::HttpUpstreamType},
        listener::v3::{FilterChain, filter},
        rbac::v3::Rbac,
    },
    extensions::filters::{
        http::{
            ext_authz::v3::{ExtAuthz, ext_authz::Services},
            jwt_authn::v3::JwtAuthentication,
            rbac::v3::Rbac as HttpRbac,
        },
        network::{
            ext_authz::v3::ExtAuthz as TcpExtAuthz,
            http_connection_manager::v3::{HttpConnectionManager, http_filter},
            rbac::v3::Rbac as TcpRbac,
        },
    },
};
use xds_api::{Wire, google::protobuf::Any};

/// The network filters before the one that forwards.
///
/// # Errors
/// [`Failure::Denied`], if a rule refuses the connection.
pub fn connection(chain: &FilterChain, call: &Call, decrypted: bool, outcome: &mut Outcome) -> Result<(), Failure> {
    let mut metadata = Metadata::default();
    for filter in &chain.filters {
        let Some(filter::ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
        if let Some(filter_rbac) = decode::<TcpRbac>(any) {
            let subject = Subject { call, decrypted, remote: call.source, metadata: &metadata };
            let (verdict, shadow) = both(filter_rbac.rules.as_ref(), filter_rbac.shadow_rules.as_ref(), &subject);
            leave(&mut metadata, &filter.name, &filter_rbac.shadow_rules_stat_prefix, shadow);
            if refuses(verdict, outcome) {
                return Err(Failure::Denied);
            }
        } else if let Some(authorizer) = decode::<TcpExtAuthz>(any)
            && authorizer.filter_enabled_metadata.as_ref().is_none_or(|wanted| metadata.matches(wanted))
        {
            outcome.asks.extend(authorizer.grpc_service.as_ref().and_then(cluster_of_grpc));
        }
    }
    Ok(())
}

/// A request that was let in.
pub struct Admitted {
    /// What the filters have left, for routes that look at it.
    pub metadata: Metadata,
    /// The request as the workload gets it.
    pub call: Call,
}

/// The HTTP filters before the router. An external authorizer is taken to agree.
///
/// # Errors
/// The answer of the filter that refuses the request.
pub fn request(manager: &HttpConnectionManager, call: &Call, decrypted: bool, outcome: &mut Outcome) -> Result<Admitted, End> {
    let mut admitted = Admitted { metadata: Metadata::default(), call: call.clone() };
    let remote = remote_address(manager, call);
    for filter in &manager.http_filters {
        let Some(http_filter::ConfigType::TypedConfig(any)) = &filter.config_type else { continue };
        if let Some(tokens) = decode::<JwtAuthentication>(any) {
            jwt::verify(&tokens, &mut admitted)?;
        } else if let Some(filter_rbac) = decode::<HttpRbac>(any) {
            let subject = Subject { call: &admitted.call, decrypted, remote, metadata: &admitted.metadata };
            let (verdict, shadow) = both(filter_rbac.rules.as_ref(), filter_rbac.shadow_rules.as_ref(), &subject);
            leave(&mut admitted.metadata, &filter.name, &filter_rbac.shadow_rules_stat_prefix, shadow);
            if refuses(verdict, outcome) {
                return Err(End::Response { status: 403, body: "RBAC: access denied".to_owned() });
            }
        } else if let Some(authorizer) = decode::<ExtAuthz>(any)
            && authorizer.filter_enabled_metadata.as_ref().is_none_or(|wanted| admitted.metadata.matches(wanted))
        {
            outcome.asks.extend(match &authorizer.services {
                Some(Services::GrpcService(service)) => cluster_of_grpc(service),
                Some(Services::HttpService(service)) => service.server_uri.as_ref().and_then(cluster_of_http),
                None => None,
            });
        }
    }
    Ok(admitted)
}

fn decode<T: Wire>(any: &Any) -> Option<T> {
    (any.type_url == T::TYPE_URL).then(|| T::from_bytes(&any.value).ok()).flatten()
}

fn both(rules: Option<&Rbac>, shadow: Option<&Rbac>, subject: &Subject<'_>) -> (Option<Verdict>, Option<Verdict>) {
    (rules.map(|rules| rbac::decide(rules, subject)), shadow.map(|rules| rbac::decide(rules, subject)))
}

/// The result of shadow rules, under the keys of Envoy.
fn leave(metadata: &mut Metadata, filter: &str, prefix: &str, verdict: Option<Verdict>) {
    let Some(verdict) = verdict else { return };
    let result = if verdict.allowed { "allowed" } else { "denied" };
    metadata.set(filter, &format!("{prefix}shadow_engine_result"), Value::from(result));
    if let Some(policy) = verdict.policy {
        metadata.set(filter, &format!("{prefix}shadow_effective_policy_id"), Value::from(policy));
    }
}

/// Whether the call ends here; notes the policy that decided.
fn refuses(verdict: Option<Verdict>, outcome: &mut Outcome) -> bool {
    let Some(verdict) = verdict else { return false };
    if let Some(policy) = verdict.policy {
        outcome.policy = policy;
    } else if !verdict.allowed {
        outcome.policy = "none".to_owned();
    }
    !verdict.allowed
}

/// The address of the client (`HttpConnectionManagerUtility`): behind trusted proxies the one that the first of them saw.
fn remote_address(manager: &HttpConnectionManager, call: &Call) -> IpAddr {
    let forwarded = call.header("x-forwarded-for").unwrap_or_default();
    let mut hops = forwarded.split(',').rev().map(|address| address.trim().parse::<IpAddr>());
    let edge = manager.use_remote_address.is_some_and(|value| value.value);
    let trusted = usize::try_from(manager.xff_num_trusted_hops).unwrap_or(usize::MAX);
    let hop = match (edge, trusted) {
        // The proxy itself is the edge, and appends the peer.
        (true, 0) => return call.source,
        (true, trusted) => hops.nth(trusted - 1),
        (false, trusted) => hops.nth(trusted),
    };
    hop.and_then(Result::ok).unwrap_or(call.source)
}

/// The cluster that a gRPC service is called in.
fn cluster_of_grpc(service: &GrpcService) -> Option<String> {
    match &service.target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(envoy)) => Some(envoy.cluster_name.clone()),
        _ => None,
    }
}

/// The cluster that an HTTP service is called in.
fn cluster_of_http(uri: &HttpUri) -> Option<String> {
    uri.http_upstream_type.as_ref().map(|HttpUpstreamType::Cluster(cluster)| cluster.clone())
}
