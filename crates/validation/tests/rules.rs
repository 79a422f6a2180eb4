//! For each kind an object that is right, and changes of it that are wrong: which field is named, and what is said.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use istio_api::{Kind, Metadata, decode};
use serde_json::Value;

/// `Error spec.field: text` for everything that is wrong with the document.
fn findings(text: &str) -> Vec<String> {
    let document: Value = serde_saphyr::from_str(text).unwrap();
    let word = |field: &str| document[field].as_str().unwrap();
    let kind = Kind::from_api(word("apiVersion"), word("kind")).expect("a known kind");
    let metadata: Metadata = serde_json::from_value(document["metadata"].clone()).unwrap();
    let object = decode(kind, metadata, document.clone()).unwrap();
    let found = validation::validate(&object);
    found.iter().map(|d| format!("{:?} {}: {}", d.level, d.field, d.message)).collect()
}

/// Asserts that `good` is right, and that each replacement makes exactly one finding that begins as given.
fn check(good: &str, changes: &[(&str, &str, &str)]) {
    assert_eq!(findings(good), [""; 0]);
    for (from, to, expected) in changes {
        assert!(good.contains(from), "the document has no {from:?}");
        let found = findings(&good.replacen(from, to, 1));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{from:?} -> {to:?}\nexpected {expected}\nfound {found:#?}");
    }
}

fn object(group: &str, kind: &str, spec: &str) -> String {
    format!("apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: sample, namespace: shop}}\nspec:\n{spec}")
}

#[test]
fn virtual_service_routes() {
    let good = object(
        "networking",
        "VirtualService",
        "  hosts: [cart.shop.svc.cluster.local, cart]
  gateways: [mesh, infra/public]
  http:
  - name: first
    match:
    - uri: {prefix: /v1}
      headers: {x-user: {exact: ann}}
    - uri: {regex: '/v[23]/.*'}
    route:
    - destination: {host: cart, subset: old, port: {number: 80}}
      weight: 90
    - destination: {host: cart, subset: new}
      weight: 10
    timeout: 2s
    retries: {attempts: 3, perTryTimeout: 500ms, retryOn: '5xx,503'}
    fault:
      delay: {fixedDelay: 1s, percentage: {value: 5}}
      abort: {httpStatus: 503, percentage: {value: 1}}
    headers: {request: {set: {x-from: '%DOWNSTREAM_REMOTE_ADDRESS%', ':authority': cart}}}
  - redirect: {uri: /new, redirectCode: 302}
",
    );
    check(
        &good,
        &[
            ("hosts: [cart.shop", "hosts: ['*', cart.shop", "Error spec.hosts[0]: wildcard host * is not allowed"),
            (
                "cart.shop.svc",
                "ca_rt.shop.svc",
                "Error spec.hosts[0]: domain name \"ca_rt.shop.svc.cluster.local\" invalid (label \"ca_rt\" invalid)",
            ),
            (", cart]", ", '*.svc.cluster.local']", "Error spec.hosts[0]: duplicate hosts in virtual service"),
            ("infra/public", "infra/", "Error spec.gateways[1]: config namespace and gateway name cannot be empty"),
            (
                "infra/public",
                "public.infra",
                "Warning spec.gateways[1]: using legacy gatewayName format \"public.infra\"; prefer the <namespace>/<name> format: \"infra/public\"",
            ),
            ("/v[23]/.*", "/v[23", "Error spec.http[0].match[1].uri: \"uri\": error parsing regexp"),
            ("weight: 90", "weight: -1", "Error spec.http[0].route[0].weight: weight -1 < 0"),
            (
                "host: cart, subset: new",
                "host: '*', subset: new",
                "Error spec.http[0].route[1].destination.host: invalid destination host *",
            ),
            ("number: 80", "number: 0", "Error spec.http[0].route[0].destination.port.number: port number 0 must be in the range 1..65535"),
            ("timeout: 2s", "timeout: 2us", "Error spec.http[0].timeout: duration must be greater than 1ms"),
            ("attempts: 3", "attempts: 0", "Error spec.http[0].retries: http retry policy configured when attempts are set to 0"),
            ("5xx,503", "5xx, 503", "Error spec.http[0].retries.retryOn: \" 503\" is not a valid retryOn policy"),
            ("httpStatus: 503", "httpStatus: 100", "Error spec.http[0].fault.abort.httpStatus: HTTP status 100 is not in range 200-599"),
            ("value: 5", "value: 101", "Error spec.http[0].fault.delay.percentage: percentage 101 is neither 0.0, nor in range"),
            ("%DOWNSTREAM_REMOTE_ADDRESS%", "50%", "Error spec.http[0].headers.request.set.x-from: header value configuration"),
            ("    timeout: 2s", "    rewrite: {authority: other}", "Error spec.http[0]: authority header cannot be set multiple times"),
            ("redirectCode: 302", "redirectCode: 200", "Error spec.http[1].redirect.redirectCode: 200 is not a valid redirect code"),
            (
                "  - redirect:",
                "  - timeout: 1s\n    directResponse: {status: 200}\n    redirect:",
                "Error spec.http[1]: HTTP route rule cannot contain both direct_response and redirect",
            ),
        ],
    );
}

#[test]
fn virtual_service_delegates_and_unreachable_rules() {
    let root = object(
        "networking",
        "VirtualService",
        "  hosts: [cart]\n  http:\n  - match: [{uri: {prefix: /a}}]\n    delegate: {name: inner}\n  - route: [{destination: {host: cart}}]\n",
    );
    check(
        &root,
        &[(
            "    delegate",
            "    redirect: {uri: /}\n    delegate",
            "Error spec.http[0].redirect: root HTTP route  must not specify redirect",
        )],
    );
    let inner = root.replace("  hosts: [cart]\n", "").replace("    delegate: {name: inner}", "    route: [{destination: {host: cart}}]");
    check(
        &inner,
        &[("  http:", "  gateways: [public]\n  http:", "Error spec.gateways: delegate virtual service must have no gateways specified")],
    );
    let covered = |path: &str| {
        findings(&root.replace("  - route", &format!("  - match: [{{uri: {{prefix: {path}}}}}]\n    redirect: {{uri: /}}\n  - route")))
    };
    let longer = covered("/a/b");
    let text = "Info spec.http[1].match[0]: VirtualService rule #1 match #0 of prefix /a/b is not used";
    assert!(longer.len() == 1 && longer[0].starts_with(text), "{longer:?}");
    let same = covered("/a");
    assert!(same[0].starts_with("Info spec.http[1].match[0]: VirtualService rule #1 match #0 is not used"), "{same:?}");
    assert!(same[1].starts_with("Warning spec.http[1]: VirtualService rule #1 not used (all matches used by prior rules)"), "{same:?}");
    let twice = root.replace("  - route", "  - redirect: {uri: /}\n  - route");
    assert!(
        findings(&twice)[0].starts_with("Warning spec.http[2]: VirtualService rule #2 not used (only the last rule can have no matches)")
    );
}

#[test]
fn destination_rule() {
    let good = object(
        "networking",
        "DestinationRule",
        "  host: cart
  exportTo: ['.', other]
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 10, connectTimeout: 1s}, http: {http2MaxRequests: 5}}
    outlierDetection: {consecutive5xxErrors: 3, interval: 10s, maxEjectionPercent: 50}
    loadBalancer: {consistentHash: {httpHeaderName: x-user, maglev: {tableSize: 65537}}}
    tls: {mode: MUTUAL, clientCertificate: /cert, privateKey: /key}
  subsets:
  - {name: old, labels: {version: v1}}
  - {name: new, labels: {version: v2}}
",
    );
    check(
        &good,
        &[
            ("host: cart", "host: ''", "Error spec.host: empty domain name not allowed"),
            ("name: new", "name: old", "Error spec.subsets[1].name: duplicate subset names: old"),
            (
                "maxConnections: 10",
                "maxConnections: -10",
                "Error spec.trafficPolicy.connectionPool.tcp.maxConnections: max connections must be",
            ),
            (
                "maxEjectionPercent: 50",
                "maxEjectionPercent: 500",
                "Error spec.trafficPolicy.outlierDetection.maxEjectionPercent: percentage 500",
            ),
            (
                "tableSize: 65537",
                "tableSize: 65536",
                "Error spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize: tableSize must be a prime",
            ),
            (", privateKey: /key", "", "Error spec.trafficPolicy.tls.privateKey: private key required for mutual tls"),
            ("other]", "'*']", "Error spec.exportTo: cannot have both public (*) and non-public exportTo"),
            ("other]", "shop]", "Error spec.exportTo[1]: duplicate entries in exportTo"),
        ],
    );
    let locality = object(
        "networking",
        "DestinationRule",
        "  host: cart\n  trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a/b/*, to: {a/b/*: 70, a/c/*: 30}}]}}}\n",
    );
    let at = "Error spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to";
    check(
        &locality,
        &[("70", "71", &format!("{at}: total locality weight 101 != 100")), ("a/c/*", "a/*", &format!("{at}: locality a/b/* overlap"))],
    );
}

