//! The local page: `page.html`, and the picture that it asks for twice a second.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The newest picture as JSON.
pub type SharedPicture = Rc<RefCell<Bytes>>;

/// Serves the page at `address`.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve(address: SocketAddr, picture: SharedPicture) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    tokio::task::spawn_local(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let picture = Rc::clone(&picture);
            tokio::task::spawn_local(async move {
                let handler = service_fn(move |request| std::future::ready(Ok::<_, Infallible>(respond(&request, &picture))));
                // An error here is a browser that hung up.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), handler).await;
            });
        }
    });
    Ok(())
}

fn respond(request: &Request<Incoming>, picture: &SharedPicture) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match request.uri().path() {
        "/" => (StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(include_bytes!("page.html"))),
        "/state.json" => (StatusCode::OK, "application/json", picture.borrow().clone()),
        _ => (StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"only / and /state.json\n")),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
