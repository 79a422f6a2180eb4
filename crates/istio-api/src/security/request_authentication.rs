//! RequestAuthentication (`security/v1beta1/request_authentication.proto`): which JSON web tokens are valid.

use crate::crd::rules;
use crate::{
    duration::Duration,
    message::{enumeration, message},
    selector::{PolicyTargetReference, WorkloadSelector},
};
use serde_json::json;

message! {
    /// RequestAuthentication says which JSON web tokens are valid. A request with an invalid token is refused; one without a
    /// token passes, unless an AuthorizationPolicy asks for a principal.
    #[schemars(extend("x-kubernetes-validations" = rules::one_attachment(&["selector", "targetRef", "targetRefs"])))]
    pub struct RequestAuthentication {
        /// The workloads; unset means all of the namespace (of the mesh in the root namespace).
        pub selector: Option<WorkloadSelector>,
        /// The resource it attaches to instead.
        pub target_ref: Option<PolicyTargetReference>,
        /// The resources it attaches to instead.
        #[schemars(extend("maxItems" = 16))]
        pub target_refs: Vec<PolicyTargetReference>,
        /// The issuers whose tokens are valid.
        #[schemars(extend("maxItems" = 4096))]
        pub jwt_rules: Vec<JwtRule>,
    }

    /// An issuer and where its tokens stand.
    #[schemars(extend("x-kubernetes-validations" = rules::one_key_source()))]
    pub struct JwtRule {
        /// Who issues the tokens (the `iss` claim).
        #[schemars(extend("minLength" = 1))]
        pub issuer: String,
        /// The `aud` claims that are accepted; empty means any.
        #[schemars(extend("x-each" = json!({ "minLength": 1 })))]
        pub audiences: Vec<String>,
        /// Where the keys are fetched; empty means discovery from the issuer.
        #[serde(alias = "jwks_uri")]
        #[schemars(extend("x-alias" = "jwks_uri", "minLength" = 1, "maxLength" = 2048, "x-kubernetes-validations" = rules::http_url()))]
        pub jwks_uri: String,
        /// The keys themselves, as a JSON web key set.
        pub jwks: String,
        /// Headers with the token; nowhere at all means `Authorization: Bearer` and the parameter `access_token`.
        pub from_headers: Vec<JwtHeader>,
        /// Query parameters with the token.
        #[schemars(extend("x-each" = json!({ "minLength": 1 })))]
        pub from_params: Vec<String>,
        /// The header that receives the payload in base64.
        pub output_payload_to_header: String,
        /// Cookies with the token.
        #[schemars(extend("x-each" = json!({ "minLength": 1 })))]
        pub from_cookies: Vec<String>,
        /// Whether the workload sees the token.
        pub forward_original_token: bool,
        /// Headers that receive single claims.
        pub output_claim_to_headers: Vec<ClaimToHeader>,
        /// For fetching the keys; unset means 5s.
        pub timeout: Option<Duration>,
        /// Claims that are lists separated by spaces, beside `scope` and `permission`.
        #[schemars(extend("maxItems" = 64, "x-each" = json!({ "minLength": 1 })))]
        pub space_delimited_claims: Vec<String>,
        /// Whether requests without a token are refused; not implemented by Istio.
        pub presence: JwtRequirement,
    }

    /// A header with a token.
    #[schemars(extend("required" = ["name"]))]
    pub struct JwtHeader {
        /// The name of the header.
        #[schemars(extend("minLength" = 1))]
        pub name: String,
        /// What stands before the token, with the space.
        pub prefix: String,
    }

    /// A header that receives a claim.
    #[schemars(extend("required" = ["header", "claim"]))]
    pub struct ClaimToHeader {
        /// The name of the header.
        #[schemars(extend("minLength" = 1, "pattern" = "^[-_A-Za-z0-9]+$"))]
        pub header: String,
        /// The name of the claim; parts of nested claims are separated by dots.
        #[schemars(extend("minLength" = 1))]
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