#[test]
fn gateway() {
    let good = object(
        "networking",
        "Gateway",
        "  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['*']
    tls: {httpsRedirect: true}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ['./shop.example.com', '*/*.example.com']
    tls: {mode: SIMPLE, credentialName: shop}
",
    );
    check(
        &good,
        &[
            ("name: https", "name: http", "Error spec.servers[1].port.name: port names in servers must be unique: duplicate name http"),
            ("protocol: HTTP}", "protocol: HTPT}", "Error spec.servers[0].port.protocol: invalid protocol \"HTPT\""),
            (
                "tls: {httpsRedirect: true}",
                "tls: {mode: SIMPLE, credentialName: x}",
                "Error spec.servers[0].tls: server cannot have TLS settings",
            ),
            (
                "    tls: {mode: SIMPLE, credentialName: shop}\n",
                "",
                "Error spec.servers[1].tls: server must have TLS settings for HTTPS/TLS",
            ),
            (
                "mode: SIMPLE, credentialName: shop",
                "mode: SIMPLE, privateKey: /key",
                "Error spec.servers[1].tls.serverCertificate: SIMPLE TLS requires a server",
            ),
            ("mode: SIMPLE", "mode: ISTIO_MUTUAL", "Error spec.servers[1].tls.credentialName: ISTIO_MUTUAL TLS cannot have"),
            ("./shop.example.com", "./shop", "Error spec.servers[1].hosts[0]: short names (non FQDN) are not allowed"),
            ("*/*.example.com", "*/*shop.example.com", "Error spec.servers[1].hosts[1]: partial wildcard"),
        ],
    );
}

