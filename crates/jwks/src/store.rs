//! Keys that outlive the process: an issuer that is away while istiod starts would refuse every good token otherwise.

use config::JwksSource;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The keys of an issuer, as they were last confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownKeys {
    /// The JSON Web Key Set.
    pub keys: Arc<str>,
    /// When the issuer has last given them: seconds since 1970.
    pub confirmed: u64,
}

/// By where they come from.
pub type AllKnown = BTreeMap<JwksSource, KnownKeys>;

/// Keeps keys. They are public, but whoever may write there decides whose tokens are good.
pub trait KeyStore: Send + Sync {
    /// What is kept; nothing if nothing is. The text of an error is logged.
    fn load(&self) -> BoxFuture<'_, Result<AllKnown, String>>;

    /// Keeps these, beside what others have written of other issuers, and of the same ones later.
    fn save<'a>(&'a self, known: &'a AllKnown) -> BoxFuture<'a, Result<(), String>>;
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    confirmed: u64,
    key_set: String,
}

/// The text that is kept.
///
/// # Errors
/// Never in practice.
pub fn encode(known: &AllKnown) -> Result<String, serde_json::Error> {
    let mut rows = Vec::new();
    for (source, KnownKeys { keys, confirmed }) in known {
        let (uri, issuer) = match source {
            JwksSource::Uri(uri) => (Some(uri.to_string()), None),
            JwksSource::Discovery(issuer) => (None, Some(issuer.to_string())),
        };
        rows.push(Row { uri, issuer, confirmed: *confirmed, key_set: keys.to_string() });
    }
    serde_json::to_string_pretty(&rows)
}

/// What a text keeps.
///
/// # Errors
/// If the text is something else.
pub fn decode(text: &str) -> Result<AllKnown, serde_json::Error> {
    let rows: Vec<Row> = serde_json::from_str(text)?;
    let known = rows.into_iter().filter_map(|row| {
        let source = match (row.uri, row.issuer) {
            (Some(uri), _) => JwksSource::Uri(uri.into()),
            (None, Some(issuer)) => JwksSource::Discovery(issuer.into()),
            (None, None) => return None,
        };
        Some((source, KnownKeys { keys: row.key_set.into(), confirmed: row.confirmed }))
    });
    Ok(known.collect())
}

/// `kept` with what `known` knows later. Keys that are the same are not worth a write while they were confirmed within
/// `fresh`.
pub fn merged(kept: &AllKnown, known: &AllKnown, fresh: Duration) -> AllKnown {
    let mut all = kept.clone();
    for (source, keys) in known {
        let worth = all.get(source).is_none_or(|old| {
            old.confirmed < keys.confirmed && (old.keys != keys.keys || old.confirmed + fresh.as_secs() < keys.confirmed)
        });
        if worth {
            all.insert(source.clone(), keys.clone());
        }
    }
    all
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A file, for one istiod without a cluster.
pub struct FileKeyStore(pub PathBuf);

impl KeyStore for FileKeyStore {
    fn load(&self) -> BoxFuture<'_, Result<AllKnown, String>> {
        Box::pin(async {
            match fs::read_to_string(&self.0) {
                Ok(text) => decode(&text).map_err(|error| format!("{}: {error}", self.0.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(AllKnown::new()),
                Err(error) => Err(format!("{}: {error}", self.0.display())),
            }
        })
    }

    fn save<'a>(&'a self, known: &'a AllKnown) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async {
            let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", self.0.display());
            let text = encode(known).map_err(|error| failed(&error))?;
            if let Some(folder) = self.0.parent() {
                fs::create_dir_all(folder).map_err(|error| failed(&error))?;
            }
            let new = self.0.with_extension("new");
            fs::write(&new, text).and_then(|()| fs::rename(&new, &self.0)).map_err(|error| failed(&error))
        })
    }
}
