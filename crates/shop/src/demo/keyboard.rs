//! Single keys from the terminal, without a line end.

use std::io::{IsTerminal, Read};
use std::process::{Command, Stdio};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The terminal in a mode that hands over each key at once. Dropping it brings the former mode back.
pub struct Keyboard {
    former: String,
    keys: UnboundedReceiver<u8>,
}

impl Keyboard {
    /// Switches the terminal; `None` where the demo does not own one, or `stty` is missing.
    pub fn open() -> Option<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return None;
        }
        let former = stty(&["-g"])?.trim().to_owned();
        stty(&["-icanon", "-echo", "min", "1"])?;
        let (sender, keys) = unbounded_channel();
        // A thread, because reading a terminal cannot be interrupted; it ends with the process.
        std::thread::spawn(move || {
            for key in std::io::stdin().lock().bytes().map_while(Result::ok) {
                if sender.send(key).is_err() {
                    break;
                }
            }
        });
        Some(Self { former, keys })
    }

    /// The next key; `None` if the terminal is gone.
    pub async fn key(&mut self) -> Option<u8> {
        self.keys.recv().await
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        stty(&[&self.former]);
    }
}

fn stty(arguments: &[&str]) -> Option<String> {
    let output = Command::new("stty").args(arguments).stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
