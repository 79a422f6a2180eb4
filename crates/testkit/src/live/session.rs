//! A client that makes many calls over a connection that it keeps.

use super::client::{self, Answer, Caller};
use anyhow::Result;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use simulation::{Call, Protocol, Security};
use std::{net::Ipv4Addr, time::Duration};
use tokio::time::{Instant, timeout};

/// No call takes so long.
const LIMIT: Duration = Duration::from_secs(20);

/// The sending half of a connection.
enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// A client.
pub struct Session<'a> {
    call: &'a Call,
    caller: Caller<'a>,
    sender: Option<Sender>,
}

/// What differs from call to call.
#[derive(Clone, Default)]
pub struct Variation {
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The path instead of the call's.
    pub path: Option<String>,
    /// The client's address; each call then has a connection of its own.
    pub source: Option<Ipv4Addr>,
}

impl<'a> Session<'a> {
    /// A client without a connection yet.
    pub fn new(call: &'a Call, caller: Caller<'a>) -> Self {
        Self { call, caller, sender: None }
    }

    /// Makes the call once more. An answer without status is a call that was lost.
    pub async fn call(&mut self, variation: &Variation) -> Answer {
        let start = Instant::now();
        let made = match timeout(LIMIT, self.attempt(variation)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::failure(format!("{error:#}")),
            Err(_) => Answer::failure("no answer, and no end of the connection".to_owned()),
        };
        if made.failure.is_some() {
            self.sender = None;
        }
        Answer { took: start.elapsed(), ..made }
    }

    async fn attempt(&mut self, variation: &Variation) -> Result<Answer> {
        if self.call.protocol == Protocol::Tcp {
            let stream = client::connect(self.call, self.caller, variation.source, None).await?;
            return client::tcp(stream).await;
        }
        if variation.source.is_some() {
            self.sender = None;
        }
        // A connection that the proxy has closed in good order loses nothing.
        let open = match &mut self.sender {
            None => false,
            Some(Sender::Http1(sender)) => sender.ready().await.is_ok(),
            Some(Sender::Http2(sender)) => sender.ready().await.is_ok(),
        };
        if !open {
            self.sender = Some(self.open(variation.source).await?);
        }
        let request = self.request(variation)?;
        let response = match &mut self.sender {
            Some(Sender::Http1(sender)) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Some(Sender::Http2(sender)) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            None => anyhow::bail!("no connection"),
        };
        client::read(response).await
    }

    async fn open(&self, source: Option<Ipv4Addr>) -> Result<Sender> {
        let stream = TokioIo::new(client::connect(self.call, self.caller, source, None).await?);
        if self.call.protocol == Protocol::Http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
            tokio::spawn(connection);
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = http1::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Sender::Http1(sender))
    }

    fn request(&self, variation: &Variation) -> Result<Request<Empty<Bytes>>> {
        let path = variation.path.as_deref().unwrap_or(&self.call.path);
        let mut request = Request::builder().method(self.call.method.as_str());
        for (name, value) in self.call.headers.iter().chain(variation.headers.iter().map(|(name, value)| (name, value))) {
            request = request.header(name, value);
        }
        let request = match self.call.protocol {
            Protocol::Http2 => {
                let scheme = if self.call.security == Security::Plaintext { "http" } else { "https" };
                request.uri(format!("{scheme}://{}{path}", self.call.authority))
            }
            _ => request.uri(path).header("host", &self.call.authority),
        };
        Ok(request.body(Empty::new())?)
    }
}