#[test]
fn service_entry_and_workloads() {
    let good = object(
        "networking",
        "ServiceEntry",
        "  hosts: [db.example.com]
  addresses: [192.0.2.7]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: STATIC
  endpoints: [{address: 198.51.100.1, ports: {tls: 8443}, labels: {app: db}}]
",
    );
    check(
        &good,
        &[
            ("db.example.com", "'*'", "Error spec.hosts[0]: invalid host *"),
            ("192.0.2.7", "192.0.2.0/33", "Error spec.addresses[0]: 192.0.2.0/33 is not a valid CIDR block"),
            ("protocol: TLS", "protocol: TSL", "Error spec.ports[0].protocol: unsupported protocol: TSL"),
            ("{tls: 8443}", "{http: 8443}", "Error spec.endpoints[0].ports.http: endpoint port 8443 is not defined"),
            ("198.51.100.1", "db.internal", "Error spec.endpoints[0].address: db.internal is not a valid IP"),
            ("resolution: STATIC", "resolution: NONE", "Error spec.endpoints: no endpoints should be provided for resolution type none"),
            (
                "  endpoints",
                "  workloadSelector: {labels: {app: db}}\n  endpoints",
                "Error spec.workloadSelector: only one of WorkloadSelector or Endpoints",
            ),
        ],
    );
    let opaque = good.replace("protocol: TLS", "protocol: TCP").replace("  addresses: [192.0.2.7]\n", "");
    assert!(findings(&opaque)[0].starts_with("Warning spec.addresses: addresses are required for ports serving TCP"));
    let entry = object("networking", "WorkloadEntry", "  address: 192.0.2.1\n");
    check(
        &entry,
        &[
            ("192.0.2.1", "unix://relative", "Error spec.address: relative is not an absolute path"),
            ("address: 192.0.2.1", "weight: 1", "Error spec.address: address is required"),
            ("address: 192.0.2.1", "network: n1", "Warning spec.address: address is unset with network \"n1\""),
        ],
    );
    let group = object("networking", "WorkloadGroup", "  template: {serviceAccount: db}\n  probe: {httpGet: {port: 8080}}\n");
    check(
        &group,
        &[
            ("template: {serviceAccount: db}", "metadata: {}", "Error spec.template: template is required"),
            ("port: 8080", "port: 0", "Error spec.probe.httpGet.port: port number 0"),
        ],
    );
}

