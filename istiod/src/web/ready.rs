//! `/ready` and `/version`.

use super::Window;
use axum::{Router, extract::State, http::StatusCode, routing::get};

/// The routes of this file.
pub fn routes() -> Router<Window> {
    Router::new().route("/ready", get(ready)).route("/version", get(version))
}

/// 200 once every source has synced, until the process is asked to end.
async fn ready(State(window): State<Window>) -> (StatusCode, &'static str) {
    if window.ending.has_begun() {
        return (StatusCode::SERVICE_UNAVAILABLE, "going down\n");
    }
    if window.published().synced { (StatusCode::OK, "") } else { (StatusCode::SERVICE_UNAVAILABLE, "waiting for the sources to sync\n") }
}

async fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), "\n")
}
