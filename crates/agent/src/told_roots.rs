//! PCDS: between Envoy's own messages on a stream to istiod, the agent asks for the roots of the mesh, keeps what comes, and
//! acknowledges it when its Envoy has accepted it. istiod waits for that before it signs with a new root.
//!
//! As in Istio's agent, the question follows Envoy's first one for listeners, and an answer never reaches Envoy.

use crate::messages;
use crate::trust::Roots;
use bytes::Bytes;
use ca::api::ProxyConfig;
use prost::Message as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use xds_api::Wire as _;
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use xds_api::google::rpc::Status;

const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROOTS: &str = "type.googleapis.com/istio.mesh.v1alpha1.ProxyConfig";
/// What Istio's agent answers for what it cannot use.
const INTERNAL: i32 = 13;

/// Which of the two protocols a stream speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Delta,
    StateOfTheWorld,
}

/// A response with roots.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Statement {
    version: String,
    nonce: String,
    /// The first resource is the only one; without one there is nothing to say.
    content: Option<Bytes>,
}

/// The type URL alone, which is all that is looked at in a message of Envoy's or for it.
#[derive(Clone, PartialEq, prost::Message)]
struct DeltaRequestType {
    #[prost(string, tag = "2")]
    url: String,
}

/// See [`DeltaRequestType`]; it has the same place in all other messages.
#[derive(Clone, PartialEq, prost::Message)]
struct OtherType {
    #[prost(string, tag = "4")]
    url: String,
}

impl Protocol {
    /// Whether a message of Envoy's asks for listeners.
    pub fn asks_for_listeners(self, request: &Bytes) -> bool {
        let Some(content) = messages::content(request) else { return false };
        match self {
            Self::Delta => DeltaRequestType::decode(content).is_ok_and(|of| of.url == LISTENERS),
            Self::StateOfTheWorld => OtherType::decode(content).is_ok_and(|of| of.url == LISTENERS),
        }
    }

    /// The question for the roots, as a message.
    pub fn question(self) -> Bytes {
        self.request("", "", None)
    }

    /// What a message of istiod's says of roots; `None` for all others, which are Envoy's.
    pub fn statement(self, response: &Bytes) -> Option<Statement> {
        let content = messages::content(response)?;
        if !OtherType::decode(content.clone()).is_ok_and(|of| of.url == ROOTS) {
            return None;
        }
        match self {
            Self::Delta => {
                let DeltaDiscoveryResponse { system_version_info, nonce, resources, .. } =
                    DeltaDiscoveryResponse::from_bytes(&content).ok()?;
                let first = resources.into_iter().next().and_then(|resource| resource.resource);
                Some(Statement { version: system_version_info, nonce, content: first.map(|any| any.value) })
            }
            Self::StateOfTheWorld => {
                let DiscoveryResponse { version_info, nonce, resources, .. } = DiscoveryResponse::from_bytes(&content).ok()?;
                Some(Statement { version: version_info, nonce, content: resources.into_iter().next().map(|any| any.value) })
            }
        }
    }

    fn request(self, version: &str, nonce: &str, error: Option<Status>) -> Bytes {
        let content = match self {
            Self::Delta => DeltaDiscoveryRequest {
                type_url: ROOTS.to_owned(),
                response_nonce: nonce.to_owned(),
                error_detail: error,
                ..DeltaDiscoveryRequest::default()
            }
            .to_bytes(),
            Self::StateOfTheWorld => DiscoveryRequest {
                version_info: version.to_owned(),
                type_url: ROOTS.to_owned(),
                response_nonce: nonce.to_owned(),
                error_detail: error,
                ..DiscoveryRequest::default()
            }
            .to_bytes(),
        };
        messages::framed(&content)
    }
}

/// Keeps what istiod says on one stream, and answers each when it is served. Ends with the stream.
pub(crate) async fn keep(protocol: Protocol, mut statements: UnboundedReceiver<Statement>, answers: UnboundedSender<Bytes>, roots: Roots) {
    while let Some(statement) = statements.recv().await {
        let served = tokio::select! {
            served = serve(&statement, &roots) => served,
            () = answers.closed() => return,
        };
        let error = served.err().map(|message| {
            tracing::error!("roots from istiod are not used: {message}");
            Status { code: INTERNAL, message, ..Status::default() }
        });
        if answers.send(protocol.request(&statement.version, &statement.nonce, error)).is_err() {
            return;
        }
    }
}

