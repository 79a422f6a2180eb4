//! Every kind: the table's look-ups, and a document that comes out as it went in.

use istio_api::{
    AnyObject, Kind, Metadata, Resource, decode,
    networking::{
        destination_rule::{DestinationRule, HashKey, LbPolicy},
        virtual_service::{StringMatcher, VirtualService},
    },
};
use serde_json::{Value, json};

/// Kind, and the object without apiVersion, kind and metadata, in canonical form.
fn documents() -> Vec<(Kind, Value)> {
    let mut documents = networking();
    documents.extend(policies());
    documents.extend(kubernetes());
    documents
}

fn networking() -> Vec<(Kind, Value)> {
    vec![
        (
            Kind::VirtualService,
            json!({"spec": {
                "hosts": ["reviews"],
                "http": [{
                    "match": [{"uri": {"prefix": "/api"}, "headers": {"end-user": {"exact": "jason"}}, "port": 9080, "ignoreUriCase": true}],
                    "route": [{"destination": {"host": "reviews", "subset": "v2", "port": {"number": 9080}}, "weight": 90}],
                    "timeout": "1.500s",
                    "retries": {"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx", "retryRemoteLocalities": false},
                    "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 0.1}}},
                    "directResponse": {"status": 503, "body": {"bytes": "aGk="}},
                    "redirect": {"derivePort": "FROM_PROTOCOL_DEFAULT"},
                    "corsPolicy": {"allowOrigins": [{"regex": ".*"}], "unmatchedPreflights": "IGNORE"}
                }],
                "tls": [{"match": [{"sniHosts": ["a.com"], "port": 443}], "route": [{"destination": {"host": "a.com"}}]}],
                "tcp": [{"match": [{"destinationSubnets": ["10.0.0.0/8"]}], "route": [{"destination": {"host": "db"}}]}],
                "exportTo": ["."]
            }}),
        ),
        (
            Kind::DestinationRule,
            json!({"spec": {
                "host": "reviews",
                "trafficPolicy": {
                    "loadBalancer": {"consistentHash": {"httpCookie": {"name": "user", "ttl": "0s"}, "maglev": {"tableSize": 65537}}},
                    "connectionPool": {"tcp": {"maxConnections": 100}, "http": {"http1MaxPendingRequests": 1, "http2MaxRequests": 2, "h2UpgradePolicy": "UPGRADE", "http2KeepAlive": {"interval": "1s"}}},
                    "outlierDetection": {"consecutive5xxErrors": 0, "interval": "300s", "outlierDetectionHttpErrorCodes": [503]},
                    "tls": {"mode": "MUTUAL", "caCrl": "/crl.pem"},
                    "portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "ROUND_ROBIN"}}]
                },
                "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
                "workloadSelector": {"matchLabels": {"app": "web"}}
            }}),
        ),
        (
            Kind::Gateway,
            json!({"spec": {
                "servers": [{
                    "port": {"number": 443, "protocol": "HTTPS", "name": "https"},
                    "hosts": ["*.example.com"],
                    "tls": {"mode": "SIMPLE", "credentialName": "cert", "minProtocolVersion": "TLSV1_2", "verifyCertificateSpki": ["x"]}
                }],
                "selector": {"istio": "ingressgateway"}
            }}),
        ),
        (
            Kind::ServiceEntry,
            json!({
                "spec": {
                    "hosts": ["db.example.com"],
                    "ports": [{"number": 5432, "protocol": "TCP", "name": "tcp", "targetPort": 5433}],
                    "location": "MESH_INTERNAL",
                    "resolution": "STATIC",
                    "endpoints": [{"address": "10.0.0.1", "ports": {"tcp": 15432}, "locality": "a/b", "weight": 3}],
                    "workloadSelector": {"labels": {"app": "db"}}
                },
                "status": {"addresses": [{"value": "240.240.0.1", "host": "db.example.com"}]}
            }),
        ),
        (
            Kind::WorkloadEntry,
            json!({
                "spec": {"address": "10.0.0.1", "labels": {"app": "db"}, "serviceAccount": "db"},
                "status": {"conditions": [{"type": "Healthy", "status": "True"}]}
            }),
        ),
        (
            Kind::WorkloadGroup,
            json!({"spec": {
                "metadata": {"labels": {"app": "db"}},
                "template": {"serviceAccount": "db"},
                "probe": {"periodSeconds": 5, "httpGet": {"path": "/", "port": 8080, "httpHeaders": [{"name": "a", "value": "b"}]}}
            }}),
        ),
        (
            Kind::Sidecar,
            json!({"spec": {
                "workloadSelector": {"labels": {"app": "web"}},
                "ingress": [{"port": {"number": 9080, "protocol": "HTTP", "name": "http"}, "defaultEndpoint": "127.0.0.1:8080", "captureMode": "NONE"}],
                "egress": [{"hosts": ["./*", "istio-system/*"]}],
                "outboundTrafficPolicy": {"mode": "ALLOW_ANY", "egressProxy": {"host": "egress"}}
            }}),
        ),
        (
            Kind::EnvoyFilter,
            json!({"spec": {
                "configPatches": [{
                    "applyTo": "HTTP_FILTER",
                    "match": {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": {"name": "hcm", "subFilter": {"name": "router"}}}}},
                    "patch": {"operation": "INSERT_BEFORE", "value": {"name": "lua", "typed_config": {"@type": "x", "keep": null}}}
                }],
                "priority": -10
            }}),
        ),
        (Kind::ProxyConfig, json!({"spec": {"concurrency": 0, "environmentVariables": {"A": "b"}, "image": {"imageType": "distroless"}}})),
    ]
}

fn policies() -> Vec<(Kind, Value)> {
    vec![
        (
            Kind::PeerAuthentication,
            json!({"spec": {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}}),
        ),
        (
            Kind::RequestAuthentication,
            json!({"spec": {
                "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"}],
                "jwtRules": [{"issuer": "me", "jwksUri": "https://me/jwks", "fromHeaders": [{"name": "x", "prefix": "Bearer "}], "outputClaimToHeaders": [{"header": "h", "claim": "c"}], "timeout": "5s"}]
            }}),
        ),
        (
            Kind::AuthorizationPolicy,
            json!({"spec": {
                "rules": [{
                    "from": [{"source": {"principals": ["*"], "notIpBlocks": ["10.0.0.0/8"]}}],
                    "to": [{"operation": {"methods": ["GET"], "paths": ["/a*"]}}],
                    "when": [{"key": "request.headers[x]", "values": ["y"]}]
                }],
                "action": "CUSTOM",
                "provider": {"name": "authz"}
            }}),
        ),
        (
            Kind::Telemetry,
            json!({"spec": {
                "tracing": [{"match": {"mode": "CLIENT"}, "randomSamplingPercentage": 0.0, "customTags": {"a": {"literal": {"value": "b"}}}}],
                "metrics": [{"overrides": [{"match": {"metric": "ALL_METRICS", "mode": "SERVER"}, "tagOverrides": {"x": {"operation": "REMOVE"}}}]}],
                "accessLogging": [{"providers": [{"name": "envoy"}], "disabled": false, "filter": {"expression": "response.code >= 400"}}]
            }}),
        ),
        (
            Kind::WasmPlugin,
            json!({"spec": {
                "url": "oci://x", "imagePullPolicy": "Always", "pluginConfig": {"a": [1, null]}, "phase": "AUTHN", "priority": 0,
                "vmConfig": {"env": [{"name": "A", "valueFrom": "HOST"}]}, "match": [{"mode": "SERVER", "ports": [{"number": 80}]}], "type": "NETWORK"
            }}),
        ),
        (Kind::TrafficExtension, json!({"spec": {"phase": "STATS", "priority": 10, "lua": {"inlineCode": "return"}}})),
    ]
}

