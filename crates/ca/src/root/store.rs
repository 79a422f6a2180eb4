//! Where a self-signed root is kept: a Secret in a cluster, a folder without one.

use super::KeyMaterial;
use futures::future::BoxFuture;
use std::{collections::BTreeMap, fs, io, path::PathBuf};

/// The keys and values of the Secret, or the names and contents of the files. The names are those of Istio's
/// `istio-ca-secret`; a rotation adds its own.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RootData(pub BTreeMap<String, String>);

/// Names of Istio's `istio-ca-secret`.
pub(crate) const CERTIFICATE: &str = "ca-cert.pem";
pub(crate) const KEY: &str = "ca-key.pem";
pub(crate) const CHAIN: &str = "cert-chain.pem";
pub(crate) const ROOTS: &str = "root-cert.pem";
/// Always empty; Istio writes it too.
const UNUSED_KEY: &str = "key.pem";

impl RootData {
    /// What is stored of a root that nothing rotates.
    pub fn of(material: KeyMaterial) -> Self {
        let mut data = Self::default();
        data.set(&material);
        data
    }

    /// Replaces what signs and what is trusted; whatever else is there stays.
    pub fn set(&mut self, material: &KeyMaterial) {
        let values = [(CERTIFICATE, &material.certificate), (KEY, &material.key), (CHAIN, &material.chain), (ROOTS, &material.roots)];
        self.0.extend(values.map(|(name, value)| (name.to_owned(), value.clone())));
        self.0.insert(UNUSED_KEY.to_owned(), String::new());
    }

    /// What signs and what is trusted. A Secret of an Istio that had no `root-cert.pem` yet trusts its own certificate.
    pub fn material(&self) -> KeyMaterial {
        let value = |name: &str| self.0.get(name).cloned().unwrap_or_default();
        let certificate = value(CERTIFICATE);
        let roots = Some(value(ROOTS)).filter(|roots| !roots.trim().is_empty()).unwrap_or_else(|| certificate.clone());
        KeyMaterial { certificate, key: value(KEY), chain: value(CHAIN), roots, crl: None }
    }
}

impl std::fmt::Debug for RootData {
    /// Names only: the values are keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a store holds, and which state of it this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRoot {
    /// The content.
    pub data: RootData,
    /// Names this content; the `resourceVersion` of a Secret.
    pub version: String,
}

/// How a save has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Saved {
    /// The store now holds this.
    Done(StoredRoot),
    /// Somebody else was faster: the store does not hold what was expected. Load it.
    Conflict,
}

/// The store cannot be read or written. A retry may help.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the store of the root: {0}")]
pub struct StoreError(pub String);

/// Keeps the root, in a cluster in the Secret `istio-ca-secret` of type `istio.io/ca-root` in the system namespace. Every
/// save states what it takes the place of, so that two replicas cannot overwrite each other's root.
pub trait RootStore: Send + Sync {
    /// What is stored; `None` if nothing is.
    fn load(&self) -> BoxFuture<'_, Result<Option<StoredRoot>, StoreError>>;

    /// Stores `data` in the place of `expected`; with `None` only if nothing is stored yet.
    fn save<'a>(&'a self, data: &'a RootData, expected: Option<&'a str>) -> BoxFuture<'a, Result<Saved, StoreError>>;
}

/// Publishes what workloads trust: in a cluster the ConfigMap `istio-ca-root-cert` (key `root-cert.pem`) of every
/// namespace, and with revocation lists `istio-ca-crl` (key `ca-crl.pem`).
pub trait BundleWriter: Send + Sync {
    /// Brings all copies up to date. Called again at every change, and after an error.
    fn write<'a>(&'a self, roots: &'a str, crl: Option<&'a str>) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// A folder as a store, for one istiod without a cluster. Files are readable by their owner only, and written whole.
pub struct FileRootStore {
    folder: PathBuf,
}

/// The one file: several could not be replaced at once.
const FILE: &str = "istio-ca-secret.json";

impl FileRootStore {
    /// A store in `folder`, which is made when something is saved.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn read(&self) -> Result<Option<StoredRoot>, StoreError> {
        let path = self.folder.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError(format!("{}: {error}", path.display()))),
        };
        // The text of the parser's error could quote a key.
        let data = serde_json::from_str(&text).map_err(|_| {
            StoreError(format!("{}: is not an object of strings; restore it, or move it away for a new root", path.display()))
        })?;
        Ok(Some(StoredRoot { version: crate::digest::hex(text.as_bytes()), data: RootData(data) }))
    }

    fn write(&self, data: &RootData) -> Result<StoredRoot, StoreError> {
        let text = serde_json::to_string_pretty(&data.0).map_err(|error| StoreError(error.to_string()))?;
        self.replace(FILE, &text, OWNER_ONLY)?;
        Ok(StoredRoot { version: crate::digest::hex(text.as_bytes()), data: data.clone() })
    }

    /// Writes a file beside the old one and then in its place, so that nobody reads half of it.
    fn replace(&self, name: &str, text: &str, mode: u32) -> Result<(), StoreError> {
        use std::{io::Write, os::unix::fs::OpenOptionsExt};
        let failed = |error: io::Error| StoreError(format!("{}: {error}", self.folder.display()));
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let new = self.folder.join(format!("{name}.new"));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&new, self.folder.join(name)).map_err(failed)
    }
}

const OWNER_ONLY: u32 = 0o600;
const EVERYBODY: u32 = 0o644;

/// The ConfigMaps of a cluster, as files of the same folder.
impl BundleWriter for FileRootStore {
    fn write<'a>(&'a self, roots: &'a str, crl: Option<&'a str>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.replace(ROOTS, roots, EVERYBODY)?;
            match crl {
                Some(crl) => self.replace("ca-crl.pem", crl, EVERYBODY),
                None => Ok(()),
            }
        })
    }
}

impl RootStore for FileRootStore {
    fn load(&self) -> BoxFuture<'_, Result<Option<StoredRoot>, StoreError>> {
        Box::pin(async { self.read() })
    }

    fn save<'a>(&'a self, data: &'a RootData, expected: Option<&'a str>) -> BoxFuture<'a, Result<Saved, StoreError>> {
        Box::pin(async move {
            let found = self.read()?.map(|stored| stored.version);
            if found.as_deref() != expected {
                return Ok(Saved::Conflict);
            }
            FileRootStore::write(self, data).map(Saved::Done)
        })
    }
}
