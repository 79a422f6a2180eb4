//! Network namespaces of workloads: each has its own address, and redirection as in a pod. All are joined in the network of
//! the case, in which every other address is local.

use super::network::{Network, Redirection, program, run};
use crate::case::Proxy;
use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns, unshare};
use std::{fs::File, net::Ipv4Addr, os::fd::AsRawFd, path::Path, sync::Arc};

/// The network namespace of the calling thread.
const CURRENT: &str = "/proc/thread-self/ns/net";
/// The next hop of everything that leaves a workload.
const GATEWAY: &str = "169.254.1.1";
/// Where calls of a workload itself come from, and calls from outside of all workloads (TEST-NET-1): the kernel lets no
/// 127.0.0.0/8 onto a wire.
pub const INSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 201);
/// See [`INSIDE`].
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);

/// Where sockets and processes of a workload live.
#[derive(Clone)]
pub struct Room(Option<Arc<File>>);

impl Room {
    /// The network of the case itself.
    pub fn of_case() -> Self {
        Self(None)
    }

    /// A new one for a workload, reached by its address. `number` tells the workloads of a case apart.
    ///
    /// # Errors
    /// If the system refuses a step.
    pub fn of_workload(network: &Network, number: usize, proxy: &Proxy) -> Result<Self> {
        let Network::Own(redirection) = network else { bail!("workloads need network namespaces") };
        let made = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
            Ok(File::open(CURRENT)?)
        });
        let namespace = made.join().map_err(|_| anyhow!("a thread that makes a network namespace ended"))??;
        let ip = program("ip").context("the program ip")?;
        let (here, address) = (format!("to-{number}"), proxy.ip);
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        run(&ip, &format!("link add {here} type veth peer name eth0 netns {path}"))?;
        run(&ip, &format!("link set {here} up"))?;
        // Beside "every address is local", which stands in the same table.
        run(&ip, &format!("route add {address}/32 dev {here} table local"))?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("forwarding between workloads")?;
        let room = Self(Some(Arc::new(namespace)));
        room.inside(|| -> Result<()> {
            run(&ip, "link set lo up")?;
            run(&ip, "link set eth0 up")?;
            run(&ip, &format!("addr add {address}/32 dev eth0"))?;
            run(&ip, &format!("addr add {INSIDE}/32 dev lo"))?;
            run(&ip, &format!("route add default via {GATEWAY} dev eth0 onlink src {address}"))?;
            if proxy.is_addressed() { Ok(()) } else { redirect(redirection) }
        })??;
        Ok(room)
    }

    /// Makes something there: a socket stays in the namespace that it is made in, and so does a process.
    ///
    /// # Errors
    /// If the thread cannot go there.
    pub fn inside<T>(&self, make: impl FnOnce() -> T) -> Result<T> {
        let Some(namespace) = &self.0 else { return Ok(make()) };
        let home = File::open(CURRENT)?;
        setns(namespace.as_ref(), CloneFlags::CLONE_NEWNET).context("entering a workload's network")?;
        let made = make();
        setns(home, CloneFlags::CLONE_NEWNET).context("leaving a workload's network")?;
        Ok(made)
    }

    /// Whether it is a workload's own.
    pub fn is_own(&self) -> bool {
        self.0.is_some()
    }
}

/// What arrives goes to the proxy, and so does what the workload sends; the proxy's own connections have another source.
fn redirect(redirection: &Redirection) -> Result<()> {
    let rules = [("PREROUTING", String::new(), 15006), ("OUTPUT", format!(" -s {INSIDE}"), 15001)];
    for (chain, from, port) in rules {
        match redirection {
            Redirection::Iptables(iptables) => {
                run(iptables, &format!("-t nat -A {chain} -p tcp{from} -j REDIRECT --to-ports {port}"))?;
            }
            Redirection::Nft(nft) => redirect_by_nft(nft, chain, &from.replace(" -s", " ip saddr"), port)?,
        }
    }
    Ok(())
}

fn redirect_by_nft(nft: &Path, chain: &str, from: &str, port: u16) -> Result<()> {
    let hook = chain.to_lowercase();
    run(nft, "add table ip nat")?;
    run(nft, &format!("add chain ip nat {hook} {{ type nat hook {hook} priority -100 ; }}"))?;
    run(nft, &format!("add rule ip nat {hook} meta l4proto tcp{from} redirect to :{port}"))
}
