//! The `status` of objects, as far as the control plane reads it (`meta/v1alpha1/status.proto`).

use crate::{
    message::{enumeration, message},
    scalar::Generation,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny};

message! {
    /// The `status` of Istio's kinds.
    pub struct IstioStatus {
        /// What controllers found, one entry for each type of condition.
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
        pub conditions: Vec<IstioCondition>,
        /// What analysis found.
        pub validation_messages: Vec<AnalysisMessage>,
        /// The generation that the status is about.
        pub observed_generation: Generation,
    }

    /// One finding of a controller.
    #[schemars(extend("required" = ["type"]))]
    pub struct IstioCondition {
        /// What it is about, such as Healthy.
        #[serde(rename = "type")]
        pub condition_type: String,
        /// True, False or Unknown.
        pub status: String,
        /// When it was last looked at.
        #[schemars(extend("format" = "date-time"))]
        pub last_probe_time: Option<String>,
        /// When its status last changed.
        #[schemars(extend("format" = "date-time"))]
        pub last_transition_time: Option<String>,
        /// A word for machines.
        pub reason: String,
        /// A sentence for people.
        pub message: String,
        /// The generation that the condition is about.
        pub observed_generation: Generation,
    }

    /// One finding of analysis.
    pub struct AnalysisMessage {
        /// Which message.
        #[serde(rename = "type")]
        pub message_type: Option<AnalysisMessageType>,
        /// How much it matters.
        pub level: AnalysisLevel,
        /// Where it is explained.
        pub documentation_url: String,
    }

    /// Which message of analysis.
    pub struct AnalysisMessageType {
        /// Its name.
        pub name: String,
        /// Its code, such as IST0101.
        pub code: String,
    }
}

enumeration! {
    /// How much a finding of analysis matters.
    pub enum AnalysisLevel {
        /// Not said.
        Unknown = "UNKNOWN",
        /// The object, or a part of it, is not used.
        Error = "ERROR",
        /// It is used, but probably not as meant.
        Warning = "WARNING",
        /// Worth knowing.
        Info = "INFO",
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
