//! What is to be said of the credentials that a Gateway names.

use super::{AUTHORITIES_SUFFIX, Credential, CredentialFault, CredentialReference, CredentialUser};
use crate::{Snapshot, gateway};
use base::Diagnostic;
use istio_api::{
    Object,
    networking::gateway::{Gateway, ServerTlsMode, ServerTlsSettings},
};
use std::sync::Arc;

impl Snapshot {
    /// The credentials of a Gateway that `user`, a workload that it selects, does not get, each with the reason. The server
    /// that names one ends every connection; the others go on.
    pub fn credential_findings(&self, gateway: &Object<Gateway>, user: CredentialUser<'_>) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            if !matches!(tls.mode, ServerTlsMode::Simple | ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
                continue;
            }
            let field = format!("spec.servers[{index}].tls.credentialName");
            let wanted = Wanted { snapshot: self, gateway, user, field };
            for name in std::iter::once(&tls.credential_name).chain(&tls.credential_names).filter(|name| !name.is_empty()) {
                out.extend(wanted.finding(name, tls));
            }
        }
        out
    }
}

struct Wanted<'a> {
    snapshot: &'a Snapshot,
    gateway: &'a Object<Gateway>,
    user: CredentialUser<'a>,
    field: String,
}

impl Wanted<'_> {
    fn finding(&self, name: &str, tls: &ServerTlsSettings) -> Option<Diagnostic> {
        let reference = CredentialReference::parse(name)?;
        let credential = match self.snapshot.credential(self.user, reference) {
            Ok(credential) => credential,
            Err(CredentialFault::Missing) => return Some(self.missing(name)),
            Err(CredentialFault::NotGranted) => return Some(self.not_granted(reference)),
        };
        let needs_authorities = tls.mode == ServerTlsMode::Mutual;
        let wrong = match (credential.certificate(), needs_authorities) {
            (Err(error), _) => error.to_owned(),
            (Ok(_), true) => self.without_authorities(credential, name, tls)?,
            (Ok(_), false) => return None,
        };
        let (gateway, namespace) = (&self.gateway.metadata.name, self.user.namespace);
        let text = format!(
            "The credential referenced by the Gateway {gateway} in namespace {namespace} is invalid, which can cause the traffic not to \
             work as expected: of the Secret {}, {wrong}; this server ends every connection.",
            reference.name
        );
        Some(self.error("IST0161", text))
    }

    /// Why no client certificate can be checked, if so.
    fn without_authorities(&self, credential: &Arc<Credential>, name: &str, tls: &ServerTlsSettings) -> Option<String> {
        let beside = match tls.ca_cert_credential_name.as_str() {
            "" => format!("{name}{AUTHORITIES_SUFFIX}"),
            own => own.to_owned(),
        };
        let beside = CredentialReference::parse(&beside).and_then(|reference| self.snapshot.credential(self.user, reference).ok());
        beside.unwrap_or(credential).authorities().err().map(str::to_owned)
    }

    fn missing(&self, name: &str) -> Diagnostic {
        // Istio's words, and ours.
        let way_out = "create the Secret in the namespace of the gateway's workload, or mend the name";
        self.error("IST0101", format!("Referenced credentialName not found: {name:?}; {way_out}"))
    }

    fn not_granted(&self, reference: CredentialReference<'_>) -> Diagnostic {
        let (of, own, name) = (reference.namespace.unwrap_or_default(), self.user.namespace, reference.name);
        let text = format!(
            "the namespace {of} has not granted its Secrets to Gateways of {own}, so this server ends every connection; write a \
             ReferenceGrant in {of} (from: group gateway.networking.k8s.io, kind Gateway, namespace {own}; to: kind Secret, name {name}), \
             or put the Secret into {own}"
        );
        self.error("CredentialNotGranted", text)
    }

    fn error(&self, code: &'static str, text: String) -> Diagnostic {
        let origin = gateway::origin(self.gateway);
        let field = if origin == self.gateway.object_ref() { self.field.clone() } else { "spec.tls".to_owned() };
        Diagnostic::error(code, Some(origin), field, text)
    }
}
