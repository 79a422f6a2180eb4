//! Keeps a client with the endpoint that answered it first. The filter does nothing by itself: a route says what tells the
//! endpoint.

use crate::filter::http_filter;
use xds_api::Wire;
use xds_api::envoy::config::core::v3::TypedExtensionConfig;
use xds_api::envoy::extensions::filters::{
    http::stateful_session::v3::{StatefulSession, StatefulSessionPerRoute, stateful_session_per_route::Override},
    network::http_connection_manager::v3::HttpFilter,
};
use xds_api::envoy::extensions::http::stateful_session::{cookie::v3::CookieBasedSessionState, header::v3::HeaderBasedSessionState};
use xds_api::envoy::r#type::http::v3::Cookie;
use xds_api::google::protobuf::Any;

/// The name of the filter.
pub const NAME: &str = "envoy.filters.http.stateful_session";

/// What carries the endpoint of a session from response to request (Istio's labels `istio.io/persistent-session` and
/// `istio.io/persistent-session-header` on a Service).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SessionState {
    /// A cookie of the browser's session.
    Cookie {
        /// Its name.
        name: String,
        /// The path for which it holds.
        path: String,
    },
    /// A header, which the client sends back.
    Header(String),
}

/// The filter in a chain.
pub fn stateful_session() -> HttpFilter {
    http_filter(NAME, &StatefulSession::default())
}

/// What a route says to the filter.
pub fn of_route(state: &SessionState) -> Any {
    let (name, typed_config) = match state {
        SessionState::Cookie { name, path } => {
            let cookie = Cookie { name: name.clone(), path: path.clone(), ..Cookie::default() };
            ("envoy.http.stateful_session.cookie", CookieBasedSessionState { cookie: Some(cookie) }.to_any())
        }
        SessionState::Header(name) => ("envoy.http.stateful_session.header", HeaderBasedSessionState { name: name.clone() }.to_any()),
    };
    let session_state = Some(TypedExtensionConfig { name: name.to_owned(), typed_config: Some(typed_config) });
    let session = StatefulSession { session_state, ..StatefulSession::default() };
    StatefulSessionPerRoute { r#override: Some(Override::StatefulSession(session)) }.to_any()
}
