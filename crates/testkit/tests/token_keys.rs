//! Tokens while their issuer rotates its keys and is away, through a real Envoy.

use testkit::{
    case::{self, Case},
    live::{Network, inside_user_namespace, token_keys},
    report::Failures,
};

#[test]
fn good_tokens_pass_rotations_and_outages() -> Result<(), Failures> {
    let network = Network::find();
    if let Network::Shared(why) = &network {
        if let Some(status) = inside_user_namespace("good_tokens_pass_rotations_and_outages")? {
            return if status.success() { Ok(()) } else { Err(anyhow::anyhow!("failed in a user namespace of its own").into()) };
        }
        println!("not tried: {why}");
        return Ok(());
    }
    let root = case::root();
    Ok(token_keys::check(&Case::read(&root, &root.join("security/issuer-without-keys"))?, &network)?)
}
