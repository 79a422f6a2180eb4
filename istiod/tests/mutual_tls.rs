//! Every mode of mutual TLS × every kind of client, and who the server is told has called, with certificates of a real istiod
//! in real Envoys.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed unwrap is a failed test

mod application;
mod client;
mod istiod;
mod workload;

use bytes::Bytes;
use client::{Client, Held};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use istiod::Istiod;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use workload::{Pod, Workload, programs};

/// The addresses of the workloads of one test: two tests at once must not share them.
#[derive(Clone, Copy)]
struct Site {
    server: Ipv4Addr,
    caller: Ipv4Addr,
    gateway: Ipv4Addr,
}

impl Site {
    const fn new(number: u8) -> Self {
        let [server, caller, gateway] =
            [Ipv4Addr::new(127, 0, number, 1), Ipv4Addr::new(127, 0, number, 2), Ipv4Addr::new(127, 0, number, 3)];
        Self { server, caller, gateway }
    }
}

const STRICT: u16 = 9101;
const PERMISSIVE: u16 = 9102;
const DISABLE: u16 = 9103;
/// It has no mode of its own: the workload's, which is STRICT.
const OTHER: u16 = 9104;
/// A gateway's port for mutual TLS.
const SECURED: u16 = 9143;

fn objects(Site { server, caller, gateway }: Site, application: SocketAddr) -> String {
    let ports = [STRICT, PERMISSIVE, DISABLE, OTHER];
    let each = |line: &dyn Fn(u16) -> String| ports.map(line).join("\n");
    let (services, slices) = (
        each(&|port| format!("  - {{name: http-{port}, port: {port}, targetPort: {port}}}")),
        each(&|port| format!("- {{name: http-{port}, port: {port}, protocol: TCP}}")),
    );
    let listener = |port, address, rest: &str| {
        format!("  - {{port: {{number: {port}, protocol: HTTP, name: http-{port}}}, bind: {address}, captureMode: NONE, {rest}}}")
    };
    let (ingress, egress) = (
        each(&|port| listener(port, server, &format!("defaultEndpoint: '{application}'"))),
        each(&|port| listener(port, caller, "hosts: ['./*']")),
    );
    format!(
        "
{{apiVersion: v1, kind: Namespace, metadata: {{name: shop}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: server, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: server}}}}
  mtls: {{mode: STRICT}}
  portLevelMtls: {{{STRICT}: {{mode: STRICT}}, {PERMISSIVE}: {{mode: PERMISSIVE}}, {DISABLE}: {{mode: DISABLE}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: server, namespace: shop}}
spec:
  clusterIP: 10.96.2.1
  selector: {{app: server}}
  ports:
{services}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: server, namespace: shop, labels: {{kubernetes.io/service-name: server}}}}
addressType: IPv4
ports:
{slices}
endpoints: [{{addresses: [{server}], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: server-1, namespace: shop}}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: server-1, namespace: shop, labels: {{app: server, security.istio.io/tlsMode: istio}}}}
spec: {{serviceAccountName: server, containers: [{{name: app, image: app}}]}}
status: {{phase: Running, podIP: {server}, podIPs: [{{ip: {server}}}], conditions: [{{type: Ready, status: 'True'}}]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: server, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: server}}}}
  ingress:
{ingress}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: caller, namespace: shop}}
spec:
  workloadSelector: {{labels: {{app: caller}}}}
  egress:
{egress}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: entrance, namespace: shop}}
spec:
  selector: {{app: entrance}}
  servers: [{{port: {{number: {SECURED}, name: https, protocol: HTTPS}}, bind: {gateway}, hosts: ['*'], tls: {{mode: ISTIO_MUTUAL}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: entrance, namespace: shop}}
spec:
  hosts: ['*']
  gateways: [entrance]
  http: [{{route: [{{destination: {{host: server.shop.svc.cluster.local, port: {{number: {STRICT}}}}}}}]}}]
"
    )
}

fn pod(app: &str, address: Ipv4Addr, kind: &'static str) -> Pod {
    Pod { app: app.to_owned(), address, lifetime: "1h", kind }
}

fn identity(name: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/sa/{name}")
}

