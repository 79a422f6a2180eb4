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
    let extent = if soak { Extent { changes: 300, restarts: 50 } } else { Extent { changes: 100, restarts: 12 } };
    let seen = vhds::check(extent, &network)?;
    println!("{} calls, none lost", seen.calls);
    Ok(())
}
