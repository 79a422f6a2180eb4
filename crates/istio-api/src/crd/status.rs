//! The schema of `status`: what controllers write, and nothing that is forbidden.

use super::structural;
use crate::{Kind, networking::service_entry::ServiceEntryStatus, schema, status::IstioStatus};
use serde_json::Value;

/// The schema of the `status` of `kind`. Unknown fields are kept, because other controllers may write more.
pub(super) fn schema(kind: Kind) -> Value {
    let schema = match kind {
        Kind::ServiceEntry => schema::of::<ServiceEntryStatus>(),
        _ => schema::of::<IstioStatus>(),
    };
    let mut schema = structural::render(&schema);
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".into(), "What controllers found.".into());
        schema.insert("x-kubernetes-preserve-unknown-fields".into(), true.into());
    }
    schema
}
