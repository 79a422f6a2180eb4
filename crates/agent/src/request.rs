//! `IstioCertificateService.CreateCertificate`: a request in, a chain out.

use crate::connection::{Connection, ConnectionError, Upstream};
use ca::api::{CREATE_CERTIFICATE, CertificateRequest as Question, CertificateResponse, NODE_HEADER};
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;
use tower::ServiceExt as _;

/// How long istiod may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no certificate came. A retry helps, except where istiod says that it does not trust the caller.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// istiod has refused, or is not ready.
    #[error("istiod answers {:?}: {}", .0.code(), .0.message())]
    Refused(#[from] tonic::Status),
}

/// A certificate is asked for.
pub struct CertificateRequest {
    /// The request, PEM.
    pub csr_pem: String,
    /// The lifetime asked for. istiod refuses more than its maximum.
    pub lifetime: Duration,
}

impl CertificateRequest {
    /// Asks istiod; the answer is the chain, leaf first, with the roots as its last element.
    pub async fn send(self, upstream: &Upstream) -> Result<Vec<String>, RequestError> {
        let Connection { sender, origin, authorization, cluster } = upstream.connect().await?;
        let service = tower::service_fn(move |request| {
            let mut sender = sender.clone();
            async move { sender.send_request(request).await }
        });
        let mut client = Grpc::with_origin(service.boxed_clone(), origin);
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let message = Question { csr: self.csr_pem, validity_duration: lifetime, metadata: None };
        let mut request = tonic::Request::new(message);
        request.set_timeout(ANSWER_TIMEOUT);
        let headers = request.metadata_mut().as_mut();
        if let Some(authorization) = authorization {
            headers.insert(http::header::AUTHORIZATION, authorization);
        }
        headers.insert("clusterid", cluster);
        if let Ok(node) = http::HeaderValue::from_str(&upstream.node) {
            headers.insert(NODE_HEADER, node);
        }
        client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let codec: ProstCodec<Question, CertificateResponse> = ProstCodec::default();
        let call = client.unary(request, PathAndQuery::from_static(CREATE_CERTIFICATE), codec);
        let answer =
            tokio::time::timeout(ANSWER_TIMEOUT, call).await.map_err(|_| tonic::Status::deadline_exceeded("no answer in time"))??;
        Ok(answer.into_inner().cert_chain)
    }
}
