//! SPIFFE identities of workloads.

use std::fmt;

/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SpiffeIdentity {
    /// `cluster.local` unless the mesh says otherwise.
    pub trust_domain: String,
    /// The namespace of the workload.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
}

impl SpiffeIdentity {
    /// Parses the URI form; `None` for any other.
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let trust_domain = parts.next().filter(|part| !part.is_empty())?;
        let ("ns", namespace, "sa", service_account, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next())
        else {
            return None;
        };
        Some(Self { trust_domain: trust_domain.into(), namespace: namespace.into(), service_account: service_account.into() })
    }
}

impl fmt::Display for SpiffeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusal() {
        let uri = "spiffe://cluster.local/ns/shop/sa/cart";
        assert_eq!(SpiffeIdentity::parse(uri).unwrap().to_string(), uri);
        assert_eq!(SpiffeIdentity::parse("spiffe://cluster.local/ns/shop/sa/cart/x"), None);
        assert_eq!(SpiffeIdentity::parse("https://cluster.local/ns/shop/sa/cart"), None);
    }
}
