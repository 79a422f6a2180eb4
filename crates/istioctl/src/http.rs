//! One page over plain HTTP.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Duration;

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no page.
pub enum Error {
    /// Nobody answers at this address, or not in HTTP.
    Unreachable(String),
    /// The answer is another than 200; the text is the page's own.
    Refused(String),
}

/// The body of `path` at `address` (`host:port`, with or without `http://`). Errors name the address.
pub fn get(address: &str, path: &str) -> Result<String, Error> {
    let (status, body) = page(address, path).map_err(|error| Error::Unreachable(format!("cannot reach {address}: {error:#}")))?;
    match status {
        ::http::StatusCode::OK => Ok(body),
        status => Err(Error::Refused(format!("{address} answers {status}: {}", body.trim_end()))),
    }
}

fn page(address: &str, path: &str) -> anyhow::Result<(::http::StatusCode, String)> {
    anyhow::ensure!(!address.starts_with("https://"), "only http is spoken; name a plaintext port, or forward one");
    let address = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    let uri: ::http::Uri = format!("http://{address}{path}").parse().context("this is no address; write host:port")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match tokio::time::timeout(PATIENCE, fetch(uri)).await {
            Ok(page) => page,
            Err(_) => anyhow::bail!("no answer within {} seconds", PATIENCE.as_secs()),
        }
    })
}

async fn fetch(uri: ::http::Uri) -> anyhow::Result<(::http::StatusCode, String)> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(uri).await.map_err(root_cause)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(root_cause)?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The innermost error says what is the matter; those around it only where it was noticed.
fn root_cause(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow::anyhow!("{}", anyhow::Error::new(error).root_cause())
}

impl Error {
    /// The text, with `hint` for an address that may be the wrong one.
    pub fn with_hint(self, hint: &str) -> anyhow::Error {
        match self {
            Self::Unreachable(text) => anyhow::anyhow!("{text}\n{hint}"),
            Self::Refused(text) => anyhow::anyhow!(text),
        }
    }
}

/// The text as the value of a query parameter.
pub fn query_value(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
