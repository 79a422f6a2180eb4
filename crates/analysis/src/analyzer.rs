//! The table of analyzers, and the one way in which they are run.

use crate::{
    Mesh, annotation, authentication, authorization, condition, deployment, deprecation, destination_rule, envoy_filter,
    external_control_plane, gateway, injection, kubernetes_gateway, mesh_networks, report::Report, schema, service, service_entry, sidecar,
    swallowed, telemetry, virtual_service, webhook,
};
use base::Diagnostic;

/// What must be known for an analyzer to say something true; each includes those before it. Istio goes by the first alone
/// when it looks at files, since there the others are rarely complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Needs {
    /// Istio's kinds, webhook configurations and CRDs.
    Configuration,
    /// Services.
    Services,
    /// Pods, Namespaces, Nodes and Secrets.
    Workloads,
}

/// One analyzer.
#[derive(Clone, Copy)]
pub struct Analyzer {
    /// Istio's name of it.
    pub name: &'static str,
    /// What it looks for.
    pub description: &'static str,
    /// What it needs.
    pub needs: Needs,
    run: fn(&Mesh<'_>, &mut Report),
}

const fn files(name: &'static str, description: &'static str, run: fn(&Mesh<'_>, &mut Report)) -> Analyzer {
    Analyzer { name, description, needs: Needs::Configuration, run }
}

const fn services(name: &'static str, description: &'static str, run: fn(&Mesh<'_>, &mut Report)) -> Analyzer {
    Analyzer { name, description, needs: Needs::Services, run }
}

const fn runtime(name: &'static str, description: &'static str, run: fn(&Mesh<'_>, &mut Report)) -> Analyzer {
    Analyzer { name, description, needs: Needs::Workloads, run }
}

/// All analyzers that look at several objects: Istio's in the order of its list, then ours.
const TOGETHER: &[Analyzer] = &[
    runtime("annotations.K8sAnalyzer", "Checks for misplaced and invalid Istio annotations in Kubernetes resources", annotation::analyze),
    files(
        "authn.BlockedCIDRsAnalyzer",
        "Checks that BLOCKED_CIDRS_IN_JWKS_URIS is configured on istiod when RequestAuthentication resources exist",
        authentication::analyze,
    ),
    runtime("auth.AuthorizationPoliciesAnalyzer", "Checks the validity of authorization policies", authorization::analyze),
    runtime("conditions.ConditionAnalyzer", "Checks for negative status conditions on resources", condition::analyze),
    runtime("deployment.MultiServiceAnalyzer", "Checks association between services and pods", deployment::services::analyze),
    runtime("applicationUID.Analyzer", "Checks invalid application UID", deployment::user::analyze),
    files(
        "destinationrule.CaCertificateAnalyzer",
        "Checks if caCertificates is set when TLS mode is SIMPLE/MUTUAL",
        destination_rule::ca_certificates::analyze,
    ),
    runtime(
        "destinationrule.SubsetSelectPodAnalyzer",
        "Checks if pods are selected by subsets in destination rules.",
        destination_rule::subsets::analyze,
    ),
    files("deprecation.DeprecationAnalyzer", "Checks for deprecated Istio types and fields", deprecation::analyze),
    files("envoyfilter.EnvoyPatchAnalyzer", "Checks the operations of an EnvoyFilter's patches", envoy_filter::analyze),
    files(
        "externalcontrolplane.ExternalControlPlaneAnalyzer",
        "Checks that the webhooks of a remote cluster reference an external control plane",
        external_control_plane::analyze,
    ),
    runtime(
        "gateway.IngressGatewayPortAnalyzer",
        "Checks a gateway's ports against the gateway's Kubernetes service ports",
        gateway::ports::analyze,
    ),
    files("gateway.CertificateAnalyzer", "Checks a gateway certificate", gateway::certificates::analyze),
    runtime("gateway.SecretAnalyzer", "Checks a gateway's referenced secrets for correctness", gateway::secrets::analyze),
    runtime("gateway.ConflictingGatewayAnalyzer", "Checks a gateway's selector, port number and hosts", gateway::conflicts::analyze),
    runtime("injection.Analyzer", "Checks conditions related to Istio sidecar injection", injection::namespaces::analyze),
    runtime(
        "injection.ImageAnalyzer",
        "Checks the image of auto-injection configured with the running proxies on pods",
        injection::images::analyze,
    ),
    runtime(
        "injection.ImageAutoAnalyzer",
        "Makes sure that Pods and Deployments with `image: auto` are going to be injected",
        injection::auto_images::analyze,
    ),
    runtime("k8sgateway.SelectorAnalyzer", "Check that selectors are effective for Kubernetes gateway", kubernetes_gateway::selectors),
    files(
        "k8sgateway.CRDVersionAnalyzer",
        "Checks Gateway API CRDs are at the minimum version required by this Istio version",
        kubernetes_gateway::versions,
    ),
    runtime("meshnetworks.MeshNetworksAnalyzer", "Check the validity of MeshNetworks in the cluster", mesh_networks::analyze),
    services(
        "services.MultiClusterServiceAnalyzer",
        "Check the validity of services in the multi-cluster environment",
        service::clusters::analyze,
    ),
    services("service.PortNameAnalyzer", "Checks the port names associated with each service", service::port_names::analyze),
    runtime(
        "sidecar.SelectorAnalyzer",
        "Validates that sidecars that define a workload selector match at least one pod, and that there aren't multiple sidecar \
         resources that select overlapping pods",
        sidecar::analyze,
    ),
    files(
        "virtualservice.ConflictingMeshGatewayHostsAnalyzer",
        "Checks if multiple virtual services associated with the mesh gateway have conflicting hosts",
        virtual_service::conflicting_hosts::analyze,
    ),
    services(
        "virtualservice.DestinationHostAnalyzer",
        "Checks the destination hosts associated with each virtual service",
        virtual_service::destination_hosts::analyze,
    ),
    files(
        "virtualservice.DestinationRuleAnalyzer",
        "Checks the destination rules associated with each virtual service",
        virtual_service::destination_rules::analyze,
    ),
    files("virtualservice.GatewayAnalyzer", "Checks the gateways associated with each virtual service", virtual_service::gateways::analyze),
    runtime(
        "virtualservice.JWTClaimRouteAnalyzer",
        "Checks the VirtualService using JWT claim based routing has corresponding RequestAuthentication",
        virtual_service::jwt_claims::analyze,
    ),
    files("serviceentry.Analyzer", "Checks the validity of ServiceEntry", service_entry::addresses::analyze),
    files(
        "serviceentry.ConflictingServiceEntryProtocolAnalyzer",
        "Checks if multiple ServiceEntries define the same host and port with different protocols",
        service_entry::protocols::analyze,
    ),
    runtime("webhook.Analyzer", "Checks the validity of Istio webhooks", webhook::analyze),
    files("telemetry.ProviderAnalyzer", "Validates that providers in telemetry resource is valid", telemetry::providers),
    runtime(
        "telemetry.SelectorAnalyzer",
        "Validates that telemetries that define a selector match at least one pod, and that there aren't multiple telemetry resources \
         that select overlapping pods",
        telemetry::selectors,
    ),
    files(
        "telemetry.DefaultSelectorAnalyzer",
        "Validates that there aren't multiple telemetry resources that have no selector",
        telemetry::without_selector,
    ),
    files("telemetry.LightstepAnalyzer", "Validates that lightstep provider is still used", telemetry::lightstep),
    // Ours.
    services("swallowed.DelegateAnalyzer", "Checks what virtual services and their delegates say together", swallowed::delegate::analyze),
    services("swallowed.HostOwnerAnalyzer", "Finds hosts that a virtual service loses to another one", swallowed::host_owner::analyze),
    services("swallowed.UnreachedRuleAnalyzer", "Finds rules that no request reaches", swallowed::unreached_rule::analyze),
    services("swallowed.OverruledAnalyzer", "Finds destination rules in whose place an older one is used", swallowed::overruled::analyze),
    runtime("swallowed.UnusedRuleAnalyzer", "Finds destination rules that no client uses", swallowed::overruled::without_clients),
    services("swallowed.DroppedServerAnalyzer", "Finds servers of gateways that are not served", swallowed::dropped_server::analyze),
    services("swallowed.PortOwnerAnalyzer", "Finds services that cannot be told from others on their port", swallowed::port_owner::analyze),
    services("swallowed.CapturedPortAnalyzer", "Finds services that take a whole port", swallowed::captured_port::analyze),
    services(
        "swallowed.OpaquePortAnalyzer",
        "Finds rules and policies for another protocol than a port's",
        swallowed::opaque_port::analyze,
    ),
];

/// The analyzers that look at objects together.
pub fn analyzers() -> &'static [Analyzer] {
    TOGETHER
}

/// The names and descriptions of the analyzers that look at one object of a kind each.
pub fn schema_analyzers() -> impl Iterator<Item = (String, String)> {
    istio_api::Kind::ALL
        .iter()
        .filter(|kind| !kind.is_kubernetes())
        .map(|kind| (format!("schema.ValidationAnalyzer.{kind}"), format!("Runs schema validation as an analyzer on '{kind}' resources")))
}

/// Everything that is to be said of the objects together by the analyzers for which `known` is enough, in the order of
/// the table; with `single`, also what is to be said of each alone.
pub fn analyze(mesh: &Mesh<'_>, known: Needs, single: bool) -> Vec<Diagnostic> {
    let mut report = Report::default();
    for analyzer in TOGETHER.iter().filter(|analyzer| analyzer.needs <= known) {
        (analyzer.run)(mesh, &mut report);
    }
    if single {
        schema::analyze(mesh, &mut report);
    }
    report.diagnostics
}
