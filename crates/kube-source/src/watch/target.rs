//! A collection of objects, and the requests that read it.

use base::Namespace;
use http::{Request, header::ACCEPT};
use istio_api::Kind;

/// Objects in one page of a list.
const PAGE: u32 = 500;

/// The version of a group in which a kind is read.
pub type Version = &'static str;

/// A collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// How logs and metrics call it: the kind.
    pub name: &'static str,
    /// `/apis/networking.istio.io/v1/namespaces/shop/virtualservices`
    path: String,
    /// Which of the objects; empty for all.
    fields: &'static str,
    /// The same by a label that they have; empty for all.
    label: &'static str,
    /// The same by name.
    object: Option<String>,
    /// Only their metadata.
    metadata_only: bool,
}

impl Target {
    /// The objects of `kind`, of one namespace or of all.
    pub fn kind(kind: Kind, version: Version, namespace: Option<&Namespace>) -> Self {
        Self::new(kind.as_str(), kind.group(), version, kind.plural(), namespace.filter(|_| kind.namespaced()))
    }

    /// The objects of any kind.
    pub fn new(name: &'static str, group: &str, version: &str, plural: &str, namespace: Option<&Namespace>) -> Self {
        let group = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        let path = match namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        };
        Self { name, path, fields: "", label: "", object: None, metadata_only: false }
    }

    /// Only those that a field selector selects.
    pub fn with_fields(self, fields: &'static str) -> Self {
        Self { fields, ..self }
    }

    /// Only those that have a label.
    pub fn with_label(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    /// Only the object of that name.
    pub fn only(self, name: String) -> Self {
        Self { object: Some(name), ..self }
    }

    /// Only their metadata.
    pub fn metadata_only(self) -> Self {
        Self { metadata_only: true, ..self }
    }

    /// A watch that begins with everything that exists (a streaming list).
    pub fn watch_from_start(&self, seconds: u64) -> Result<Request<Vec<u8>>, http::Error> {
        self.watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", seconds)
    }

    /// A watch that goes on behind a known version.
    pub fn watch_from(&self, resource_version: &str, seconds: u64) -> Result<Request<Vec<u8>>, http::Error> {
        self.watch(&format!("resourceVersion={resource_version}"), seconds)
    }

    fn watch(&self, from: &str, seconds: u64) -> Result<Request<Vec<u8>>, http::Error> {
        self.request(&format!("watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&{from}"), "PartialObjectMetadata")
    }

    /// A page of a list; the first without `token`. All of it at once if not `paged`.
    pub fn list(&self, token: &str, paged: bool) -> Result<Request<Vec<u8>>, http::Error> {
        let limit = if paged { format!("limit={PAGE}") } else { String::new() };
        let token = if token.is_empty() { String::new() } else { format!("&continue={}", escaped(token)) };
        self.request(&format!("{limit}{token}"), "PartialObjectMetadataList")
    }

    fn request(&self, query: &str, metadata: &str) -> Result<Request<Vec<u8>>, http::Error> {
        let name = self.object.as_ref().map(|name| format!("metadata.name={name}"));
        let fields: Vec<String> = [self.fields.to_owned()].into_iter().chain(name).filter(|field| !field.is_empty()).collect();
        let fields = if fields.is_empty() { String::new() } else { format!("&fieldSelector={}", escaped(&fields.join(","))) };
        let label = if self.label.is_empty() { String::new() } else { format!("&labelSelector={}", escaped(self.label)) };
        let accept = match self.metadata_only {
            true => format!("application/json;as={metadata};g=meta.k8s.io;v=v1"),
            false => "application/json".to_owned(),
        };
        Request::get(format!("{}?{query}{fields}{label}", self.path)).header(ACCEPT, accept).body(Vec::new())
    }
}

/// For a query; what is not plainly harmless is escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(request: Result<Request<Vec<u8>>, http::Error>) -> String {
        request.unwrap().uri().to_string()
    }

    #[test]
    fn requests() {
        let pods = Target::kind(Kind::Pod, "v1", None).with_fields("status.phase!=Failed");
        assert_eq!(uri(pods.list("", true)), "/api/v1/pods?limit=500&fieldSelector=status.phase%21%3DFailed");
        let nodes = Target::kind(Kind::Node, "v1", Some(&Namespace::new("shop")));
        assert_eq!(uri(nodes.list("a=", true)), "/api/v1/nodes?limit=500&continue=a%3D");
        let gateways = Target::kind(Kind::Gateway, "v1beta1", Some(&Namespace::new("shop")));
        assert_eq!(
            uri(gateways.watch_from("12", 290)),
            "/apis/networking.istio.io/v1beta1/namespaces/shop/gateways?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion=12"
        );
        let mesh = Target::kind(Kind::ConfigMap, "v1", Some(&Namespace::new("istio-system"))).only("istio".to_owned());
        assert!(uri(mesh.watch_from_start(290)).ends_with("/configmaps?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&fieldSelector=metadata.name%3Distio"));
    }
}
