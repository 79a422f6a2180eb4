//! Secret (`v1`).

use crate::{message::message, scalar::Bytes};
use std::collections::BTreeMap;

message! {
    /// The body of a Secret, which has no `spec`.
    pub struct Secret {
        /// `kubernetes.io/tls`, `Opaque` …
        #[serde(rename = "type")]
        pub secret_type: String,
        /// Its entries.
        pub data: BTreeMap<String, Bytes>,
        /// Entries in plain text, which precede those of `data`; only found in files.
        pub string_data: BTreeMap<String, String>,
    }
}

impl Secret {
    /// The content of an entry.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.string_data.get(key).map(String::as_bytes).or_else(|| self.data.get(key).map(|data| data.0.as_slice()))
    }
}
