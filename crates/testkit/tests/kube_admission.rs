//! The webhook on a real API server: asked, trusted, strict once that is safe, and no obstacle when it is down.

use anyhow::{Context, Result, ensure};
use kube_source::{Access, connect};
use std::{path::Path, sync::Arc, time::Duration};
use testkit::kube::ApiServer;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    time::{Instant, sleep},
};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};

const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "istio-validator-istio-system";

/// A certificate for our server, with what signed it in PEM.
fn certificate() -> Result<(Arc<ServerConfig>, Arc<str>)> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions()?;
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)?;
    Ok((Arc::new(config), Arc::from(made.cert.pem())))
}

fn configuration(port: u16) -> String {
    format!(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: {NAME}, labels: {{istio.io/rev: default}}}}
webhooks:
- name: rev.validation.istio.io
  clientConfig: {{url: 'https://127.0.0.1:{port}/validate'}}
  sideEffects: None
  timeoutSeconds: 5
  admissionReviewVersions: [v1]
- name: everything.example.com
  clientConfig: {{url: 'https://127.0.0.1:{port}/validate'}}
  rules: [{{operations: [CREATE], apiGroups: [example.com], apiVersions: ['*'], resources: ['*']}}]
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
"
    )
}

/// Waits until a field of the first webhook is as wanted.
async fn wait_for(server: &ApiServer, path: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = server.kubectl(&["get", "validatingwebhookconfiguration", NAME, "-o", &format!("jsonpath={{.webhooks[0].{path}}}")])?;
        if wanted(&found) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{path} is still {found:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

const GOOD: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: good, namespace: default}
spec: {hosts: [a.b], http: [{route: [{destination: {host: a.b}}]}]}
";
const BAD: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad, namespace: default}
spec: {hosts: [a.b, a.b], http: [{route: [{destination: {host: a.b}, weight: -1}]}]}
";
const DOUBTFUL: &str = "
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: doubtful, namespace: default}
spec: {network: far}
";

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_judged_before_they_are_stored() -> Result<()> {
    let Some(server) = ApiServer::start()? else { return Ok(()) };
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
    server.kubectl(&["apply", "--server-side", "-f", &crds.display().to_string()])?;
    server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
    server.kubectl(&["create", "namespace", "istio-system"])?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    server.kubectl_with(&configuration(port), &["apply", "--server-side", "-f", "-"])?;

    let (config, pem) = certificate()?;
    let (tls, tls_in) = watch::channel(config);
    let (bundle, bundle_in) = watch::channel(pem);
    let metrics = webhook::Metrics::new(&prometheus::Registry::new())?;
    let upkeep = webhook::Upkeep {
        client: connect(&Access::Kubeconfig(server.kubeconfig())).await?,
        namespace: "istio-system".into(),
        revision: "default".into(),
        policy: webhook::FailurePolicy::Fail,
        ca_bundle: bundle_in,
        metrics: metrics.clone(),
    };
    tokio::spawn(upkeep.run());
    // The CA bundle comes at once; but as long as nobody answers, what cannot be asked is stored.
    wait_for(&server, "clientConfig.caBundle", |bundle| !bundle.is_empty()).await?;
    server.kubectl_with(BAD, &["apply", "-f", "-"])?;
    server.kubectl_with(BAD, &["delete", "-f", "-"])?;
    wait_for(&server, "failurePolicy", |policy| policy == "Ignore").await?;

    let (end, ending) = oneshot::channel::<()>();
    let ended = tokio::spawn(webhook::serve(listener, tls_in, webhook::router(metrics), async {
        drop(ending.await);
    }));
    wait_for(&server, "failurePolicy", |policy| policy == "Fail").await?;
    // A webhook that also asks about objects of others never becomes strict.
    let other = server.kubectl(&["get", "validatingwebhookconfiguration", NAME, "-o", "jsonpath={.webhooks[1].failurePolicy}"])?;
    ensure!(other == "Ignore", "{other}");

    server.kubectl_with(GOOD, &["apply", "-f", "-"])?;
    let refused = server.kubectl_with(BAD, &["apply", "-f", "-"]).err().context("it was stored")?.to_string();
    ensure!(refused.contains("2 errors:") && refused.contains("spec.hosts[0]: duplicate hosts") && refused.contains("weight"), "{refused}");
    let refused = server.kubectl_with(BAD, &["apply", "--dry-run=server", "-f", "-"]).err().context("a trial passes")?.to_string();
    ensure!(refused.contains("rev.validation.istio.io"), "{refused}");
    // The same words as from the command line, and a warning where it warns.
    let warned = server.kubectl_with(DOUBTFUL, &["apply", "--warnings-as-errors", "-f", "-"]).err().context("no warning")?.to_string();
    ensure!(warned.contains("Warning: spec.address: address is unset"), "{warned}");
    let changed = GOOD.replace("host: a.b}}", "host: a.b}, weight: -5}");
    server.kubectl_with(&changed, &["apply", "-f", "-"]).err().context("the update was stored")?;

    // Another root: the new certificate is trusted without anybody's help.
    let (config, pem) = certificate()?;
    tls.send_replace(config);
    let before = server.kubectl(&["get", "validatingwebhookconfiguration", NAME, "-o", "jsonpath={.webhooks[0].clientConfig.caBundle}"])?;
    bundle.send_replace(pem);
    wait_for(&server, "clientConfig.caBundle", |bundle| bundle != before).await?;
    let stored = Instant::now() + PATIENCE;
    // Connections and the API server's own cache end in their own time.
    while let Err(error) = server.kubectl_with(GOOD, &["apply", "-f", "-"]) {
        ensure!(Instant::now() < stored, "{error}");
        sleep(Duration::from_millis(200)).await;
    }

    // Without us, Istio's objects are refused, and everything that istiod needs to come back is not.
    end.send(()).ok().context("the server has ended")?;
    ended.await?;
    let refused = server.kubectl_with(&changed, &["apply", "-f", "-"]).err().context("it was stored unasked")?.to_string();
    ensure!(refused.contains("failed calling webhook"), "{refused}");
    server.kubectl(&["create", "configmap", "settings", "--namespace=istio-system"])?;
    server.kubectl(&["create", "deployment", "istiod", "--image=istiod", "--namespace=istio-system"])?;
    server.kubectl(&["label", "validatingwebhookconfiguration", NAME, "seen=true"])?;
    Ok(())
}
