//! The roots that the workload trusts: those that came with its certificate, and those that istiod has told since over PCDS.
//! Istio's agent merges them the same way: each once, in the order of their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// The roots at one time.
#[derive(Default, Debug)]
pub struct Edition {
    /// Which it is; 0 before there are any.
    pub number: u64,
    /// All of them, PEM.
    pub pem: String,
}

/// What is known of roots, and why.
#[derive(Default, Debug)]
struct Known {
    /// They came with the last certificate.
    granted: BTreeSet<String>,
    /// istiod has told them over PCDS.
    told: BTreeSet<String>,
    edition: Arc<Edition>,
    /// How often somebody has said something else than what came with the certificate.
    doubts: u64,
}

/// How far a stream of Envoy's is that follows the roots.
#[derive(Clone, Default, Debug)]
struct Follower {
    accepted: u64,
    refused: Option<(u64, String)>,
}

/// The roots; cloning gives the same ones.
#[derive(Clone, Debug)]
pub struct Roots {
    known: watch::Sender<Known>,
    followers: watch::Sender<BTreeMap<u64, Follower>>,
}

impl Default for Roots {
    fn default() -> Self {
        Self { known: watch::Sender::new(Known::default()), followers: watch::Sender::new(BTreeMap::new()) }
    }
}

impl Roots {
    /// The present ones.
    pub fn edition(&self) -> Arc<Edition> {
        self.known.borrow().edition.clone()
    }

    /// A certificate has come, and these roots with it.
    ///
    /// # Errors
    /// If they cannot be read; those of before stay.
    pub fn granted(&self, pem: &str) -> Result<(), ca::pem::PemError> {
        let granted = texts(pem)?;
        self.known.send_modify(|known| {
            known.granted = granted;
            known.renew_edition();
        });
        Ok(())
    }

    /// istiod has told these over PCDS, in place of those that it has told before; which edition has them.
    ///
    /// # Errors
    /// If one cannot be read, or there is none; those of before stay.
    pub fn told(&self, pems: &[String]) -> Result<u64, ca::pem::PemError> {
        let told = texts(&pems.concat())?;
        self.known.send_modify(|known| {
            known.doubt(&told, known.told != told);
            known.told = told;
            known.renew_edition();
        });
        Ok(self.edition().number)
    }

    /// A mounted file has other roots than before. It is no source of them, but a reason to ask for a certificate.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn mounted(&self, pem: &str) -> Result<(), ca::pem::PemError> {
        let mounted = texts(pem)?;
        self.known.send_modify(|known| known.doubt(&mounted, true));
        Ok(())
    }

    /// Hears of every change.
    pub fn changes(&self) -> Changes {
        let mut known = self.known.subscribe();
        let doubts = known.borrow_and_update().doubts;
        Changes { known, doubts }
    }

    /// A stream of Envoy's that has to accept every edition from now on.
    pub fn follow(&self) -> Following {
        let mut number = 0;
        self.followers.send_modify(|followers| {
            number = followers.last_key_value().map_or(0, |(last, _)| last + 1);
            followers.insert(number, Follower::default());
        });
        Following { roots: self.clone(), number }
    }

    /// Resolves when all streams of Envoy's have accepted an edition, or one has refused it.
    ///
    /// # Errors
    /// What Envoy says.
    pub async fn accepted(&self, edition: u64) -> Result<(), String> {
        let mut followers = self.followers.subscribe();
        let refusal = |followers: &BTreeMap<u64, Follower>| {
            followers.values().find_map(|follower| Some(follower.refused.clone().filter(|(refused, _)| *refused >= edition)?.1))
        };
        let decided = |followers: &BTreeMap<u64, Follower>| {
            followers.values().all(|follower| follower.accepted >= edition) || refusal(followers).is_some()
        };
        // The sender is ours.
        let Ok(followers) = followers.wait_for(decided).await else { return Ok(()) };
        refusal(&followers).map_or(Ok(()), Err)
    }
}

impl Known {
    fn renew_edition(&mut self) {
        let pem: String = self.granted.union(&self.told).map(String::as_str).collect();
        if pem != self.edition.pem {
            self.edition = Arc::new(Edition { number: self.edition.number + 1, pem });
        }
    }

