//! The calls of each case end where they should, through a real Envoy that is served over real ADS.

use testkit::{
    live::{self, Network, inside_user_namespace},
    report,
};

#[test]
fn envoy_takes_calls_where_they_should_go() -> anyhow::Result<()> {
    let network = Network::find();
    if let Network::Shared(why) = &network {
        if let Some(status) = inside_user_namespace("envoy_takes_calls_where_they_should_go")? {
            anyhow::ensure!(status.success(), "failed in its own user namespace");
            return Ok(());
        }
        println!("Cases share the network of this machine: {why}");
    }
    let workers = if network.is_own() { 3 } else { 1 };
    report::run(workers, |case| live::check(case, &network))
}
