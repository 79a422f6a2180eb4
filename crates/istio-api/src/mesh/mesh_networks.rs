//! MeshNetworks (`mesh/v1alpha1/network.proto`): which endpoints are in which network, and its gateways.

use crate::message::message;
use serde_json::Value;
use std::collections::BTreeMap;

message! {
    /// The networks of the mesh.
    pub struct MeshNetworks {
        /// By name.
        pub networks: BTreeMap<String, Network>,
    }

    /// A network.
    pub struct Network {
        /// What belongs to it.
        pub endpoints: Vec<NetworkEndpoints>,
        /// Where it is entered from outside.
        pub gateways: Vec<IstioNetworkGateway>,
    }

    /// Endpoints of a network.
    pub struct NetworkEndpoints {
        /// By address.
        pub from_cidr: Option<String>,
        /// By cluster.
        pub from_registry: Option<String>,
    }
    oneof selection: EndpointSelection { from_cidr => FromCidr(str), from_registry => FromRegistry(str) }

    /// A gateway of a network.
    pub struct IstioNetworkGateway {
        /// The Service of the gateway in full.
        pub registry_service_name: Option<String>,
        /// An address or name outside the registry.
        pub address: Option<String>,
        /// Its port.
        pub port: u32,
        /// `region/zone/subzone`
        pub locality: String,
    }
    oneof gateway: NetworkGatewayAddress { registry_service_name => RegistryServiceName(str), address => Address(str) }
}

impl MeshNetworks {
    /// The networks of a ConfigMap. Unknown fields are skipped; errors are wrong types.
    pub fn from_yaml_value(document: Value) -> Result<Self, serde_json::Error> {
        serde_json::from_value::<Option<Self>>(document).map(Option::unwrap_or_default)
    }
}
