//! The calls of each case end where they should, through a real Envoy that is served over real ADS.

use testkit::{
    live::{self, Network, inside_user_namespace},
    report::{self, Failures},
};

#[test]
fn envoy_takes_calls_where_they_should_go() -> Result<(), Failures> {
    let network = Network::find();
    if let Network::Shared(why) = &network {
        if let Some(status) = inside_user_namespace("envoy_takes_calls_where_they_should_go")? {
            return if status.success() { Ok(()) } else { Err(anyhow::anyhow!("failed in a user namespace of its own").into()) };
        }
        println!("Cases share the network of this machine: {why}");
    }
    let workers = if network.is_own() { 3 } else { 1 };
    report::run("envoy", workers, |case| live::check(case, &network))
}