fn kubernetes() -> Vec<(Kind, Value)> {
    vec![
        (
            Kind::Service,
            json!({
                "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "selector": {"app": "web"}, "ports": [{"name": "http", "appProtocol": "kubernetes.io/h2c", "port": 80, "targetPort": "web"}]},
                "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
            }),
        ),
        (
            Kind::EndpointSlice,
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": false}, "targetRef": {"kind": "Pod", "name": "a"}, "zone": "z"}], "ports": [{"name": "", "port": 8080}]}),
        ),
        (
            Kind::Pod,
            json!({
                "spec": {"serviceAccountName": "web", "nodeName": "n", "containers": [{"name": "app", "ports": [{"name": "web", "containerPort": 8080}]}]},
                "status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}], "conditions": [{"type": "Ready", "status": "True"}]}
            }),
        ),
        (Kind::Node, json!({"spec": {}, "status": {"addresses": [{"type": "InternalIP", "address": "10.2.0.1"}]}})),
        (Kind::Namespace, json!({})),
        (Kind::Secret, json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "Y2VydA=="}})),
        (Kind::ConfigMap, json!({"data": {"mesh": "a: b"}})),
        (
            Kind::Ingress,
            json!({"spec": {
                "ingressClassName": "istio",
                "tls": [{"hosts": ["a"], "secretName": "a-tls"}],
                "rules": [{"host": "a", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]
            }}),
        ),
        (
            Kind::ReferenceGrant,
            json!({"spec": {
                "from": [{"group": "networking.istio.io", "kind": "Gateway", "namespace": "edge"}],
                "to": [{"kind": "Secret", "name": "shop-tls"}]
            }}),
        ),
        (Kind::IngressClass, json!({"spec": {"controller": "istio.io/ingress-controller"}})),
    ]
}

fn object(kind: Kind, body: Value) -> Result<AnyObject, serde_json::Error> {
    let metadata =
        Metadata { name: "x".into(), namespace: if kind.namespaced() { "shop".into() } else { "".into() }, ..Metadata::default() };
    decode(kind, metadata, body)
}

