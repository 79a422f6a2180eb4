//! Random and damaged input of everything that strangers may send. `make fuzz` runs this for minutes, with other numbers.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod mesh;

use base::SpiffeIdentity;
use ca::{
    KeyMaterial, PeerLimits, Signer,
    authenticate::{Authenticator, ClientCertificate, Expected, KeySet, Presented, TokenIssuer, Tokens, TokensSettings, verify},
    csr, pem,
};
use mesh::{HOUR, csr, now, root};
use std::time::{Duration, Instant, SystemTime};

/// A generator of numbers that are the same in every run with the same seed (xorshift).
struct Random(u64);

impl Random {
    fn new(salt: u64) -> Self {
        let seed: u64 = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        Self((seed << 8 | salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % limit.max(1)
    }

    /// Changes, removes, doubles or inserts some bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().max(1));
            match self.below(6) {
                0 if !bytes.is_empty() => bytes.truncate(at),
                1 if !bytes.is_empty() => drop(bytes.remove(at)),
                2 => bytes.insert(at.min(bytes.len()), u8::try_from(self.below(256)).unwrap()),
                3 => bytes.extend_from_within(at.min(bytes.len())..),
                _ => {
                    let value = u8::try_from(self.below(256)).unwrap();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = value;
                    }
                }
            }
        }
    }
}

/// Rounds until the time is over: `FUZZ_SECONDS`, else a second.
fn rounds(salt: u64, mut round: impl FnMut(&mut Random)) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut random, until, mut count) = (Random::new(salt), Instant::now() + Duration::from_secs(seconds), 0);
    while Instant::now() < until {
        (0..50).for_each(|_| round(&mut random));
        count += 50;
    }
    told(salt, count);
}

/// `make fuzz` shows it.
fn told(salt: u64, count: usize) {
    println!("{} has run {count} rounds (salt {salt})", std::thread::current().name().unwrap_or_default());
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[test]
fn requests_for_certificates() {
    let good = csr();
    let key = csr::verify(&good).unwrap();
    let body: String = good.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
    rounds(1, |random| {
        let mut bytes = der.clone();
        random.damage(&mut bytes);
        let changed = bytes != der;
        if let Ok(signed) = csr::verify(&pem::encode("CERTIFICATE REQUEST", &bytes)) {
            // Whatever is signed is the key that has signed the request.
            assert!(!changed || signed == key, "a damaged request is taken");
        }
        // It asks for no name at all; what does not decode asks for nothing.
        assert!(!csr::names_only(&pem::encode("CERTIFICATE REQUEST", &bytes), &cart()) || bytes != der);
        let mut armoured = good.clone().into_bytes();
        random.damage(&mut armoured);
        if let Ok(signed) = csr::verify(&text(armoured)) {
            assert_eq!(signed, key);
        }
    });
}

fn cart() -> SpiffeIdentity {
    SpiffeIdentity { trust_domain: "cluster.local".into(), namespace: "shop".into(), service_account: "cart".into() }
}

#[tokio::test]
async fn forwarded_certificates() {
    let mesh = mesh::Mesh::new();
    let metrics = ca::Metrics::new(&prometheus::Registry::new()).unwrap();
    let tokens = Tokens::new(base::ClusterId::new("Kubernetes"), TokensSettings::default());
    let gateways = vec!["10.0.0.0/8".parse().unwrap()];
    let authenticator = Authenticator::new(mesh.authority.clone(), tokens, metrics).with_trusted_gateways(gateways);
    let good =
        r#"By=spiffe://cluster.local/ns/edge/sa/gw;Hash=ab;Subject="CN=\"a\",O=b";URI=spiffe://cluster.local/ns/shop/sa/cart;DNS=a.b"#;
    let (mut random, mut count) = (Random::new(7), 0);
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let mut bytes = good.as_bytes().to_vec();
        random.damage(&mut bytes);
        let header = text(bytes);
        let presented = Presented { forwarded: Some(&header), address: Some([10, 0, 0, 1].into()), ..Presented::default() };
        if let Ok(caller) = authenticator.authenticate(presented, SystemTime::now()).await {
            // Whoever it is, the header names it, in its last element.
            let named = format!("/ns/{}/sa/{}", caller.identity.namespace, caller.identity.service_account);
            assert!(header.contains(&named), "{header:?} is taken for {}", caller.identity);
        }
        count += 1;
    }
    told(7, count);
}

#[test]
fn tokens() {
    let issuer = TokenIssuer::generate().unwrap();
    let keys = KeySet::parse(&issuer.key_set()).unwrap();
    let expected = Expected { audiences: vec!["istio-ca".into()], issuer: None };
    let good = issuer.issue("shop", "cart", "istio-ca", HOUR, now()).unwrap();
    let claims = verify(&good, &keys, &expected, now()).unwrap();
    rounds(2, |random| {
        let mut bytes = good.clone().into_bytes();
        random.damage(&mut bytes);
        let token = text(bytes);
        if token != good
            && let Ok(found) = verify(&token, &keys, &expected, now())
        {
            assert_eq!(found, claims, "a damaged token proves something else");
        }
    });
}

#[test]
fn key_sets() {
    let good = TokenIssuer::generate().unwrap().key_set();
    rounds(3, |random| {
        let mut bytes = good.clone().into_bytes();
        random.damage(&mut bytes);
        // What cannot be read is said; what can is a set of keys.
        drop(KeySet::parse(&text(bytes)));
    });
}

#[test]
fn keys_and_certificates() {
    let good = root();
    rounds(4, |random| {
        let mut material = good.clone();
        let KeyMaterial { certificate, key, chain, roots, .. } = &mut material;
        let part = [certificate, key, chain, roots].into_iter().nth(random.below(4)).unwrap();
        let mut bytes = std::mem::take(part).into_bytes();
        random.damage(&mut bytes);
        *part = text(bytes);
        drop(Signer::new(&material, SystemTime::now()));
    });
}

#[test]
fn certificates_of_clients() {
    let der = pem::certificates(&root().certificate).unwrap().remove(0).to_vec();
    rounds(5, |random| {
        let mut bytes = der.clone();
        random.damage(&mut bytes);
        assert_eq!(ClientCertificate::read(&bytes.into()), None, "it has no identity");
    });
}

#[tokio::test]
async fn messages() {
    let mesh = mesh::Mesh::with(&root(), PeerLimits { burst: f64::MAX, ..PeerLimits::default() }, None);
    let token = mesh.token("shop", "cart");
    let message = ca::api::CertificateRequest { csr: csr(), validity_duration: 60, metadata: None };
    let mut good = vec![0; 5];
    prost::Message::encode(&message, &mut good).unwrap();
    let length = u32::try_from(good.len() - 5).unwrap().to_be_bytes();
    good.splice(1..5, length);
    let (mut random, mut count) = (Random::new(6), 0);
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let mut bytes = good.clone();
        random.damage(&mut bytes);
        // A refusal or an answer, and it goes on.
        drop(mesh.send_bytes(bytes.into(), Some(&token), None).await);
        count += 1;
    }
    told(6, count);
    mesh.send_bytes(good.into(), Some(&token), None).await.unwrap();
}
