//! `IstioCertificateService.CreateCertificate`: one unary gRPC method, answered without a framework, because a
//! certificate costs little more than its two signatures.

use crate::{
    api::{CERT_SIGNER, CertificateRequest, CertificateResponse, IMPERSONATED_IDENTITY, NODE_HEADER},
    authenticate::{Authenticator, Caller, ClientCertificate, FORWARDED_CERTIFICATE_HEADER, Presented},
    authority::{Authority, AuthorityError, Issued, Subject, answer},
    csr,
    external::{self, ExternalError, ExternalRequest, ExternalSigner, Signed},
    impersonation::{ImpersonationError, NodeAccounts},
    limits::Peers,
    metrics::Metrics,
    rotation::{Holder, Holders},
};
use base::SpiffeIdentity;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Limited};
use prost::Message;
use rcgen::SubjectPublicKeyInfo;
use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Instant, SystemTime},
};
use tokio::time::timeout;
use tonic::{Code, Status};

/// A longer id of a node is not remembered.
const LONGEST_NODE: usize = 512;

/// The certificate service.
pub struct CertificateService {
    authority: Arc<Authority>,
    authenticator: Arc<Authenticator>,
    peers: Peers,
    metrics: Metrics,
    holders: Arc<Holders>,
    node_accounts: Option<NodeAccounts>,
    external: Option<Arc<dyn ExternalSigner>>,
}

impl CertificateService {
    /// A service that issues what `authority` signs to whom `authenticator` knows.
    pub fn new(
        authority: Arc<Authority>,
        authenticator: Arc<Authenticator>,
        peers: Peers,
        metrics: Metrics,
        holders: Arc<Holders>,
    ) -> Self {
        Self { authority, authenticator, peers, metrics, holders, node_accounts: None, external: None }
    }

    /// Node proxies may ask for certificates of the workloads of their nodes.
    pub fn with_node_accounts(self, node_accounts: NodeAccounts) -> Self {
        Self { node_accounts: Some(node_accounts), ..self }
    }

    /// Workloads get certificates of this signer, not of our own CA.
    pub fn with_external_signer(self, external: Arc<dyn ExternalSigner>) -> Self {
        Self { external: Some(external), ..self }
    }

