//! Who is connected and how far each one is: for the debug pages.

use crate::{
    connection::{Connection, Protocol},
    discovery::Peer,
    type_state::{Sent, TypeState},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};
use xds_api::{envoy::config::core::v3::Node, google::protobuf::value::Kind};
use xds_wire::{ResourceName, ResourceType, View};

/// A handle to the streams of a server; clones see the same streams.
#[derive(Clone, Default)]
pub struct Connections {
    entries: Arc<Mutex<BTreeMap<u64, Arc<Entry>>>>,
}

/// One connected stream.
pub(crate) struct Entry {
    pub id: String,
    /// Without the list of extensions, which is 60 KB and read by nobody.
    pub node: Arc<Node>,
    pub peer: Peer,
    pub connected_at: SystemTime,
    pub connection: Mutex<Connection>,
}

/// One stream, as the debug pages show it.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// `<node id>-<number>`, as Istio's.
    pub id: String,
    /// The node, without its list of extensions.
    pub node: Arc<Node>,
    /// `CLUSTER_ID` of the metadata; empty if missing.
    pub cluster_id: String,
    /// `ISTIO_VERSION` of the metadata; empty for an Envoy without Istio's agent.
    pub istio_version: String,
    /// Where the connection comes from, and who that is.
    pub peer: Peer,
    /// When the stream was accepted.
    pub connected_at: SystemTime,
    /// Which variant it speaks.
    pub protocol: Protocol,
    /// It has accepted everything that it was sent, and nothing is due.
    pub settled: bool,
    /// The types that it has asked for, in the order in which they are sent.
    pub types: Vec<TypeStatus>,
}

/// One type of one stream.
#[derive(Clone, Debug)]
pub struct TypeStatus {
    /// The type.
    pub kind: ResourceType,
    /// It has subscribed to all resources of the type.
    pub wildcard: bool,
    /// The names it has subscribed to, in order.
    pub names: Vec<ResourceName>,
    /// The last response.
    pub sent: Option<ResponseStatus>,
    /// The last response that the proxy accepted; `at` is the time of that.
    pub acknowledged: Option<ResponseStatus>,
    /// Why the proxy has refused the last response that it answered.
    pub error: Option<Arc<str>>,
    /// It has accepted everything of this type that it was sent, and nothing is due.
    pub settled: bool,
}

/// One response of one stream.
#[derive(Clone, PartialEq, Debug)]
pub struct ResponseStatus {
    /// Its nonce.
    pub nonce: Arc<str>,
    /// The revision of the view that it was made from.
    pub revision: u64,
    /// The number of resources in it.
    pub resources: usize,
    /// When.
    pub at: SystemTime,
}

impl Connections {
    /// All streams, oldest first.
    pub fn list(&self) -> Vec<ConnectionStatus> {
        let entries: Vec<_> = self.lock().values().cloned().collect();
        entries.iter().map(|entry| entry.status()).collect()
    }

    /// The node and the newest view of the proxy with this node id (`<type>~<ip>~<pod>.<namespace>~<domain>`), or with
    /// this `<pod>.<namespace>`; of its newest stream if there are several.
    pub fn get_view(&self, proxy_id: &str) -> Option<(Node, Arc<View>)> {
        let entries = self.lock();
        let entry =
            entries.values().rev().find(|entry| entry.node.id == proxy_id || entry.node.id.split('~').nth(2) == Some(proxy_id))?.clone();
        drop(entries);
        let view = entry.lock().view.clone();
        Some((Node::clone(&entry.node), view))
    }

    pub(crate) fn add(&self, number: u64, entry: Arc<Entry>) -> Registered {
        self.lock().insert(number, entry);
        Registered { connections: self.clone(), number }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the stream off the list when it is dropped.
pub(crate) struct Registered {
    connections: Connections,
    number: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.lock().remove(&self.number);
    }
}

impl Entry {
    pub fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> ConnectionStatus {
        let connection = self.lock();
        let types = connection.types.iter().filter(|(_, state)| state.requested);
        ConnectionStatus {
            id: self.id.clone(),
            node: self.node.clone(),
            cluster_id: metadata(&self.node, "CLUSTER_ID"),
            istio_version: metadata(&self.node, "ISTIO_VERSION"),
            peer: self.peer.clone(),
            connected_at: self.connected_at,
            protocol: connection.settings.protocol,
            settled: connection.is_settled(),
            types: types.map(|(kind, state)| state.status(kind, connection.is_settled_for(kind))).collect(),
        }
    }
}

impl TypeState {
    fn status(&self, kind: ResourceType, settled: bool) -> TypeStatus {
        TypeStatus {
            kind,
            wildcard: self.interest.wildcard,
            names: self.interest.names().iter().cloned().collect(),
            sent: self.sent.as_ref().map(Sent::status),
            acknowledged: self.acknowledged.as_ref().map(Sent::status),
            error: self.error.clone(),
            settled,
        }
    }
}

impl Sent {
    fn status(&self) -> ResponseStatus {
        let now = Instant::now();
        let at = SystemTime::now().checked_sub(now.saturating_duration_since(self.at)).unwrap_or(SystemTime::UNIX_EPOCH);
        ResponseStatus { nonce: self.nonce.clone(), revision: self.revision, resources: self.resources, at }
    }
}

/// A string of the node's metadata; empty if it is missing or no string.
pub(crate) fn metadata(node: &Node, key: &str) -> String {
    let value = node.metadata.as_ref().and_then(|metadata| metadata.fields.get(key));
    match value.and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}
