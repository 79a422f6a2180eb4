//! Host names with Istio's wildcard rules (`pkg/config/host/name.go`): a wildcard is a leading `*`, alone or before a
//! suffix (`*.example.com`, `*example.com`).

use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// A host name, possibly with a leading wildcard. It is shown as it was written, and compared without regard to case.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Hostname {
    text: Arc<str>,
    /// In lower case; the same allocation if it was written so.
    folded: Arc<str>,
}

impl Hostname {
    /// Takes `text` as it is; syntax is the business of validation.
    pub fn new(text: impl AsRef<str>) -> Self {
        let text: Arc<str> = Arc::from(text.as_ref());
        let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        let folded = if upper { Arc::from(text.to_ascii_lowercase()) } else { text.clone() };
        Self { text, folded }
    }

    /// The name in full of a host in a user's object: a name without a dot is a service of `namespace`
    /// (Istio's `ResolveShortnameToFQDN`); wildcards, IP addresses and dotted names stay as they are.
    pub fn resolve(text: &str, namespace: &str, domain: &str) -> Self {
        if text.is_empty() || text == "*" || text.contains('.') || text.contains(':') {
            return Self::new(text);
        }
        Self::new(format!("{text}.{namespace}.svc.{domain}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the name begins with `*`.
    pub fn is_wildcard(&self) -> bool {
        self.folded.starts_with('*')
    }

    /// The part behind the `*` of a wildcard.
    fn suffix(&self) -> Option<&str> {
        self.folded.strip_prefix('*')
    }

    /// Whether some concrete name belongs to both (bidirectional: Istio's `Matches`).
    pub fn matches(&self, other: &Hostname) -> bool {
        match (self.suffix(), other.suffix()) {
            (None, None) => self.folded == other.folded,
            (Some(mine), None) => other.folded.ends_with(mine),
            (None, Some(theirs)) => self.folded.ends_with(theirs),
            (Some(mine), Some(theirs)) => mine.ends_with(theirs) || theirs.ends_with(mine),
        }
    }

    /// Whether every concrete name of `self` belongs to `other` (one direction: Istio's `SubsetOf`).
    pub fn subset_of(&self, other: &Hostname) -> bool {
        match (self.suffix(), other.suffix()) {
            (None, None) => self.folded == other.folded,
            (None, Some(theirs)) => self.folded.ends_with(theirs),
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => mine.ends_with(theirs),
        }
    }

    /// Orders the most specific first: exact names before wildcards, longer before shorter, then by the alphabet
    /// (Istio's `MoreSpecific`).
    pub fn specificity(&self, other: &Hostname) -> Ordering {
        self.is_wildcard()
            .cmp(&other.is_wildcard())
            .then_with(|| other.folded.len().cmp(&self.folded.len()))
            .then_with(|| self.folded.cmp(&other.folded))
    }
}

impl From<&str> for Hostname {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Hostname {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Hostname> for String {
    fn from(host: Hostname) -> Self {
        host.text.to_string()
    }
}

impl PartialEq for Hostname {
    fn eq(&self, other: &Self) -> bool {
        self.folded == other.folded
    }
}

impl Eq for Hostname {}

impl PartialOrd for Hostname {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Hostname {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded.cmp(&other.folded)
    }
}

impl Hash for Hostname {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded.hash(state);
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Hostname {
        Hostname::new(text)
    }

    #[test]
    fn matches_is_bidirectional_and_subset_is_not() {
        assert!(host("*.com").matches(&host("a.com")) && host("a.com").matches(&host("*.com")));
        assert!(host("*.com").matches(&host("*.a.com")) && host("*.a.com").matches(&host("*.com")));
        assert!(!host("*.b.com").matches(&host("*.a.com")));
        assert!(host("*.a.com").subset_of(&host("*.com")) && !host("*.com").subset_of(&host("*.a.com")));
        assert!(host("A.com") == host("a.com") && host("*.A.com").matches(&host("b.a.com")));
        assert_eq!(host("A.com").to_string(), "A.com");
    }

    #[test]
    fn short_names_resolve_in_their_namespace() {
        assert_eq!(Hostname::resolve("reviews", "shop", "cluster.local").as_str(), "reviews.shop.svc.cluster.local");
        assert_eq!(Hostname::resolve("a.b", "shop", "cluster.local").as_str(), "a.b");
        assert_eq!(Hostname::resolve("*", "shop", "cluster.local").as_str(), "*");
    }

    #[test]
    fn the_most_specific_sorts_first() {
        let mut hosts = [host("*"), host("*.a.com"), host("b.a.com"), host("*.b.a.com")];
        hosts.sort_by(Hostname::specificity);
        assert_eq!(hosts.map(|h| h.to_string()), ["b.a.com", "*.b.a.com", "*.a.com", "*"]);
    }
}
