//! Tokens while their issuer rotates its keys and is away, through a real Envoy.

use anyhow::Result;
use testkit::{
    case::{self, Case},
    live::{Network, in_own_network, token_keys},
    report::Failures,
};

/// Plays `story` on a case, in a user namespace of its own if needed.
fn play(test: &str, name: &str, story: fn(&Case, &Network) -> Result<()>, change: fn(&mut Case)) -> Result<(), Failures> {
    in_own_network(test, |network| {
        let root = case::root();
        let mut case = Case::read(&root, &root.join(name))?;
        change(&mut case);
        Ok(story(&case, network)?)
    })
}

#[test]
fn good_tokens_pass_rotations_outages_and_restarts() -> Result<(), Failures> {
    play("good_tokens_pass_rotations_outages_and_restarts", "security/issuer-without-keys", token_keys::check, |_| {})
}

#[test]
fn envoy_fetches_keys_itself() -> Result<(), Failures> {
    play("envoy_fetches_keys_itself", "security/issuer-in-mesh", token_keys::check_elsewhere, |case| {
        case.file.environment.insert("PILOT_JWT_ENABLE_REMOTE_JWKS".to_owned(), "envoy".to_owned());
    })
}
