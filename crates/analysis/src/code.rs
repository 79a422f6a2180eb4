//! Istio's messages (`pkg/config/analysis/msg`) and ours: code, name and level, in the order of their codes.

use base::Level;

/// A message that analysis can give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code {
    /// `IST0101`; a word for a message that Istio does not have.
    pub code: &'static str,
    /// Istio's name of the message; for ours the code again.
    pub name: &'static str,
    /// How much it matters.
    pub level: Level,
}

macro_rules! codes {
    ($( $constant:ident = $level:ident $code:literal $name:literal; )+) => {
        $( pub(crate) const $constant: Code = Code { code: $code, name: $name, level: Level::$level }; )+

        /// All messages.
        pub fn codes() -> &'static [Code] {
            &[$( $constant ),+]
        }
    };
}

codes! {
    INTERNAL_ERROR = Error "IST0001" "InternalError";
    DEPRECATED = Warning "IST0002" "Deprecated";
    REFERENCED_RESOURCE_NOT_FOUND = Error "IST0101" "ReferencedResourceNotFound";
    NAMESPACE_NOT_INJECTED = Info "IST0102" "NamespaceNotInjected";
    POD_MISSING_PROXY = Warning "IST0103" "PodMissingProxy";
    SCHEMA_VALIDATION_ERROR = Error "IST0106" "SchemaValidationError";
    MISPLACED_ANNOTATION = Warning "IST0107" "MisplacedAnnotation";
    UNKNOWN_ANNOTATION = Warning "IST0108" "UnknownAnnotation";
    CONFLICTING_MESH_GATEWAY_VIRTUAL_SERVICE_HOSTS = Error "IST0109" "ConflictingMeshGatewayVirtualServiceHosts";
    CONFLICTING_SIDECAR_WORKLOAD_SELECTORS = Error "IST0110" "ConflictingSidecarWorkloadSelectors";
    MULTIPLE_SIDECARS_WITHOUT_WORKLOAD_SELECTORS = Error "IST0111" "MultipleSidecarsWithoutWorkloadSelectors";
    VIRTUAL_SERVICE_DESTINATION_PORT_SELECTOR_REQUIRED = Error "IST0112" "VirtualServiceDestinationPortSelectorRequired";
    DEPLOYMENT_ASSOCIATED_TO_MULTIPLE_SERVICES = Warning "IST0116" "DeploymentAssociatedToMultipleServices";
    PORT_NAME_IS_NOT_UNDER_NAMING_CONVENTION = Info "IST0118" "PortNameIsNotUnderNamingConvention";
    NAMESPACE_MULTIPLE_INJECTION_LABELS = Warning "IST0123" "NamespaceMultipleInjectionLabels";
    INVALID_ANNOTATION = Warning "IST0125" "InvalidAnnotation";
    UNKNOWN_MESH_NETWORKS_SERVICE_REGISTRY = Error "IST0126" "UnknownMeshNetworksServiceRegistry";
    NO_MATCHING_WORKLOADS_FOUND = Warning "IST0127" "NoMatchingWorkloadsFound";
    NO_SERVER_CERTIFICATE_VERIFICATION_DESTINATION_LEVEL = Warning "IST0128" "NoServerCertificateVerificationDestinationLevel";
    NO_SERVER_CERTIFICATE_VERIFICATION_PORT_LEVEL = Warning "IST0129" "NoServerCertificateVerificationPortLevel";
    VIRTUAL_SERVICE_UNREACHABLE_RULE = Warning "IST0130" "VirtualServiceUnreachableRule";
    VIRTUAL_SERVICE_INEFFECTIVE_MATCH = Info "IST0131" "VirtualServiceIneffectiveMatch";
    VIRTUAL_SERVICE_HOST_NOT_FOUND_IN_GATEWAY = Warning "IST0132" "VirtualServiceHostNotFoundInGateway";
    SCHEMA_WARNING = Warning "IST0133" "SchemaWarning";
    SERVICE_ENTRY_ADDRESSES_REQUIRED = Warning "IST0134" "ServiceEntryAddressesRequired";
    DEPRECATED_ANNOTATION = Info "IST0135" "DeprecatedAnnotation";
    ALPHA_ANNOTATION = Info "IST0136" "AlphaAnnotation";
    DEPLOYMENT_CONFLICTING_PORTS = Warning "IST0137" "DeploymentConflictingPorts";
    GATEWAY_DUPLICATE_CERTIFICATE = Warning "IST0138" "GatewayDuplicateCertificate";
    INVALID_WEBHOOK = Error "IST0139" "InvalidWebhook";
    INGRESS_ROUTE_RULES_NOT_AFFECTED = Warning "IST0140" "IngressRouteRulesNotAffected";
    INSUFFICIENT_PERMISSIONS = Error "IST0141" "InsufficientPermissions";
    UNSUPPORTED_KUBERNETES_VERSION = Error "IST0142" "UnsupportedKubernetesVersion";
    LOCALHOST_LISTENER = Error "IST0143" "LocalhostListener";
    INVALID_APPLICATION_UID = Warning "IST0144" "InvalidApplicationUID";
    CONFLICTING_GATEWAYS = Error "IST0145" "ConflictingGateways";
    IMAGE_AUTO_WITHOUT_INJECTION_WARNING = Warning "IST0146" "ImageAutoWithoutInjectionWarning";
    IMAGE_AUTO_WITHOUT_INJECTION_ERROR = Error "IST0147" "ImageAutoWithoutInjectionError";
    NAMESPACE_INJECTION_ENABLED_BY_DEFAULT = Info "IST0148" "NamespaceInjectionEnabledByDefault";
    JWT_CLAIM_BASED_ROUTING_WITHOUT_REQUEST_AUTHN = Error "IST0149" "JwtClaimBasedRoutingWithoutRequestAuthN";
    EXTERNAL_NAME_SERVICE_TYPE_INVALID_PORT_NAME = Warning "IST0150" "ExternalNameServiceTypeInvalidPortName";
    ENVOY_FILTER_USES_RELATIVE_OPERATION = Warning "IST0151" "EnvoyFilterUsesRelativeOperation";
    ENVOY_FILTER_USES_REPLACE_OPERATION_INCORRECTLY = Error "IST0152" "EnvoyFilterUsesReplaceOperationIncorrectly";
    ENVOY_FILTER_USES_ADD_OPERATION_INCORRECTLY = Error "IST0153" "EnvoyFilterUsesAddOperationIncorrectly";
    ENVOY_FILTER_USES_REMOVE_OPERATION_INCORRECTLY = Error "IST0154" "EnvoyFilterUsesRemoveOperationIncorrectly";
    ENVOY_FILTER_USES_RELATIVE_OPERATION_WITH_PROXY_VERSION = Warning "IST0155" "EnvoyFilterUsesRelativeOperationWithProxyVersion";
    UNSUPPORTED_GATEWAY_API_VERSION = Error "IST0156" "UnsupportedGatewayAPIVersion";
    INVALID_TELEMETRY_PROVIDER = Warning "IST0157" "InvalidTelemetryProvider";
    PODS_ISTIO_PROXY_IMAGE_MISMATCH_IN_NAMESPACE = Warning "IST0158" "PodsIstioProxyImageMismatchInNamespace";
    CONFLICTING_TELEMETRY_WORKLOAD_SELECTORS = Error "IST0159" "ConflictingTelemetryWorkloadSelectors";
    MULTIPLE_TELEMETRIES_WITHOUT_WORKLOAD_SELECTORS = Error "IST0160" "MultipleTelemetriesWithoutWorkloadSelectors";
    INVALID_GATEWAY_CREDENTIAL = Error "IST0161" "InvalidGatewayCredential";
    GATEWAY_PORT_NOT_DEFINED_ON_SERVICE = Warning "IST0162" "GatewayPortNotDefinedOnService";
    INVALID_EXTERNAL_CONTROL_PLANE_CONFIG = Warning "IST0163" "InvalidExternalControlPlaneConfig";
    EXTERNAL_CONTROL_PLANE_ADDRESS_IS_NOT_A_HOSTNAME = Info "IST0164" "ExternalControlPlaneAddressIsNotAHostname";
    REFERENCED_INTERNAL_GATEWAY = Warning "IST0165" "ReferencedInternalGateway";
    INEFFECTIVE_SELECTOR = Warning "IST0166" "IneffectiveSelector";
    INEFFECTIVE_POLICY = Warning "IST0167" "IneffectivePolicy";
    UNKNOWN_UPGRADE_COMPATIBILITY = Warning "IST0168" "UnknownUpgradeCompatibility";
    UPDATE_INCOMPATIBILITY = Warning "IST0169" "UpdateIncompatibility";
    MULTI_CLUSTER_INCONSISTENT_SERVICE = Warning "IST0170" "MultiClusterInconsistentService";
    NEGATIVE_CONDITION_STATUS = Warning "IST0171" "NegativeConditionStatus";
    FUTURE_UNSUPPORTED_GATEWAY_API_VERSION = Warning "IST0172" "FutureUnsupportedGatewayAPIVersion";
    DESTINATION_RULE_SUBSET_NOT_SELECT_PODS = Error "IST0173" "DestinationRuleSubsetNotSelectPods";
    UNKNOWN_DESTINATION_RULE_HOST = Warning "IST0174" "UnknownDestinationRuleHost";
    JWKS_URI_FETCH_UNRESTRICTED = Warning "IST0175" "JwksUriFetchUnrestricted";
    GATEWAY_API_CRD_VERSION_BELOW_MINIMUM = Warning "IST0176" "GatewayAPICRDVersionBelowMinimum";
    CONFLICTING_SERVICE_ENTRY_PROTOCOL = Warning "IST0177" "ConflictingServiceEntryProtocol";
    HOST_OWNED_BY_ANOTHER = Warning "HostOwnedByAnother" "HostOwnedByAnother";
    RULE_NEVER_REACHED = Warning "RuleNeverReached" "RuleNeverReached";
    DESTINATION_RULE_OVERRULED = Warning "DestinationRuleOverruled" "DestinationRuleOverruled";
    DESTINATION_RULE_NOT_USED = Warning "DestinationRuleNotUsed" "DestinationRuleNotUsed";
    GATEWAY_SERVER_DROPPED = Error "GatewayServerDropped" "GatewayServerDropped";
    PORT_CONFLICT = Warning "PortConflict" "PortConflict";
    PORT_CAPTURED = Warning "PortCaptured" "PortCaptured";
    CREDENTIAL_NOT_GRANTED = Error "CredentialNotGranted" "CredentialNotGranted";
    RULES_OF_ANOTHER_PROTOCOL = Warning "RulesOfAnotherProtocol" "RulesOfAnotherProtocol";
}
