//! istiod as the demo sees it: a process with three ports, a log and a readiness page.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;
use hyper::HeaderMap;

use super::process::Process;
use crate::client::Client;

/// Where istiod listens, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// xDS, for the Envoys.
    pub grpc: SocketAddr,
    /// `/ready` and `/debug`.
    pub http: SocketAddr,
    /// `/metrics`.
    pub monitoring: SocketAddr,
}

impl Addresses {
    /// The usual ports of istiod, or free ones in place of those that are taken.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn choose() -> anyhow::Result<Self> {
        Ok(Self { grpc: free_address(15010)?, http: free_address(8080)?, monitoring: free_address(15014)? })
    }
}

/// `127.0.0.1` with `port`, or with another free port where that one is taken.
///
/// # Errors
/// If there is no free port.
pub fn free_address(port: u16) -> anyhow::Result<SocketAddr> {
    let on = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let listener = TcpListener::bind(on(port)).or_else(|_| TcpListener::bind(on(0))).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr()?)
}

/// istiod, running or not.
pub struct Istiod {
    program: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    /// Where it listens, also after it was started again.
    pub addresses: Addresses,
    process: Option<Process>,
}

impl Istiod {
    /// An istiod that is not started yet: the binary, the folder of YAML that it reads, its log and its addresses.
    pub fn new(program: PathBuf, folder: PathBuf, log: PathBuf, addresses: Addresses) -> Self {
        Self { program, folder, log, addresses, process: None }
    }

    /// Starts it, if it does not run.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let arguments = self.arguments();
        self.process = Some(Process::start("istiod", &self.program, &arguments, &self.log)?);
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill().await;
        }
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Its process id, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Whether it is ready to serve.
    pub async fn is_ready(&self, client: &Client) -> bool {
        client.get(self.addresses.http, "istiod", "/ready", HeaderMap::new()).await.is_ok_and(|reply| reply.status == 200)
    }

    /// Its log.
    pub fn log(&self) -> &PathBuf {
        &self.log
    }

    /// Its command line, for people.
    pub fn command(&self) -> String {
        format!("{} {}", self.program.display(), self.arguments().join(" "))
    }

    fn arguments(&self) -> Vec<String> {
        let Addresses { grpc, http, monitoring } = self.addresses;
        vec![
            "discovery".to_owned(),
            format!("--configDir={}", self.folder.display()),
            format!("--grpcAddr={grpc}"),
            format!("--httpAddr={http}"),
            format!("--monitoringAddr={monitoring}"),
            "--httpsAddr=".to_owned(),
            "--secureGRPCAddr=".to_owned(),
        ]
    }
}