/// What the server is told of a caller that is `name`: who the server is, and who has called.
fn told(name: &str) -> Vec<String> {
    vec![format!("By={}", identity("server")), format!("URI={}", identity(name))]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mode_and_every_kind_of_client() {
    let Some(programs) = programs() else { return };
    let (site, application) = (Site::new(78), application::serve().await);
    let (istiod, other) =
        (Istiod::start(&objects(site, application)), Istiod::start("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"));
    let (server, caller) = (pod("server", site.server, "sidecar"), pod("caller", site.caller, "sidecar"));
    let workloads = [server, caller].map(|pod| Workload::launch(&istiod, &programs, &pod));
    tokio::task::block_in_place(|| workloads.iter().for_each(Workload::wait_until_ready));
    let (own, foreign) = (held(&istiod, "visitor").await, held(&other, "visitor").await);
    let nobody = Vec::new;

    // The Envoy of another workload finds out by itself what a port wants. What its application says of callers is not believed.
    for (port, expected) in [(STRICT, told("caller")), (PERMISSIVE, told("caller")), (DISABLE, nobody()), (OTHER, told("caller"))] {
        assert_eq!(plain(site.caller, port).await, Ok(expected), "the caller's Envoy to {port}");
    }
    for (port, expected) in [(STRICT, None), (PERMISSIVE, Some(nobody())), (DISABLE, Some(nobody())), (OTHER, None)] {
        assert_eq!(plain(site.server, port).await.ok(), expected, "plain text to {port}");
    }
    for (port, expected) in [(STRICT, Some(true)), (PERMISSIVE, Some(true)), (DISABLE, None), (OTHER, Some(true))] {
        let answer = secured(&istiod, Some(&own), site.server, port).await.ok();
        // This client speaks for itself, so its own claim is passed on before what is proved.
        let expected = expected.map(|_| [vec![format!("URI={}", identity("admin"))], told("visitor")].concat());
        assert_eq!(answer, expected, "a certificate of this mesh to {port}");
    }
    for (what, held) in [("no certificate", None), ("a certificate of another mesh", Some(&foreign))] {
        for port in [STRICT, PERMISSIVE, DISABLE, OTHER] {
            assert!(secured(&istiod, held, site.server, port).await.is_err(), "{what} to {port}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_says_of_its_clients() {
    let Some(programs) = programs() else { return };
    let (site, application) = (Site::new(79), application::serve().await);
    let visitor = format!("URI={}", identity("visitor"));
    let claim = format!("URI={}", identity("admin"));
    for (setting, forwarded) in [
        ("SANITIZE", vec![]),
        ("SANITIZE_SET", vec![visitor.clone()]),
        ("FORWARD_ONLY", vec![claim.clone()]),
        ("APPEND_FORWARD", vec![claim, visitor]),
    ] {
        let istiod = Istiod::start_prepared(&objects(site, application), &[], |folder| {
            let mesh = format!("defaultConfig: {{gatewayTopology: {{forwardClientCertDetails: {setting}}}}}\n");
            std::fs::write(folder.join("mesh"), mesh).unwrap();
        });
        let pods = [pod("server", site.server, "sidecar"), pod("entrance", site.gateway, "router")];
        let workloads = pods.map(|pod| Workload::launch(&istiod, &programs, &pod));
        tokio::task::block_in_place(|| workloads.iter().for_each(Workload::wait_until_ready));
        let held = held(&istiod, "visitor").await;
        let answer = secured(&istiod, Some(&held), site.gateway, SECURED).await.map(|told| {
            // The gateway's own name in its part depends on nothing here.
            told.into_iter().filter(|part| *part != format!("By={}", identity("entrance"))).collect::<Vec<_>>()
        });
        assert_eq!(answer, Ok([forwarded, told("entrance")].concat()), "with {setting}");
    }
}

/// A certificate for a client without an Envoy.
async fn held(istiod: &Istiod, name: &str) -> Held {
    let token = istiod.token(&["--namespace=shop", &format!("--serviceAccount={name}")]);
    Client::new(&istiod.secured, &istiod.path("ca/root-cert.pem"), None).certificate(Some(&token)).await.unwrap()
}

async fn plain(address: Ipv4Addr, port: u16) -> Result<Vec<String>, String> {
    let stream = TcpStream::connect((address, port)).await.map_err(|error| error.to_string())?;
    call(stream, port).await
}

/// Over TLS as Envoys speak it among each other.
async fn secured(istiod: &Istiod, held: Option<&Held>, address: Ipv4Addr, port: u16) -> Result<Vec<String>, String> {
    let roots = istiod.path("ca/root-cert.pem");
    let stream = client::connect_to_workload((address, port).into(), &roots, held).await.map_err(|error| error.to_string())?;
    call(stream, port).await
}

/// One call; who the server is told has called. The client claims to be somebody else.
async fn call<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, port: u16) -> Result<Vec<String>, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let host = format!("server.shop.svc.cluster.local:{port}");
    let request = Request::get("/").header("host", host).header("x-forwarded-client-cert", format!("URI={}", identity("admin")));
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    let body = String::from_utf8_lossy(&body);
    if !status.is_success() {
        return Err(format!("{status}: {body}"));
    }
    let parts = body.split([',', ';']).filter(|part| part.starts_with("By=") || part.starts_with("URI="));
    Ok(parts.map(str::to_owned).collect())
}
