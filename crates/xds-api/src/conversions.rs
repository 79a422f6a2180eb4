//! Plain Rust values into protobuf's well-known types.

use std::collections::BTreeMap;

use crate::google::protobuf::value::Kind;
use crate::google::protobuf::{BoolValue, DoubleValue, Duration, ListValue, StringValue, Struct, UInt32Value, UInt64Value, Value};

/// Wrappers: the difference between "unset" and the zero value is in the `Option` around them.
macro_rules! wrapper {
    ($($wrapper:ty: $value:ty),*) => { $(
        impl From<$value> for $wrapper {
            fn from(value: $value) -> Self {
                Self { value }
            }
        }
    )* };
}

wrapper!(BoolValue: bool, UInt32Value: u32, UInt64Value: u64, DoubleValue: f64, StringValue: String);

impl From<&str> for StringValue {
    fn from(value: &str) -> Self {
        Self { value: value.to_owned() }
    }
}

/// Seconds beyond 2^63 become the largest number of seconds.
impl From<std::time::Duration> for Duration {
    fn from(duration: std::time::Duration) -> Self {
        Self { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0) }
    }
}

/// `None` for a negative or malformed protobuf duration, which has no Rust form.
impl Duration {
    /// The duration as the standard library's type, or `None` if it is negative or malformed.
    pub fn to_std(&self) -> Option<std::time::Duration> {
        let nanos = u32::try_from(self.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
        Some(std::time::Duration::new(u64::try_from(self.seconds).ok()?, nanos))
    }
}

macro_rules! value {
    ($($from:ty => $name:ident $kind:expr),*) => { $(
        impl From<$from> for Value {
            fn from($name: $from) -> Self {
                Self { kind: Some($kind) }
            }
        }
    )* };
}

value!(
    bool => value Kind::BoolValue(value),
    f64 => value Kind::NumberValue(value),
    &str => value Kind::StringValue(value.to_owned()),
    String => value Kind::StringValue(value),
    Vec<Value> => values Kind::ListValue(ListValue { values }),
    Struct => value Kind::StructValue(value),
    BTreeMap<String, Value> => fields Kind::StructValue(Struct { fields })
);

impl From<BTreeMap<String, Value>> for Struct {
    fn from(fields: BTreeMap<String, Value>) -> Self {
        Self { fields }
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Struct {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(fields: I) -> Self {
        Self { fields: fields.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }
}
