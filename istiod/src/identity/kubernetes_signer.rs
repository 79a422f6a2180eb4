//! Certificates of workloads from a signer of Kubernetes (the API `CertificateSigningRequest`), as Istio's
//! `ISTIOD_RA_KUBERNETES_API`: made, approved, waited for and removed.

use crate::pipeline::Published;
use ca::{Bundle, ExternalCertificate, ExternalError, ExternalRequest, ExternalSigner, pem};
use futures::future::BoxFuture;
use k8s_openapi::{
    ByteString,
    api::certificates::v1::{
        CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec, CertificateSigningRequestStatus,
    },
};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// How long a signer may take; agents ask again.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks whether it has signed; twice as long each time, up to a second.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// The shortest time that the API lets one ask for.
const LEAST: Duration = Duration::from_secs(600);
/// The roots of the cluster's own signers, where every pod finds them.
const CLUSTER_ROOTS: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Which signer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignerNames {
    /// `K8S_SIGNER`: for whoever names none.
    pub default: Option<String>,
    /// `CERT_SIGNER_DOMAIN`: what stands before the name that an agent gives.
    pub domain: Option<String>,
}

impl SignerNames {
    fn of(&self, wanted: Option<&str>) -> Result<String, ExternalError> {
        match (wanted, &self.domain, &self.default) {
            (Some(name), Some(domain), _) => Ok(format!("{domain}/{name}")),
            (Some(_), None, _) => Err(ExternalError::Refused("a CertSigner is named, and CERT_SIGNER_DOMAIN is not set".to_owned())),
            (None, _, Some(name)) => Ok(name.clone()),
            (None, _, None) => Err(ExternalError::Refused("no CertSigner is named, and K8S_SIGNER is not set".to_owned())),
        }
    }
}

/// The signers of one cluster.
pub struct KubernetesSigner {
    api: Api<CertificateSigningRequest>,
    names: SignerNames,
    readable: watch::Receiver<Arc<Published>>,
    cluster_roots: PathBuf,
}

impl KubernetesSigner {
    /// Those of a cluster; the roots of each are in `caCertificates` of the mesh configuration, else they are the cluster's.
    pub fn new(client: Client, names: SignerNames, readable: watch::Receiver<Arc<Published>>) -> Self {
        Self { api: Api::all(client), names, readable, cluster_roots: PathBuf::from(CLUSTER_ROOTS) }
    }

    /// The roots of a signer.
    async fn roots(&self, signer: &str) -> Result<Arc<Bundle>, ExternalError> {
        let mesh = self.readable.borrow().mesh.clone();
        let of_signer = mesh.ca_certificates.iter().filter(|data| data.cert_signers.iter().any(|name| name == signer));
        let mut text: String = of_signer.filter_map(|data| data.pem.as_deref()).collect::<Vec<_>>().join("\n");
        if text.is_empty() {
            text = tokio::fs::read_to_string(&self.cluster_roots).await.map_err(|error| {
                let path = self.cluster_roots.display();
                ExternalError::Failed(format!(
                    "the roots of the signer {signer} are not known: MeshConfig.caCertificates has none for it, and {path}: {error}"
                ))
            })?;
        }
        Bundle::parse(&text).map(Arc::new).map_err(|error| ExternalError::Failed(format!("the roots of the signer {signer}: {error}")))
    }

    async fn signed(&self, request: &ExternalRequest) -> Result<ExternalCertificate, ExternalError> {
        let signer = self.names.of(request.signer.as_deref())?;
        let roots = self.roots(&signer).await?;
        let created = self.api.create(&PostParams::default(), &object(request, &signer)).await.map_err(failed)?;
        let name = created.metadata.name.clone().unwrap_or_default();
        let outcome = self.approved(created).await;
        // Whatever has come of it, the object has served its purpose.
        if let Err(error) = self.api.delete(&name, &DeleteParams::default()).await {
            tracing::warn!("the CertificateSigningRequest {name} cannot be removed: {error}");
        }
        let text = outcome?;
        let chain = pem::certificates(&text).map_err(|error| ExternalError::Failed(format!("the signer {signer}: {error}")))?;
        // Roots are told apart from what is above the leaf.
        let chain = chain.into_iter().filter(|certificate| !roots.roots.contains(certificate)).collect();
        Ok(ExternalCertificate { chain, roots })
    }

    async fn approved(&self, created: CertificateSigningRequest) -> Result<String, ExternalError> {
        let name = created.metadata.name.clone().unwrap_or_default();
        self.approve(created).await?;
        let (until, mut pause) = (Instant::now() + PATIENCE, FIRST_LOOK);
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            let status = self.api.get(&name).await.map_err(failed)?.status.unwrap_or_default();
            if let Some(condition) = condition(&status, &["Denied", "Failed"]) {
                let text = format!("the signer says {}: {}", condition.type_, condition.message.clone().unwrap_or_default());
                return Err(ExternalError::Refused(text));
            }
            if let Some(ByteString(certificate)) = status.certificate {
                return String::from_utf8(certificate).map_err(|_| ExternalError::Failed("the signer has written no PEM".to_owned()));
            }
            if Instant::now() > until {
                return Err(ExternalError::Failed(format!("the signer has not signed within {PATIENCE:?}")));
            }
        }
    }

    async fn approve(&self, mut created: CertificateSigningRequest) -> Result<(), ExternalError> {
        let name = created.metadata.name.clone().unwrap_or_default();
        let approved = CertificateSigningRequestCondition {
            type_: "Approved".to_owned(),
            status: "True".to_owned(),
            reason: Some("AuthenticatedWorkload".to_owned()),
            message: Some("istiod has authenticated the workload whose identity is the only name of the request".to_owned()),
            ..CertificateSigningRequestCondition::default()
        };
        created.status.get_or_insert_default().conditions.get_or_insert_default().push(approved);
        self.api.replace_subresource("approval", &name, &PostParams::default(), &created).await.map(drop).map_err(failed)
    }
}

fn condition<'a>(status: &'a CertificateSigningRequestStatus, wanted: &[&str]) -> Option<&'a CertificateSigningRequestCondition> {
    status.conditions.iter().flatten().find(|condition| wanted.contains(&condition.type_.as_str()))
}

fn failed(error: Error) -> ExternalError {
    ExternalError::Failed(format!("the API of CertificateSigningRequests: {error}"))
}

fn object(request: &ExternalRequest, signer: &str) -> CertificateSigningRequest {
    let usages = ["digital signature", "key encipherment", "server auth", "client auth"];
    CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-workload-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.csr.clone().into_bytes()),
            signer_name: signer.to_owned(),
            expiration_seconds: i32::try_from(request.lifetime.max(LEAST).as_secs()).ok(),
            usages: Some(usages.map(str::to_owned).to_vec()),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    }
}

impl ExternalSigner for KubernetesSigner {
    fn sign<'a>(&'a self, request: &'a ExternalRequest) -> BoxFuture<'a, Result<ExternalCertificate, ExternalError>> {
        Box::pin(self.signed(request))
    }
}
