//! The `status` of objects, as far as the control plane reads it (`meta/v1alpha1/status.proto`).

use crate::message::message;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny};

message! {
    /// The `status` of Istio's kinds.
    pub struct IstioStatus {
        /// What controllers found.
        pub conditions: Vec<IstioCondition>,
        /// What analysis found.
        pub validation_messages: Vec<AnalysisMessage>,
        /// The generation that the status is about.
        pub observed_generation: i64,
    }

    /// One finding of a controller.
    pub struct IstioCondition {
        /// What it is about, `Healthy`.
        #[serde(rename = "type")]
        pub condition_type: String,
        /// `True`, `False` or `Unknown`.
        pub status: String,
        /// RFC 3339.
        pub last_probe_time: Option<String>,
        /// RFC 3339.
        pub last_transition_time: Option<String>,
        /// A word for machines.
        pub reason: String,
        /// A sentence for people.
        pub message: String,
        /// The generation that the condition is about.
        pub observed_generation: i64,
    }

    /// One finding of analysis.
    pub struct AnalysisMessage {
        /// Which message.
        #[serde(rename = "type")]
        pub message_type: Option<AnalysisMessageType>,
        /// `ERROR`, `WARNING` or `INFO`.
        pub level: String,
        /// Where it is explained.
        pub documentation_url: String,
    }

    /// Which message of analysis.
    pub struct AnalysisMessageType {
        /// Its name.
        pub name: String,
        /// Its code, `IST0101`.
        pub code: String,
    }
}

/// A status that is not read: what is written into it must not make two versions of an object differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread;

impl Serialize for Unread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}
