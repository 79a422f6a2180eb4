//! Route configurations whose virtual hosts are resources of their own (VHDS), out of the parts of whole ones.

use crate::rows::Interner;
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};
use rustc_hash::FxHashSet;
use std::sync::Arc;
use xds_api::Wire;
use xds_api::envoy::config::{
    core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource, config_source::ConfigSourceSpecifier},
    route::v3::{RouteConfiguration, Vhds},
};
use xds_wire::{Encoded, Part, ResourceType, Resources};

/// What a part serves to proxies that get virtual hosts one by one.
#[derive(Default)]
pub struct OneByOne {
    /// The route configurations. Those that have only one virtual host, for every name, are whole.
    pub routes: Resources,
    /// The virtual hosts of all others, under `<route configuration>/<virtual host>`.
    pub hosts: Resources,
}

impl OneByOne {
    /// Follows the route configurations from `before` to `now`. Cost: what differs is made, and of each that differs every
    /// virtual host is looked at.
    pub fn advance(&mut self, before: &Resources, now: &[Arc<Encoded>], interner: &mut Interner) {
        let names: FxHashSet<&str> = now.iter().map(|routes| &*routes.name).collect();
        for gone in before.iter().filter(|routes| !names.contains(&*routes.name)) {
            self.routes.remove(&gone.name);
            gone.parts().iter().for_each(|part| self.remove(&gone.name, part));
        }
        for routes in now {
            let known = before.get(&routes.name);
            if known.is_some_and(|known| Arc::ptr_eq(known, routes)) {
                continue;
            }
            let Some(bare) = routes.bare(ResourceType::Route, &discovery()) else {
                self.routes.insert(routes.clone());
                continue;
            };
            self.routes.insert(interner.keep(ResourceType::Route, bare));
            let old = known.map(|known| known.parts()).unwrap_or_default();
            let pointers = |parts: &[Arc<Part>]| parts.iter().map(Arc::as_ptr).collect::<FxHashSet<_>>();
            let (had, has) = (pointers(old), pointers(routes.parts()));
            old.iter().filter(|part| !has.contains(&Arc::as_ptr(part))).for_each(|part| self.remove(&routes.name, part));
            for part in routes.parts().iter().filter(|part| !part.stays && !had.contains(&Arc::as_ptr(part))) {
                if let Some((name, body)) = renamed(&routes.name, &part.bytes) {
                    self.hosts.insert(interner.encode(ResourceType::VirtualHost, &name, &body, part.origins.clone()));
                }
            }
        }
    }

    fn remove(&mut self, routes: &str, part: &Part) {
        if let Some((name, _)) = renamed(routes, &part.bytes) {
            self.hosts.remove(&name);
        }
    }
}

/// The field `vhds` of a route configuration.
fn discovery() -> Bytes {
    let source = ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource::default())),
        resource_api_version: ApiVersion::V3.into(),
        ..ConfigSource::default()
    };
    RouteConfiguration { vhds: Some(Vhds { config_source: Some(source) }), ..RouteConfiguration::default() }.to_bytes()
}

/// The name of the resource, and the virtual host under that name: Envoy looks for it by the one and removes it by the other.
/// `element` is a virtual host within a route configuration; its name is its first field.
fn renamed(routes: &str, element: &Bytes) -> Option<(String, Bytes)> {
    const NAME: u64 = (1 << 3) | 2;
    let mut rest = element.clone();
    decode_varint(&mut rest).and_then(|_| decode_varint(&mut rest)).ok()?;
    if decode_varint(&mut rest).ok()? != NAME {
        return None;
    }
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let name = format!("{routes}/{}", std::str::from_utf8(rest.get(..length)?).ok()?);
    let mut body = BytesMut::with_capacity(rest.len() + routes.len() + 8);
    encode_key(1, WireType::LengthDelimited, &mut body);
    encode_varint(name.len() as u64, &mut body);
    body.put_slice(name.as_bytes());
    body.put_slice(rest.get(length..)?);
    Some((name, body.freeze()))
}

#[cfg(test)]
mod tests;
