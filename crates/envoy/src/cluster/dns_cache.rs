//! Where the names that requests ask for are resolved. A cluster and the filters in front of it share a cache by its name,
//! and Envoy refuses two caches of one name that differ.

use super::inputs::IpFamilies;
use super::outbound::lookup_family;
use base::Hostname;
use xds_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;

/// Hosts that the cache of unknown names holds (`ALLOW_ANY_DYNAMIC_DNS`).
const ALLOW_ANY_MAX_HOSTS: u32 = 1024;

/// One cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsCache {
    name: String,
    max_hosts: Option<u32>,
    families: IpFamilies,
}

impl DnsCache {
    /// That of a ServiceEntry with resolution DYNAMIC_DNS.
    pub fn of_service(hostname: &Hostname, families: IpFamilies) -> Self {
        Self { name: format!("{hostname}_dfp_dns_cache"), max_hosts: None, families }
    }

    /// That of names which the mesh does not know.
    pub fn allow_any(families: IpFamilies) -> Self {
        Self { name: "allow_any_dfp_dns_cache".to_owned(), max_hosts: Some(ALLOW_ANY_MAX_HOSTS), families }
    }

    /// Its name, which tells caches apart.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn config(&self) -> DnsCacheConfig {
        DnsCacheConfig {
            name: self.name.clone(),
            dns_lookup_family: lookup_family(self.families).into(),
            max_hosts: self.max_hosts.map(Into::into),
            ..DnsCacheConfig::default()
        }
    }
}
