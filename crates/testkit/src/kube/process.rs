//! A program that ends with the value that stands for it, and with this process.

use anyhow::{Context, Result};
use std::{
    fs::File,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Ends `"$@"` hard as soon as nothing holds the other end of its standard input any more, however that came about.
const LEASH: &str = r#""$@" </dev/null & child=$!; cat >/dev/null; kill -9 "$child"; wait "$child""#;

/// A running program.
pub struct Process {
    shell: Child,
    leash: Option<ChildStdin>,
}

impl Process {
    /// Starts `program` with `arguments`; what it says goes to `log`.
    ///
    /// # Errors
    /// If there is no shell, or the log cannot be written.
    pub fn start(program: &Path, arguments: &[String], log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "sh"]).arg(program).args(arguments);
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut shell = command.spawn().with_context(|| program.display().to_string())?;
        let leash = shell.stdin.take();
        Ok(Self { shell, leash })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.leash.take());
        // It has ended when this returns; there is nothing to do about a shell that cannot be waited for.
        let _ = self.shell.wait();
    }
}
