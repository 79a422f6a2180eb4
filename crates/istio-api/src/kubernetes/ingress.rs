//! Ingress and IngressClass (`networking.k8s.io/v1`): rules of HTTP for a gateway, in Kubernetes' own words.

use crate::message::message;

message! {
    /// The `spec` of an Ingress.
    pub struct Ingress {
        /// The IngressClass that says who serves it.
        pub ingress_class_name: Option<String>,
        /// Where requests go that no rule is for; Istio has no use for it.
        pub default_backend: Option<IngressBackend>,
        /// Certificates.
        pub tls: Vec<IngressTls>,
        /// The rules.
        pub rules: Vec<IngressRule>,
    }

    /// A certificate.
    pub struct IngressTls {
        /// The names that it is for; none means all.
        pub hosts: Vec<String>,
        /// The Secret that holds it.
        pub secret_name: String,
    }

    /// The rules of a host.
    pub struct IngressRule {
        /// The host; empty means all.
        pub host: String,
        /// The rules.
        pub http: Option<HttpIngressRuleValue>,
    }

    /// The rules of a host.
    pub struct HttpIngressRuleValue {
        /// By path.
        pub paths: Vec<HttpIngressPath>,
    }

    /// Where the requests of a path go.
    pub struct HttpIngressPath {
        /// The path.
        pub path: String,
        /// `Exact`, `Prefix` or `ImplementationSpecific` (also if empty).
        pub path_type: String,
        /// Where to.
        pub backend: IngressBackend,
    }

    /// A destination.
    pub struct IngressBackend {
        /// A Service of the same namespace; destinations of other kinds are not served.
        pub service: Option<IngressServiceBackend>,
    }

    /// A Service.
    pub struct IngressServiceBackend {
        /// Its name.
        pub name: String,
        /// Its port.
        pub port: ServiceBackendPort,
    }

    /// A port of a Service.
    pub struct ServiceBackendPort {
        /// By name.
        pub name: String,
        /// By number; 0 if it is given by name.
        pub number: i32,
    }

    /// The `spec` of an IngressClass.
    pub struct IngressClass {
        /// Who serves the Ingresses of this class.
        pub controller: String,
    }
}
