//! One form for all texts of the same keys.

use crate::fetch::FetchError;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The keys of a set in a fixed order, so that a set whose keys only changed their places is the same as before.
///
/// # Errors
/// [`FetchError::NoKeys`] for anything but a set with at least one key.
pub fn canonical(text: &[u8]) -> Result<Arc<str>, FetchError> {
    let set: Value = serde_json::from_slice(text).map_err(|_| FetchError::NoKeys)?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or(FetchError::NoKeys)?;
    let mut keys: Vec<Value> = keys.iter().filter(|key| key.get("kty").is_some_and(Value::is_string)).map(sorted).collect();
    if keys.is_empty() {
        return Err(FetchError::NoKeys);
    }
    keys.sort_by_cached_key(|key| (key.get("kid").and_then(Value::as_str).map(str::to_owned), key.to_string()));
    let mut out = Map::new();
    out.insert("keys".to_owned(), Value::Array(keys));
    Ok(Arc::from(Value::Object(out).to_string()))
}

/// The members of a key by name.
fn sorted(key: &Value) -> Value {
    let Some(members) = key.as_object() else { return key.clone() };
    let mut members: Vec<_> = members.clone().into_iter().collect();
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    Value::Object(members.into_iter().collect())
}