#[test]
fn every_kind_comes_out_as_it_went_in() {
    let documents = documents();
    assert!(Kind::ALL.iter().all(|kind| documents.iter().any(|(tested, _)| tested == kind)), "a kind of the table has no document here");
    for (kind, body) in documents {
        let object = object(kind, body.clone()).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let mut value = object.to_value().unwrap();
        let written = value.as_object_mut().unwrap();
        assert_eq!(written.remove("apiVersion"), Some(kind.api_version().into()));
        assert_eq!(written.remove("kind"), Some(kind.as_str().into()));
        assert_eq!(written.remove("metadata").unwrap()["name"], "x");
        assert_eq!(value, body, "{kind}");
        assert_eq!((object.kind(), object.object_ref().kind), (kind, kind.as_str()));
    }
}

#[test]
fn all_served_versions_are_one_kind() {
    for version in ["v1", "v1beta1", "v1alpha3"] {
        assert_eq!(Kind::from_api(&format!("networking.istio.io/{version}"), "VirtualService"), Some(Kind::VirtualService));
    }
    assert_eq!(Kind::from_api("networking.istio.io/v1alpha1", "VirtualService"), None);
    assert_eq!(Kind::from_api("security.istio.io/v1", "VirtualService"), None);
    assert_eq!(Kind::from_api("gateway.networking.k8s.io/v1", "Gateway"), None);
    assert_eq!(Kind::from_api("v1", "Service"), Some(Kind::Service));
    assert_eq!(Kind::from_api("discovery.k8s.io/v1", "EndpointSlice"), Some(Kind::EndpointSlice));
    assert_eq!(Kind::Telemetry.api_version(), "telemetry.istio.io/v1alpha1");
    assert_eq!(Kind::Pod.api_version(), "v1");
    assert_eq!(Kind::ALL.iter().filter(|kind| !kind.is_kubernetes()).count(), 15);
}

#[test]
fn wrong_values_are_refused_and_unknown_fields_skipped() {
    for spec in [
        json!({"http": [{"timeout": "-1s"}]}),
        json!({"http": [{"timeout": 5}]}),
        json!({"http": "x"}),
        json!({"http": [{"route": [{"weight": "1"}]}]}),
    ] {
        assert!(object(Kind::VirtualService, json!({"spec": spec.clone()})).is_err(), "{spec}");
    }
    assert!(object(Kind::DestinationRule, json!({"spec": {"trafficPolicy": {"loadBalancer": {"simple": "round_robin"}}}})).is_err());
    assert!(object(Kind::Secret, json!({"data": {"a": "?"}})).is_err());
    assert!(object(Kind::VirtualService, json!({"spec": {"hosts": ["a"], "nonsense": 1}})).is_ok());
    // What Go writes for empty lists and maps.
    assert!(object(Kind::EndpointSlice, json!({"endpoints": null, "ports": null})).is_ok());
    let metadata = json!({"name": "x", "labels": null, "annotations": null, "creationTimestamp": null});
    assert!(serde_json::from_value::<Metadata>(metadata).is_ok());
}

#[test]
fn times_are_seconds_and_secrets_are_bytes() {
    let metadata: Metadata = serde_json::from_value(json!({"name": "x", "creationTimestamp": "2026-01-01T01:00:00+01:00"})).unwrap();
    assert_eq!(metadata.creation_timestamp.unwrap().to_string(), "2026-01-01T00:00:00Z");
    let secret = object(Kind::Secret, json!({"data": {"a": "aGk=", "b": "aGk="}, "stringData": {"b": "plain"}})).unwrap();
    let secret = &istio_api::kubernetes::secret::Secret::of(&secret).unwrap().spec;
    assert_eq!((secret.get("a"), secret.get("b"), secret.get("c")), (Some(b"hi".as_slice()), Some(b"plain".as_slice()), None));
    assert!(!format!("{secret:?}").contains("hi"), "the data of a Secret must not be printed");
}

#[test]
fn oneofs_tell_their_member() {
    let rule =
        object(Kind::DestinationRule, json!({"spec": {"trafficPolicy": {"loadBalancer": {"consistentHash": {"useSourceIp": true}}}}}));
    let rule = rule.unwrap();
    let balancer = DestinationRule::of(&rule).unwrap().spec.traffic_policy.as_ref().unwrap().load_balancer.as_ref().unwrap();
    let Some(LbPolicy::ConsistentHash(hash)) = balancer.lb_policy() else { panic!("{balancer:?}") };
    assert_eq!((hash.hash_key(), hash.hash_algorithm()), (Some(HashKey::UseSourceIp(&true)), None));

    let service = object(Kind::VirtualService, json!({"spec": {"http": [{"match": [{"uri": {"regex": "a|b"}}]}]}})).unwrap();
    let uri = VirtualService::of(&service).unwrap().spec.http[0].matches[0].uri.as_ref().unwrap();
    assert_eq!(uri.matcher(), Some(StringMatcher::Regex("a|b")));
}
