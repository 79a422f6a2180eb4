//! A network for one case: an own network namespace in which every address is local, with redirection as in a pod.

use crate::call::{CALLER, CLIENT};
use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

/// Set in a process that runs as root of its own user namespace.
const INSIDE: &str = "TESTKIT_INSIDE_USER_NAMESPACE";

/// Where cases run.
#[derive(Clone, Debug)]
pub enum Network {
    /// Each in a network namespace of its own.
    Own(Redirection),
    /// All in the network of the machine, because (the text).
    Shared(String),
}

/// The program that installs the redirection.
#[derive(Clone, Debug)]
pub enum Redirection {
    /// `iptables`
    Iptables(PathBuf),
    /// `nft`
    Nft(PathBuf),
}

impl Network {
    /// Finds out what this system allows.
    pub fn find() -> Self {
        let tried = std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET)).join();
        match tried {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Self::Shared(format!("network namespaces are not allowed here ({error})")),
            Err(_) => return Self::Shared("network namespaces cannot be tried".to_owned()),
        }
        if program("ip").is_none() {
            return Self::Shared("the program ip is missing (apt install iproute2)".to_owned());
        }
        let own = [program("iptables").map(Redirection::Iptables), program("nft").map(Redirection::Nft)].into_iter().flatten();
        let own = own.map(Self::Own).find(|network| {
            let network = network.clone();
            std::thread::spawn(move || network.enter().is_ok()).join().unwrap_or(false)
        });
        own.unwrap_or_else(|| Self::Shared("neither iptables nor nft can redirect (apt install iptables)".to_owned()))
    }

    /// Whether each case has its own.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// Puts the calling thread, for the rest of its life, and the processes that it starts into a fresh network.
    ///
    /// # Errors
    /// If the system refuses a step.
    pub fn enter(&self) -> Result<()> {
        let Self::Own(redirection) = self else { return Ok(()) };
        unshare(CloneFlags::CLONE_NEWNET).context("a network namespace")?;
        let ip = program("ip").context("the program ip")?;
        run(&ip, "link set lo up")?;
        // Every address is one of ours.
        run(&ip, "route add local default dev lo")?;
        for (source, port) in [(CLIENT, 15001), (CALLER, 15006)] {
            match redirection {
                Redirection::Iptables(iptables) => {
                    run(iptables, &format!("-t nat -A OUTPUT -p tcp -s {source} -j REDIRECT --to-ports {port}"))?
                }
                Redirection::Nft(nft) => {
                    run(nft, "add table ip nat")?;
                    run(nft, "add chain ip nat output { type nat hook output priority -100 ; }")?;
                    run(nft, &format!("add rule ip nat output meta l4proto tcp ip saddr {source} redirect to :{port}"))?;
                }
            }
        }
        Ok(())
    }
}

/// Runs a test in a network of its own, if need be inside a user namespace. Where that cannot be, it is skipped, and CI
/// repeats the word.
///
/// # Errors
/// Those of the test.
pub fn in_own_network<E: From<anyhow::Error>>(test: &str, run: impl FnOnce(&Network) -> Result<(), E>) -> Result<(), E> {
    let network = Network::find();
    let Network::Shared(why) = &network else { return run(&network) };
    match inside_user_namespace(test)? {
        Some(status) if status.success() => {}
        Some(_) => return Err(anyhow::anyhow!("failed in a user namespace of its own").into()),
        // Past the test harness, which would hide it.
        None => drop(writeln!(std::io::stdout().lock(), "live: skipped {test}: {why}")),
    }
    Ok(())
}

/// Runs this test program again as root of a user namespace of its own, where network namespaces are allowed to anybody.
/// `None` if that does not help: because it is done already, or not allowed.
///
/// # Errors
/// If the program cannot be started.
pub fn inside_user_namespace(test: &str) -> Result<Option<ExitStatus>> {
    let Some(unshare) = program("unshare") else { return Ok(None) };
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let allowed = Command::new(&unshare).args(["--map-root-user", "--net", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let own = std::env::current_exe()?;
    let mut again = Command::new(unshare);
    again.arg("--map-root-user").arg(own).args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
    Ok(Some(again.status()?))
}

/// Runs a program with arguments that are separated by blanks.
pub(super) fn run(program: &Path, arguments: &str) -> Result<()> {
    let output = Command::new(program).args(arguments.split(' ')).output().with_context(|| program.display().to_string())?;
    if !output.status.success() {
        bail!("{} {arguments}: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    ensure!(output.status.success());
    Ok(())
}

/// The path of a program; system administrators' folders are not in everybody's `PATH`.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