#[test]
fn sidecar() {
    let good = object(
        "networking",
        "Sidecar",
        "  workloadSelector: {labels: {app: cart}}
  ingress:
  - port: {number: 9080, protocol: HTTP, name: http}
    defaultEndpoint: 127.0.0.1:8080
  egress:
  - port: {number: 9000, protocol: HTTP, name: out}
    bind: 127.0.0.2
    hosts: ['./*']
  - hosts: [istio-system/*, ./*]
",
    );
    check(
        &good,
        &[
            ("127.0.0.1:8080", "10.0.0.1:8080", "Error spec.ingress[0].defaultEndpoint: sidecar: defaultEndpoint must be of form"),
            ("bind: 127.0.0.2", "bind: localhost", "Error spec.egress[0].bind: localhost is not a valid IP"),
            ("hosts: ['./*']", "hosts: ['*']", "Error spec.egress[0].hosts[0]: host must be of form namespace/dnsName"),
            ("istio-system/*", "./a.com", "Warning spec.egress[1].hosts[1]: duplicated egress host: ./*"),
        ],
    );
}

#[test]
fn security() {
    let peer =
        object("security", "PeerAuthentication", "  selector: {matchLabels: {app: cart}}\n  portLevelMtls: {8080: {mode: DISABLE}}\n");
    check(
        &peer,
        &[
            (
                "  selector: {matchLabels: {app: cart}}\n",
                "",
                "Error spec.portLevelMtls: mesh/namespace peer authentication cannot have port level",
            ),
            ("8080", "80800", "Error spec.portLevelMtls.80800: port must be in range 1..65535"),
            ("app: cart", "app: 'cart*'", "Error spec.selector.matchLabels: wildcard is not supported in selector: \"app=cart*\""),
        ],
    );
    let request = object("security", "RequestAuthentication", "  jwtRules: [{issuer: me, jwksUri: 'https://example.com/keys'}]\n");
    check(
        &request,
        &[
            ("https:", "ftp:", "Error spec.jwtRules[0].jwksUri: URI scheme \"ftp\" is not supported"),
            ("jwksUri: 'https://example.com/keys'", "jwks: '{'", "Error spec.jwtRules[0].jwks: jwks parse error"),
        ],
    );
    let policy = object(
        "security",
        "AuthorizationPolicy",
        "  action: DENY
  rules:
  - from: [{source: {ipBlocks: [10.0.0.0/8]}}]
    to: [{operation: {ports: ['80'], paths: ['/a/{*}/b']}}]
    when: [{key: 'source.ip', values: [10.0.0.1]}]
",
    );
    check(
        &policy,
        &[
            ("action: DENY", "action: CUSTOM", "Error spec.provider.name: `provider.name` must not be empty"),
            ("10.0.0.0/8", "ten", "Error spec.rules[0].from[0].source.ipBlocks[0]: bad IP address (ten)"),
            ("'80'", "'http'", "Error spec.rules[0].to[0].operation.ports[0]: bad port (http)"),
            ("/a/{*}/b", "/a/x{*}/b", "Error spec.rules[0].to[0].operation.paths[0]: invalid or unsupported path"),
            ("source.ip'", "source.name'", "Error spec.rules[0].when[0].values: invalid `value` for `key` source.name: unknown attribute"),
            ("ports: ['80'], ", "", "Warning spec.rules[0]: configured AuthorizationPolicy will deny all traffic to TCP ports"),
        ],
    );
}

#[test]
fn extensions_telemetry_and_proxies() {
    let plugin = object("extensions", "WasmPlugin", "  url: oci://example.com/plugin\n  vmConfig: {env: [{name: A, value: b}]}\n")
        .replace("/v1\n", "/v1alpha1\n");
    check(
        &plugin,
        &[
            ("oci:", "ftp:", "Error spec.url: url contains unsupported scheme: ftp"),
            ("[{name: A", "[{name: A}, {name: A", "Error spec.vmConfig.env[1].name: duplicate env A"),
        ],
    );
    let telemetry = object("telemetry", "Telemetry", "  tracing: [{providers: [{name: zipkin}], randomSamplingPercentage: 10}]\n");
    check(&telemetry, &[("10}", "110}", "Error spec.tracing[0].randomSamplingPercentage: randomSamplingPercentage must be in range")]);
    let config = object("networking", "ProxyConfig", "  concurrency: 2\n").replace("/v1\n", "/v1beta1\n");
    check(&config, &[("concurrency: 2", "concurrency: -2", "Error spec.concurrency: concurrency must be greater than or equal to 0")]);
    let filter = object(
        "networking",
        "EnvoyFilter",
        "  configPatches: [{applyTo: CLUSTER, match: {cluster: {name: x}}, patch: {operation: MERGE, value: {lb_policy: RANDOM}}}]\n",
    )
    .replace("/v1\n", "/v1alpha3\n");
    check(
        &filter,
        &[
            (
                "cluster: {name: x}",
                "listener: {name: x}",
                "Error spec.configPatches[0].match.listener: Envoy filter: applyTo CLUSTER cannot have",
            ),
            (", value: {lb_policy: RANDOM}", "", "Error spec.configPatches[0].patch.value: Envoy filter: missing patch value"),
        ],
    );
}
