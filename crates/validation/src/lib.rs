//! Rules of Istio's kinds that one object alone can break.
//!
//! In: a typed object. Out: diagnostics that name the field and the way out.
//! Never: I/O, another object (that is analysis), a change of the object.

use base::Diagnostic;
use istio_api::AnyObject;

/// What is wrong with `object`; errors mean that it must not be used.
pub fn validate(_object: &AnyObject) -> Vec<Diagnostic> {
    Vec::new()
}
