//! ConfigMap (`v1`).

use crate::{message::message, scalar::Bytes};
use std::collections::BTreeMap;

message! {
    /// The body of a ConfigMap, which has no `spec`.
    pub struct ConfigMap {
        /// Its entries.
        pub data: BTreeMap<String, String>,
        /// Entries that are no text.
        pub binary_data: BTreeMap<String, Bytes>,
    }
}
