//! Who was given which certificate, with which roots: what a rotation waits for.

use crate::signer::seconds;
use base::SpiffeIdentity;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// What one workload was given last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its identity, with the trust domain that is in the certificate.
    pub identity: SpiffeIdentity,
    /// The fingerprint of the certificate that has signed.
    pub signer: String,
    /// The hash of the bundle that came with it.
    pub bundle: String,
    /// When the certificate is not valid any more: seconds since 1970.
    pub expires: i64,
}

/// A workload: by the id of its node if its agent names it ([`crate::api::NODE_HEADER`]), else by service account and
/// address. A trust domain may change meanwhile, so it is no part of it.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Node(String),
    Address(String, String, IpAddr),
}

/// The holders of certificates of ours that have not expired.
#[derive(Default)]
pub struct Holders(Mutex<HashMap<Key, Holder>>);

/// With more holders than this, those whose certificates have expired are looked for and forgotten.
const REMEMBERED: usize = 20_000;

impl Holders {
    /// A workload has got a certificate. `node` is what its agent says of itself; only workloads of the same namespace
    /// could be named wrongly by it.
    pub fn note(&self, node: Option<&str>, address: IpAddr, holder: Holder, now: SystemTime) {
        let mut holders = self.lock();
        if holders.len() >= REMEMBERED && holders.len().is_power_of_two() {
            let now = seconds(now);
            holders.retain(|_, holder| holder.expires > now);
        }
        holders.insert(key(node, address, &holder.identity), holder);
    }

    /// What a connected proxy was given last; `None` if it has asked another replica, or an earlier process.
    pub fn of(&self, node: &str, address: IpAddr, identity: &SpiffeIdentity) -> Option<Holder> {
        let holders = self.lock();
        let named = holders.get(&key(Some(node), address, identity));
        named.or_else(|| holders.get(&key(None, address, identity))).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(node: Option<&str>, address: IpAddr, identity: &SpiffeIdentity) -> Key {
    match node {
        // The namespace is proved and keeps one from overwriting what is known of another's proxies.
        Some(node) => Key::Node(format!("{}/{node}", identity.namespace)),
        None => Key::Address(identity.namespace.clone(), identity.service_account.clone(), address.to_canonical()),
    }
}