async fn serve(statement: &Statement, roots: &Roots) -> Result<(), String> {
    let Some(content) = &statement.content else { return Ok(()) };
    let told = ProxyConfig::decode(content.clone()).map_err(|error| error.to_string())?.ca_certificates_pem;
    let before = roots.edition().number;
    let edition = roots.told(&told).map_err(|error| format!("the list of roots {error}"))?;
    if edition != before {
        tracing::info!(roots = told.len(), edition, "istiod has told the roots of the mesh");
    }
    roots.accepted(edition).await.map_err(|message| format!("Envoy refuses the roots: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;
    use xds_api::envoy::service::discovery::v3::Resource;
    use xds_api::google::protobuf::Any;

    /// A response of istiod's with these roots.
    fn response(protocol: Protocol, roots: Vec<String>) -> Bytes {
        let value = ProxyConfig { ca_certificates_pem: roots }.encode_to_vec().into();
        let (content, type_url, nonce) = (Some(Any { type_url: ROOTS.to_owned(), value }), ROOTS.to_owned(), "7".to_owned());
        messages::framed(&match protocol {
            Protocol::Delta => {
                let resources = vec![Resource { name: "roots".to_owned(), resource: content, ..Resource::default() }];
                DeltaDiscoveryResponse { resources, type_url, nonce, ..DeltaDiscoveryResponse::default() }.to_bytes()
            }
            Protocol::StateOfTheWorld => {
                let (resources, version_info) = (content.into_iter().collect(), "3".to_owned());
                DiscoveryResponse { resources, type_url, nonce, version_info, ..DiscoveryResponse::default() }.to_bytes()
            }
        })
    }

    /// The nonce that a request answers, the version that it accepts, and why it refuses.
    fn answered(protocol: Protocol, request: &Bytes) -> (String, String, Option<i32>) {
        let content = messages::content(request).unwrap();
        match protocol {
            Protocol::Delta => {
                let request = DeltaDiscoveryRequest::from_bytes(&content).unwrap();
                (request.response_nonce, String::new(), request.error_detail.map(|error| error.code))
            }
            Protocol::StateOfTheWorld => {
                let request = DiscoveryRequest::from_bytes(&content).unwrap();
                (request.response_nonce, request.version_info, request.error_detail.map(|error| error.code))
            }
        }
    }

    #[tokio::test]
    async fn roots_are_acknowledged_when_envoy_has_them_and_refused_when_nobody_can_use_them() {
        let lifetime = std::time::Duration::from_secs(60);
        let root = ca::generate("mesh", ca::KeyAlgorithm::EcdsaP256, lifetime, std::time::SystemTime::now()).unwrap().roots;
        for (protocol, version) in [(Protocol::Delta, ""), (Protocol::StateOfTheWorld, "3")] {
            assert!(!protocol.asks_for_listeners(&protocol.question()));
            let (roots, (said, statements), (answers, mut own)) = (Roots::default(), unbounded_channel(), unbounded_channel());
            let envoy = roots.follow();
            tokio::spawn(keep(protocol, statements, answers, roots.clone()));
            said.send(protocol.statement(&response(protocol, vec![root.clone()])).unwrap()).unwrap();
            while roots.edition().number == 0 {
                tokio::task::yield_now().await;
            }
            assert!(own.try_recv().is_err(), "Envoy does not have them yet");
            envoy.accept(1);
            assert_eq!(answered(protocol, &own.recv().await.unwrap()), ("7".to_owned(), version.to_owned(), None));
            assert_eq!(roots.edition().pem, root);

            said.send(protocol.statement(&response(protocol, vec!["garbage".to_owned()])).unwrap()).unwrap();
            assert_eq!(answered(protocol, &own.recv().await.unwrap()).2, Some(INTERNAL));
            assert_eq!(roots.edition().pem, root, "those of before stay");
        }
    }

    #[test]
    fn envoys_messages_are_its_own() {
        let listeners = |node| DeltaDiscoveryRequest { node, type_url: LISTENERS.to_owned(), ..DeltaDiscoveryRequest::default() };
        assert!(Protocol::Delta.asks_for_listeners(&messages::framed(&listeners(None).to_bytes())));
        let listeners = DiscoveryRequest { type_url: LISTENERS.to_owned(), ..DiscoveryRequest::default() };
        assert!(Protocol::StateOfTheWorld.asks_for_listeners(&messages::framed(&listeners.to_bytes())));
        let configuration = DeltaDiscoveryResponse { type_url: LISTENERS.to_owned(), ..DeltaDiscoveryResponse::default() };
        assert_eq!(Protocol::Delta.statement(&messages::framed(&configuration.to_bytes())), None);
    }
}