    /// Somebody says that these are the roots. Before the first certificate there is nothing to ask for again.
    fn doubt(&mut self, roots: &BTreeSet<String>, changed: bool) {
        if changed && !self.granted.is_empty() && self.granted != *roots {
            self.doubts += 1;
        }
    }
}

/// Each certificate of a text, written in one way.
fn texts(pem: &str) -> Result<BTreeSet<String>, ca::pem::PemError> {
    Ok(ca::pem::certificates(pem)?.iter().map(ca::pem::encode_certificate).collect())
}

/// Changes of the roots, as one reader sees them.
pub struct Changes {
    known: watch::Receiver<Known>,
    doubts: u64,
}

impl Changes {
    /// Resolves with the next change of anything; never, if the roots are gone.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Resolves when another certificate should be asked for, because its roots are not those that others speak of.
    pub async fn doubted(&mut self) {
        let before = self.doubts;
        match self.known.wait_for(|known| known.doubts != before).await.map(|known| known.doubts) {
            Ok(doubts) => self.doubts = doubts,
            Err(_) => std::future::pending().await,
        }
    }

    /// Whatever was doubted until now is settled.
    pub fn settle(&mut self) {
        self.doubts = self.known.borrow().doubts;
    }
}

/// A stream of Envoy's; it is waited for until it is dropped.
pub struct Following {
    roots: Roots,
    number: u64,
}

impl Following {
    /// Envoy has accepted an edition.
    pub fn accept(&self, edition: u64) {
        self.change(|follower| {
            follower.accepted = edition;
            follower.refused = None;
        });
    }

    /// Envoy has refused an edition.
    pub fn refuse(&self, edition: u64, message: String) {
        self.change(|follower| follower.refused = Some((edition, message)));
    }

    fn change(&self, change: impl FnOnce(&mut Follower)) {
        self.roots.followers.send_modify(|followers| {
            if let Some(follower) = followers.get_mut(&self.number) {
                change(follower);
            }
        });
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.roots.followers.send_modify(|followers| drop(followers.remove(&self.number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn root(organization: &str) -> String {
        let lifetime = std::time::Duration::from_secs(60);
        ca::generate(organization, ca::KeyAlgorithm::EcdsaP256, lifetime, std::time::SystemTime::now()).unwrap().roots
    }

    #[test]
    fn roots_are_those_of_the_certificate_and_those_that_were_told() {
        let (old, new, roots) = (root("old"), root("new"), Roots::default());
        let mut changes = roots.changes();
        assert_eq!(roots.told(std::slice::from_ref(&old)), Ok(1), "known before the first certificate");
        roots.granted(&old).unwrap();
        assert_eq!(roots.edition().number, 1, "the same again is no other edition");
        assert!(changes.doubted().now_or_never().is_none(), "what was told is what came");

        roots.told(&[old.clone(), new.clone()]).unwrap();
        assert!(changes.doubted().now_or_never().is_some(), "there is a root that did not come with the certificate");
        assert!(roots.edition().pem.contains(&new));
        roots.granted(&format!("{new}{old}")).unwrap();
        roots.mounted(&format!("{old}{new}")).unwrap();
        assert!(changes.doubted().now_or_never().is_none(), "the file says the same");

        roots.told(std::slice::from_ref(&new)).unwrap();
        assert!(roots.edition().pem.contains(&old), "still that of the certificate");
        assert!(changes.doubted().now_or_never().is_some());
        roots.granted(&new).unwrap();
        assert_eq!(roots.edition().pem, new);
        assert!(roots.told(&["garbage".to_owned()]).is_err());
        assert_eq!(roots.edition().pem, new);
    }

    #[test]
    fn an_edition_is_accepted_when_all_streams_have_it() {
        let roots = Roots::default();
        let edition = roots.told(&[root("first")]).unwrap();
        assert_eq!(roots.accepted(edition).now_or_never(), Some(Ok(())), "nobody follows");
        let (one, other) = (roots.follow(), roots.follow());
        one.accept(edition);
        assert_eq!(roots.accepted(edition).now_or_never(), None);
        other.refuse(edition, "no".to_owned());
        assert_eq!(roots.accepted(edition).now_or_never(), Some(Err("no".to_owned())));
        drop(other);
        assert_eq!(roots.accepted(edition).now_or_never(), Some(Ok(())));
    }
}
