//! A root and an intermediate of the operator's own (`cacerts`).

use super::KeyMaterial;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder of a plugged-in CA (Istio's `ROOT_CA_DIR`, there the mounted Secret `cacerts`).
pub struct PluggedIn {
    folder: PathBuf,
}

/// Why a plugged-in CA cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PluggedInError {
    /// One file is there and another it needs is not. Using something else instead would hide a mistake.
    #[error("{folder}: {found} is there but {missing} is not; add it, or remove the folder for a self-signed root", folder = folder.display())]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// A file that was found.
        found: &'static str,
        /// A file that is needed with it.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl PluggedIn {
    /// The CA in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the files: Istio's names `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem` and `root-cert.pem`, else those of a
    /// Secret of type `kubernetes.io/tls`, `tls.crt`, `tls.key` and `ca.crt`; and `ca-crl.pem` with either. `None` if
    /// none of them is there.
    ///
    /// # Errors
    /// When a file is missing beside another, or cannot be read.
    pub fn load(&self) -> Result<Option<KeyMaterial>, PluggedInError> {
        let material = match self.istio()? {
            Some(material) => Some(material),
            None => self.kubernetes()?,
        };
        let Some(mut material) = material else { return Ok(None) };
        material.crl = self.read("ca-crl.pem")?;
        Ok(Some(material))
    }

    fn istio(&self) -> Result<Option<KeyMaterial>, PluggedInError> {
        let Some(certificate) = self.read("ca-cert.pem")? else {
            return match self.read("ca-key.pem")? {
                Some(_) => Err(self.incomplete("ca-key.pem", "ca-cert.pem")),
                None => Ok(None),
            };
        };
        let key = self.read("ca-key.pem")?.ok_or_else(|| self.incomplete("ca-cert.pem", "ca-key.pem"))?;
        let roots = self.read("root-cert.pem")?.ok_or_else(|| self.incomplete("ca-cert.pem", "root-cert.pem"))?;
        let chain = self.read("cert-chain.pem")?.unwrap_or_default();
        Ok(Some(KeyMaterial { certificate, key, chain, roots, crl: None }))
    }

    /// `tls.crt` holds the signing certificate and then its intermediates.
    fn kubernetes(&self) -> Result<Option<KeyMaterial>, PluggedInError> {
        let Some(certificate) = self.read("tls.crt")? else {
            return match self.read("tls.key")? {
                Some(_) => Err(self.incomplete("tls.key", "tls.crt")),
                None => Ok(None),
            };
        };
        let key = self.read("tls.key")?.ok_or_else(|| self.incomplete("tls.crt", "tls.key"))?;
        let roots = self.read("ca.crt")?.ok_or_else(|| self.incomplete("tls.crt", "ca.crt"))?;
        Ok(Some(KeyMaterial { chain: certificate.clone(), certificate, key, roots, crl: None }))
    }

    fn incomplete(&self, found: &'static str, missing: &'static str) -> PluggedInError {
        PluggedInError::Incomplete { folder: self.folder.clone(), found, missing }
    }

    fn read(&self, name: &str) -> Result<Option<String>, PluggedInError> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PluggedInError::Io { path, error }),
        }
    }
}
