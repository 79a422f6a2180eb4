//! Random and damaged Secrets and names of them. `make fuzz` runs this for minutes, with other numbers.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

use istio_api::{Metadata, Object, kubernetes::secret::Secret, scalar::Bytes};
use model::{Credential, CredentialReference};
use rcgen::{CertificateParams, KeyPair};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn secrets() {
    let key = KeyPair::generate().unwrap();
    let good = [("tls.crt", CertificateParams::default().self_signed(&key).unwrap().pem()), ("tls.key", key.serialize_pem())];
    let secret = |entries: &[(&str, Vec<u8>)]| {
        let data = entries.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes(bytes.clone()))).collect();
        Arc::new(Object { metadata: Metadata::default(), spec: Secret { data, ..Secret::default() }, status: Default::default() })
    };
    let mut state = number("FUZZ_SEED", 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 16).unwrap() % limit.max(1)
    };
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 1));
    let (mut count, mut taken) = (0, 0);
    while Instant::now() < until {
        let mut entries: Vec<(&str, Vec<u8>)> = good.iter().map(|(name, pem)| (*name, pem.clone().into_bytes())).collect();
        let bytes = &mut entries.get_mut(below(2)).unwrap().1;
        let at = below(bytes.len());
        match below(4) {
            0 => bytes.truncate(at),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, u8::try_from(below(256)).unwrap()),
            _ => *bytes.get_mut(at).unwrap() = u8::try_from(below(256)).unwrap(),
        }
        let credential = Credential::read(&secret(&entries));
        // What is taken is the pair as it stands; what is not has a reason.
        match credential.certificate() {
            Ok((certificate, key)) => {
                assert!(entries.iter().map(|(_, bytes)| bytes.as_slice()).eq([certificate, key]));
                taken += 1;
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
        let name: String = (0..below(12)).map(|_| ['a', '/', ':', '-', '.', ' '].get(below(6)).copied().unwrap()).collect();
        if let Some(reference) = CredentialReference::parse(&name) {
            assert!(!reference.name.is_empty() && reference.namespace != Some(""), "{name:?}");
        }
        count += 1;
    }
    println!("secrets has run {count} rounds; {taken} were as good as before");
}
