//! An external authorizer over gRPC (`envoy.service.auth.v3.Authorization`), which every endpoint is when it is asked: it
//! refuses requests that ask for a status with [`super::upstream::STATUS`], and agrees to all others.

use super::upstream::{Body, STATUS};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Response, header::HeaderValue};
use prost::Message;
use std::collections::HashMap;

/// The path of the question.
pub const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The header that a request gets from it.
const HEADER: (&str, &str) = ("x-authorized-by", "authorizer");

/// The parts of `CheckRequest` that are looked at.
#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<AttributeContext>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeContext {
    #[prost(message, optional, tag = "4")]
    request: Option<RequestAttributes>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestAttributes {
    #[prost(message, optional, tag = "2")]
    http: Option<HttpRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct HttpRequest {
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
}

/// The parts of `CheckResponse` that are set.
#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RpcStatus>,
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Agreed>,
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Denied {
    #[prost(message, optional, tag = "1")]
    status: Option<HttpStatus>,
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, Message)]
struct HttpStatus {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Agreed {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<HeaderOption>,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderOption {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// The answer to a question, with gRPC's frame and trailers around it.
pub fn answer(question: &[u8]) -> Response<Body> {
    let message = decide(question).encode_to_vec();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
    frame.put_slice(&message);
    let trailers = HeaderMap::from_iter([(hyper::header::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(frame)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn decide(question: &[u8]) -> CheckResponse {
    let request = question.get(5..).and_then(|message| CheckRequest::decode(message).ok()).unwrap_or_default();
    let http = request.attributes.and_then(|attributes| attributes.request).and_then(|request| request.http).unwrap_or_default();
    match http.headers.get(STATUS).and_then(|status| status.parse().ok()) {
        // `PERMISSION_DENIED`
        Some(code) => CheckResponse {
            status: Some(RpcStatus { code: 7 }),
            denied: Some(Denied { status: Some(HttpStatus { code }), body: "refused by the authorizer".to_owned() }),
            ok: None,
        },
        None => {
            let header = Header { key: HEADER.0.to_owned(), value: HEADER.1.to_owned() };
            let headers = vec![HeaderOption { header: Some(header) }];
            CheckResponse { status: Some(RpcStatus { code: 0 }), denied: None, ok: Some(Agreed { headers }) }
        }
    }
}
