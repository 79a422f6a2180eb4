//! Group `security.istio.io`.

pub mod authorization_policy;
pub mod peer_authentication;
pub mod request_authentication;
