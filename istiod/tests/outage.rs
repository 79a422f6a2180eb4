//! The API server goes away under connected proxies, and comes back.

use std::{path::Path, time::Duration};
use testkit::live::{Network, in_own_network, outage};

/// With `SOAK` a minute and ten minutes; otherwise as long as it takes until every watch has failed several times.
#[test]
fn proxies_keep_working_without_an_api_server_and_catch_up() -> anyhow::Result<()> {
    in_own_network("proxies_keep_working_without_an_api_server_and_catch_up", under_load)
}

fn under_load(network: &Network) -> anyhow::Result<()> {
    let (long, short) = if std::env::var_os("SOAK").is_some() { (600, 60) } else { (8, 4) };
    let outages = [(long, false), (short, true)];
    let outages = outages.map(|(seconds, restart)| outage::Outage { length: Duration::from_secs(seconds), restart });
    if let Some(seen) = outage::check(Path::new(env!("CARGO_BIN_EXE_istiod")), &outages, network)? {
        println!("{} calls, none lost; all changes took effect within {:.1?}", seen.calls, seen.slowest);
    }
    Ok(())
}
