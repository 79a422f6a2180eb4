//! `ca`: where a rotation of the root stands, and orders to it.

use super::{
    Window,
    debug::{Answer, Parameters, Refusal},
    proxies::encode,
};
use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    routing::post,
};
use ca::Order;

/// Where it stands, and who it waits for.
pub fn ca(window: &Window, _: &Parameters) -> Answer {
    match &window.rotation {
        Some(rotation) => encode(rotation.status()),
        None => Err(Refusal { status: StatusCode::NOT_FOUND, message: "this istiod has no CA".to_string() }),
    }
}

/// `POST /debug/ca?order=new-root|force|abort`.
pub fn routes() -> Router<Window> {
    Router::new().route("/debug/ca", post(order))
}

async fn order(State(window): State<Window>, Query(parameters): Query<Parameters>) -> Result<&'static str, Refusal> {
    let refusal = |status, message: &str| Refusal { status, message: message.to_string() };
    let order = match parameters.get("order").map(String::as_str) {
        Some("new-root") => Order::NewRoot,
        Some("force") => Order::Force,
        Some("abort") => Order::Abort,
        _ => return Err(refusal(StatusCode::BAD_REQUEST, "say ?order=new-root, force or abort")),
    };
    let rotation = window.rotation.ok_or_else(|| refusal(StatusCode::NOT_FOUND, "this istiod has no CA"))?;
    rotation.order(order).await.map_err(|message| refusal(StatusCode::CONFLICT, &message))?;
    Ok("done\n")
}
