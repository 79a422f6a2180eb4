//! A child process that ends with the demo, whatever way the demo ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::{Child, Command};

/// A running child. Dropping it kills it.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `program`; what it prints goes to `log`, behind what is there already.
    ///
    /// Each child is a process group of its own, so that a Ctrl-C in the terminal reaches the demo alone, which then ends
    /// them in order. For a demo that is killed itself, the kernel is asked (through `setpriv`, where there is one) to
    /// end the child with its parent.
    ///
    /// # Errors
    /// If the log cannot be written or the program cannot be started.
    pub fn start<A: AsRef<OsStr>>(name: &str, program: &Path, arguments: &[A], log: &Path) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone()?;
        let mut words: Vec<OsString> = match setpriv() {
            Some(setpriv) => vec![setpriv.into(), "--pdeathsig".into(), "KILL".into(), program.into()],
            None => vec![program.into()],
        };
        words.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        let mut words = words.into_iter();
        let child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", program.display()))?;
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The process id; `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it at once (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) {
        // Both fail only for a child that has ended.
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }
}

fn setpriv() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("setpriv")).find(|candidate| candidate.is_file())
}