    /// Answers one call of [`crate::api::CREATE_CERTIFICATE`].
    pub async fn handle<B>(&self, request: Request<B>, address: SocketAddr, certificate: Option<&ClientCertificate>) -> Response<UnaryBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.metrics.csr.inc();
        match self.create(request, address, certificate).await {
            Ok(message) => framed(&message),
            Err(status) => {
                let reason = status.message();
                tracing::warn!(peer = %address, code = ?status.code(), reason, "no certificate was issued");
                status.into_http()
            }
        }
    }

    async fn create<B>(
        &self,
        request: Request<B>,
        address: SocketAddr,
        certificate: Option<&ClientCertificate>,
    ) -> Result<CertificateResponse, Status>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !self.peers.request(address.ip(), Instant::now()) {
            self.metrics.refused("request_rate");
            return Err(Status::resource_exhausted("too many requests from one address; wait before the next"));
        }
        let (head, body) = request.into_parts();
        let now = SystemTime::now();
        let caller =
            self.authenticator.authenticate(presented(&head.headers, certificate, address), now).await.map_err(|error| error.status())?;
        let request = self.read(body).await?;
        let (response, holder) = self.issue(&request, &caller, now).await?;
        let node = head.headers.get(NODE_HEADER).and_then(|node| node.to_str().ok()).filter(|node| node.len() <= LONGEST_NODE);
        let holder_identity = holder.identity.clone();
        // A node proxy asks for many identities, and is not the holder of any of them.
        if holder.identity == caller.identity {
            self.holders.note(node, address.ip(), holder, now);
        }
        tracing::debug!(identity = %holder_identity, caller = %caller.identity, peer = %address, by = caller.credential.as_str(), "a certificate was issued");
        Ok(response)
    }

    async fn read<B>(&self, body: B) -> Result<CertificateRequest, Status>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let limits = self.peers.limits();
        let collected = timeout(limits.request, Limited::new(body, limits.request_bytes).collect()).await;
        let Ok(collected) = collected else {
            self.metrics.refused("slow_request");
            return Err(Status::deadline_exceeded("the request did not come in time"));
        };
        let mut bytes = collected
            .map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    self.metrics.refused("large_request");
                    return Status::resource_exhausted("the request is too large");
                }
                Status::cancelled("the request was not sent in full")
            })?
            .to_bytes();
        let malformed = || Status::invalid_argument("the request is no gRPC message of this method");
        let (compressed, length) = (bytes.try_get_u8().map_err(|_| malformed())?, bytes.try_get_u32().map_err(|_| malformed())?);
        if compressed != 0 {
            return Err(Status::unimplemented("compressed requests are not read"));
        }
        if usize::try_from(length).ok() != Some(bytes.len()) {
            return Err(malformed());
        }
        CertificateRequest::decode(bytes).map_err(|_| malformed())
    }

    async fn issue(&self, request: &CertificateRequest, caller: &Caller, now: SystemTime) -> Result<(CertificateResponse, Holder), Status> {
        let identity = self.subject(request, caller)?;
        let lifetime = self.authority.lifetime(request.validity_duration).map_err(|error| self.sign_error(&error))?;
        let key = csr::verify(&request.csr).map_err(|error| {
            self.metrics.csr_parsing_errors.inc();
            Status::invalid_argument(error.to_string())
        })?;
        let signer = self.authority.signer();
        let (cert_chain, expires) = match &self.external {
            // Without one, the `CertSigner` that Istio's agents name is passed over, as by Istio's own CA.
            None => {
                let subject = Subject::Workload(identity.clone());
                let issued: Issued =
                    self.authority.issue(&signer, &key, &subject, lifetime, now).map_err(|error| self.sign_error(&error))?;
                (answer(&issued, &signer), issued.expires)
            }
            Some(external) => {
                let signer = request.metadata_text(CERT_SIGNER).map(str::to_owned);
                let request = ExternalRequest { csr: request.csr.clone(), identity: identity.clone(), signer, lifetime };
                let signed = self.sign_elsewhere(external.as_ref(), &request, &key).await?;
                (signed.chain, signed.expires)
            }
        };
        self.metrics.issued.inc();
        let holder = Holder { identity, signer: signer.fingerprint.clone(), bundle: signer.bundle.hash.clone(), expires };
        Ok((CertificateResponse { cert_chain }, holder))
    }

    /// Who the certificate is for: the caller, or whom it may ask for.
    fn subject(&self, request: &CertificateRequest, caller: &Caller) -> Result<SpiffeIdentity, Status> {
        let Some(wanted) = request.metadata_text(IMPERSONATED_IDENTITY) else { return Ok(caller.identity.clone()) };
        let domains = self.authority.trust_domains().ok_or_else(|| self.sign_error(&AuthorityError::NotReady))?;
        let checked = match &self.node_accounts {
            Some(accounts) => accounts.check(caller, wanted, &domains),
            None => Err(ImpersonationError::NobodyTrusted),
        };
        checked.map_err(|error| {
            self.metrics.authentication_failed("impersonation");
            tracing::warn!(caller = %caller.identity, "no certificate of another identity is issued: {error}");
            Status::unauthenticated("request impersonation authentication failure")
        })
    }

    async fn sign_elsewhere(
        &self,
        external: &dyn ExternalSigner,
        request: &ExternalRequest,
        key: &SubjectPublicKeyInfo,
    ) -> Result<Signed, Status> {
        if !csr::names_only(&request.csr, &request.identity) {
            self.metrics.csr_parsing_errors.inc();
            let text = "the CSR must ask for the caller's SPIFFE identity as its only name: the external signer signs it as it is";
            return Err(Status::invalid_argument(text));
        }
        let signed = match external.sign(request).await {
            Ok(certificate) => {
                let own = self.authority.signer().bundle.clone();
                external::check(&certificate, key, &request.identity, &own, SystemTime::now())
            }
            Err(error) => Err(error),
        };
        signed.map_err(|error| {
            self.metrics.csr_sign_errors.with_label_values(&["CERT_GEN_ERROR"]).inc();
            match error {
                ExternalError::Refused(text) => Status::invalid_argument(text),
                ExternalError::Failed(text) => Status::unavailable(text),
            }
        })
    }

    fn sign_error(&self, error: &AuthorityError) -> Status {
        let (label, code) = match error {
            AuthorityError::TtlTooLong { .. } => ("TTL_ERROR", Code::InvalidArgument),
            AuthorityError::NotReady | AuthorityError::Expired => ("CA_NOT_READY", Code::Unavailable),
            _ => ("CERT_GEN_ERROR", Code::Internal),
        };
        self.metrics.csr_sign_errors.with_label_values(&[label]).inc();
        Status::new(code, error.to_string())
    }
}

/// What the headers and the handshake of a request say of its caller.
pub fn presented<'a>(headers: &'a HeaderMap, certificate: Option<&'a ClientCertificate>, address: SocketAddr) -> Presented<'a> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Presented {
        certificate,
        authorization: text("authorization"),
        cluster: text("clusterid"),
        forwarded: text(FORWARDED_CERTIFICATE_HEADER),
        address: Some(address.ip()),
    }
}

fn framed(message: &CertificateResponse) -> Response<UnaryBody> {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(length + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // The buffer grows; there is nothing that could fail.
    let _ = message.encode(&mut frame);
    let mut response = Response::new(UnaryBody { data: Some(frame.freeze()), trailers: true });
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The body of an answer: one message and `grpc-status: 0`, or nothing, if the status is in the headers.
#[derive(Default)]
pub struct UnaryBody {
    data: Option<Bytes>,
    trailers: bool,
}

impl Body for UnaryBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::take(&mut self.trailers) {
            let trailers = HeaderMap::from_iter([(header::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.trailers
    }
}
