//! CPU time and memory of the server, as Linux counts them.

use crate::Flags;
use std::fs;

/// Clock ticks per second in `/proc`, fixed by the kernel's ABI on Linux.
const TICKS: f64 = 100.0;

/// One reading.
#[derive(Clone, Copy, Default, Debug)]
pub struct Usage {
    /// User and system time since the process started.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub rss: u64,
}

/// Reads the server's process; `None` if the flags name none, or it is gone.
pub fn usage(flags: &Flags) -> Option<Usage> {
    let pid = match &flags.pid_file {
        Some(file) => fs::read_to_string(file).ok()?.trim().parse().ok()?,
        None => flags.pid?,
    };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu_seconds: cpu_seconds(&stat)?, rss: rss(&status)? })
}

/// `utime` and `stime` are fields 14 and 15; the name in field 2 may hold anything, in parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<f64>().ok()? + fields.next()?.parse::<f64>().ok()?;
    Some(ticks / TICKS)
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_parsed() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 2";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(rss("VmPeak:\t 9 kB\nVmRSS:\t  2048 kB\n"), Some(2 << 20));
    }
}
