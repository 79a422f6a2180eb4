//! Virtual hosts one by one on a real Envoy, under load.

use testkit::{
    live::{
        Network, inside_user_namespace,
        vhds::{self, Extent},
    },
    report::Failures,
};

/// With `SOAK`, as many changes and restarts as it takes to trust it.
#[test]
fn virtual_hosts_one_by_one_lose_nothing() -> Result<(), Failures> {
    let network = Network::find();
    if let Network::Shared(why) = &network {
        if let Some(status) = inside_user_namespace("virtual_hosts_one_by_one_lose_nothing")? {
            return if status.success() { Ok(()) } else { Err(anyhow::anyhow!("failed in a user namespace of its own").into()) };
        }
        println!("not tried: {why}");
        return Ok(());
    }
    let soak = std::env::var_os("SOAK").is_some();
    let extent = match soak {
        true => Extent { changes: 300, reconnects: 100, restarts: 100, crashes: 100 },
        false => Extent { changes: 100, reconnects: 8, restarts: 8, crashes: 2 },
    };
    let seen = vhds::check(extent, &network)?;
    println!("{} calls, none lost; the slowest change took {:?}", seen.calls, seen.slowest);
    Ok(())
}
