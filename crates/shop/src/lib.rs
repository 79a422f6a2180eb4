//! The shop of `samples/shop` and the demo that runs it.
//!
//! In: a folder of Kubernetes and Istio objects. The binary `shop` is one service of it; the binary `demo` plays the
//! cluster: it starts istiod on the folder, starts what the Pods in it say with a stock Envoy beside each, sends load
//! through the gateway and shows who answered. Out: a terminal screen, a local page and, with `--check`, a verdict.
//!
//! It never speaks xDS, never configures an Envoy beyond its bootstrap, and no other crate depends on it: the demo sees
//! istiod as any user does, through files, ports and signals.
//!
//! Read `demo/mod.rs` first; `service.rs` is the whole of a service.

pub mod answer;
pub mod client;
pub mod demo;
pub mod service;
