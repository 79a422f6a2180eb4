//! A real Envoy decides thousands of generated requests as the simulator does.

use testkit::{
    case::{self, Case},
    live::{Network, decisions, in_own_network},
    report::Failures,
};

/// Sets of policies, each with an Envoy of its own, and requests of each of four clients.
const ROUNDS: u64 = 12;
const REQUESTS: usize = 80;

#[test]
fn generated_requests_are_decided_alike() -> Result<(), Failures> {
    in_own_network("generated_requests_are_decided_alike", decide)
}

fn decide(network: &Network) -> Result<(), Failures> {
    let root = case::root();
    let case = Case::read(&root, &root.join("security/nobody-asked"))?;
    let rounds = if std::env::var_os("SOAK").is_some() { ROUNDS * 10 } else { ROUNDS };
    let (mut allowed, mut denied) = (0, 0);
    for round in 0..rounds {
        let decisions = decisions::check(&case, round, REQUESTS, network)?;
        allowed += decisions.allowed;
        denied += decisions.denied;
    }
    println!("{allowed} let in, {denied} refused");
    // Policies that decide everything alike would show nothing.
    assert!(allowed > 500 && denied > 500, "{allowed} let in, {denied} refused");
    Ok(())
}
