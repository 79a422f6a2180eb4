//! A small HTTP client: one request to one socket address, whatever name stands in the `Host` header.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as PooledClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A client with a pool of kept-alive connections; clones share it.
#[derive(Clone)]
pub struct Client {
    pool: PooledClient<HttpConnector, Empty<Bytes>>,
    timeout: Duration,
}

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Client {
    /// A client whose requests end with an error after `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { pool: PooledClient::builder(TokioExecutor::new()).build_http(), timeout }
    }

    /// `GET path` at `address`; `host` becomes the `Host` header, `headers` go along.
    pub async fn get(&self, address: SocketAddr, host: &str, path: &str, headers: HeaderMap) -> anyhow::Result<Reply> {
        let mut request =
            Request::builder().method(Method::GET).uri(format!("http://{address}{path}")).body(Empty::new()).context("request")?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, HeaderValue::from_str(host).context("Host header")?);
        let exchange = async {
            let response = self.pool.request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(Reply { status, body })
        };
        tokio::time::timeout(self.timeout, exchange).await.with_context(|| format!("no answer within {:?}", self.timeout))?
    }
}
