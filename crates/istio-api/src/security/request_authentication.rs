//! RequestAuthentication (`security/v1beta1/request_authentication.proto`): which JSON web tokens are valid.

use crate::{
    duration::Duration,
    message::{enumeration, message},
    selector::{PolicyTargetReference, WorkloadSelector},
};

message! {
    /// The `spec` of a RequestAuthentication.
    pub struct RequestAuthentication {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// The resource it attaches to instead.
        pub target_ref: Option<PolicyTargetReference>,
        /// The resources it attaches to instead.
        pub target_refs: Vec<PolicyTargetReference>,
        /// The issuers.
        pub jwt_rules: Vec<JwtRule>,
    }

    /// An issuer and where its tokens stand.
    pub struct JwtRule {
        /// The `iss` claim.
        pub issuer: String,
        /// The `aud` claims that are accepted; empty means any.
        pub audiences: Vec<String>,
        /// Where the keys are fetched; empty means discovery from the issuer.
        pub jwks_uri: String,
        /// The keys themselves.
        pub jwks: String,
        /// Headers with the token; nowhere at all means `Authorization: Bearer` and the parameter `access_token`.
        pub from_headers: Vec<JwtHeader>,
        /// Query parameters with the token.
        pub from_params: Vec<String>,
        /// The header that receives the payload in base64.
        pub output_payload_to_header: String,
        /// Cookies with the token.
        pub from_cookies: Vec<String>,
        /// Whether the workload sees the token.
        pub forward_original_token: bool,
        /// Headers that receive single claims.
        pub output_claim_to_headers: Vec<ClaimToHeader>,
        /// For fetching the keys; unset means 5s.
        pub timeout: Option<Duration>,
        /// Claims that are lists separated by spaces, beside `scope` and `permission`.
        pub space_delimited_claims: Vec<String>,
        /// Whether requests without a token are refused; not implemented by Istio.
        pub presence: JwtRequirement,
    }

    /// A header with a token.
    pub struct JwtHeader {
        /// Its name.
        pub name: String,
        /// What stands before the token, with the space.
        pub prefix: String,
    }

    /// A header that receives a claim.
    pub struct ClaimToHeader {
        /// The header.
        pub header: String,
        /// The claim, nested with dots.
        pub claim: String,
    }
}

enumeration! {
    /// Whether a token must be present.
    pub enum JwtRequirement {
        /// No.
        Optional = "OPTIONAL",
        /// Yes.
        Required = "REQUIRED",
    }
}
