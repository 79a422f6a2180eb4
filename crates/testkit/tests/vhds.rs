//! Virtual hosts one by one on a real Envoy, under load.

use testkit::{
    live::{
        Network, in_own_network,
        vhds::{self, Extent},
    },
    report::Failures,
};

/// With `SOAK`, as many changes and restarts as it takes to trust it.
#[test]
fn virtual_hosts_one_by_one_lose_nothing() -> Result<(), Failures> {
    in_own_network("virtual_hosts_one_by_one_lose_nothing", under_load)
}

fn under_load(network: &Network) -> Result<(), Failures> {
    let soak = std::env::var_os("SOAK").is_some();
    let extent = match soak {
        true => Extent { changes: 300, reconnects: 100, restarts: 100, crashes: 100 },
        false => Extent { changes: 100, reconnects: 8, restarts: 8, crashes: 2 },
    };
    let seen = vhds::check(extent, network)?;
    println!("{} calls, none lost; the slowest change took {:?}", seen.calls, seen.slowest);
    Ok(())
}
