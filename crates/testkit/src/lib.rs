//! The cases below `tests/cases`, and the four ways in which each is used.
//!
//! In: a folder per case (`case.yaml`, `input.yaml`, `expected/`, `calls.yaml`). Out: a list of what is not as expected.
//! The tests of this crate run all cases: `golden` (what is generated), `simulate` (where calls go by the simulator),
//! `envoy` (where the same calls go by a real Envoy), `incremental` (that the order of changes leaves no trace).
//! Never: part of what is shipped, or a place for expectations: these stand in the cases.
//! Read first: `case.rs` and `call.rs`, the form of a case; then the files in `tests/`.

pub mod call;
pub mod case;
pub mod golden;
pub mod kube;
pub mod live;
pub mod load;
pub mod mesh;
pub mod mistake;
pub mod policies;
pub mod projection;
pub mod random;
pub mod report;
pub mod shuffled;
pub mod simulated;
