//! What authorization depends on.

use istio_api::mesh::extension_provider::{EnvoyExternalAuthorizationGrpcProvider, EnvoyExternalAuthorizationHttpProvider};
use istio_api::security::authorization_policy::Rule;

/// The policies that apply to one workload, by action; those of the root namespace first, then the oldest.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct AuthorizationInputs<'a> {
    /// The trust domain of the mesh, then its aliases: a principal of one of them is one of all.
    pub trust_domains: Vec<&'a str>,
    /// `CUSTOM`, by the name of the provider, in order.
    pub custom: Vec<CustomPolicies<'a>>,
    /// `AUDIT`
    pub audit: Vec<PolicyInputs<'a>>,
    /// `DENY`
    pub deny: Vec<PolicyInputs<'a>>,
    /// `ALLOW`
    pub allow: Vec<PolicyInputs<'a>>,
}

/// One policy.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PolicyInputs<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Annotation `istio.io/dry-run`: it is evaluated and counted, but decides nothing.
    pub dry_run: bool,
    /// Any of these; none match nothing.
    pub rules: &'a [Rule],
}

/// The `CUSTOM` policies that ask one provider.
#[derive(Clone, PartialEq, Debug)]
pub struct CustomPolicies<'a> {
    /// Its name in MeshConfig.
    pub provider: &'a str,
    /// `None` for a provider that does not exist or cannot be used: what the policies match is refused.
    pub authorizer: Option<Authorizer<'a>>,
    /// The policies.
    pub policies: Vec<PolicyInputs<'a>>,
}

/// Who decides.
#[derive(Clone, PartialEq, Debug)]
pub enum Authorizer<'a> {
    /// Over HTTP; it cannot decide about TCP connections.
    Http {
        /// Its settings.
        settings: &'a EnvoyExternalAuthorizationHttpProvider,
        /// The host name of its service.
        hostname: &'a str,
        /// The cluster of its service.
        cluster: String,
        /// `statusOnError`; 403 without.
        status_on_error: Option<u16>,
    },
    /// Over gRPC.
    Grpc {
        /// Its settings.
        settings: &'a EnvoyExternalAuthorizationGrpcProvider,
        /// The host name of its service.
        hostname: &'a str,
        /// The cluster of its service.
        cluster: String,
        /// `statusOnError`; 403 without.
        status_on_error: Option<u16>,
    },
}
