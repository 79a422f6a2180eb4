//! istiod as a process of its own that follows an API server, and what it costs.

use super::ApiServer;
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Where it serves, also after it has started again.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Plaintext ADS.
    pub grpc: u16,
    /// The pages.
    pub http: u16,
}

impl Ports {
    /// Two that are free on loopback.
    ///
    /// # Errors
    /// If there are none.
    pub fn free() -> Result<Self> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let (grpc, http) = (free()?, free()?);
        Ok(Self { grpc: grpc.local_addr()?.port(), http: http.local_addr()?.port() })
    }
}

/// The process; it ends with the value.
pub struct Istiod {
    process: Child,
    ports: Ports,
}

impl Istiod {
    /// Starts `program` on the API server's cluster, without TLS and webhooks.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(program: &Path, server: &ApiServer, ports: Ports) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("discovery").arg("--kubeconfig").arg(server.kubeconfig());
        command.arg(format!("--grpcAddr=127.0.0.1:{}", ports.grpc)).arg(format!("--httpAddr=127.0.0.1:{}", ports.http));
        command.args(["--monitoringAddr=", "--secureGRPCAddr=", "--httpsAddr="]);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().with_context(|| program.display().to_string())?;
        Ok(Self { process, ports })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Whether it says that it is ready to serve.
    pub fn is_ready(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.ports.http))?;
            connection.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(connection, "GET /ready HTTP/1.1\r\nHost: istiod\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        ask().unwrap_or_default()
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// If it is not in time.
    pub fn wait_until_ready(&self, patience: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.is_ready() {
            ensure!(start.elapsed() < patience, "istiod is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// If it has ended.
    pub fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kilobytes: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kilobytes << 10)
    }

    /// The time that its threads have computed, in clock ticks of 10 ms.
    ///
    /// # Errors
    /// If it has ended.
    pub fn ticks(&self) -> Result<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_whitespace().collect();
        Ok(fields.get(11).context("no utime")?.parse::<u64>()? + fields.get(12).context("no stime")?.parse::<u64>()?)
    }
}

impl Drop for Istiod {
    fn drop(&mut self) {
        self.kill();
    }
}
