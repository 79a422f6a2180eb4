//! `load.yaml`: what only time or many calls show, as steps that run one after the other against the same real Envoys.

use crate::call::CallFile;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// One step: calls, changes, or calls while changes are made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Step {
    /// The call that is made again and again.
    pub call: Option<CallFile>,
    /// How often; with changes at the same time, at least.
    pub calls: usize,
    /// By how many clients at the same time, each with a connection that it keeps. By default 8.
    pub clients: Option<usize>,
    /// Calls that differ by something that endpoints are chosen by.
    pub keys: Option<Keys>,
    /// What is changed: before the next step, or while the calls are made.
    pub change: Vec<ChangeFile>,
    /// The calls are repeated until all is as expected, at most for so long (`10s`): for what needs an unknown time.
    pub within: Option<String>,
    /// What must come of all calls together.
    pub expect: Expect,
}

/// What makes calls differ. Each key is used equally often.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// How many there are.
    pub count: usize,
    /// What differs: `header <name>`, `cookie <name>`, `source` (the client's address) or `query <name>`.
    pub by: String,
}

/// Something that happens to the mesh.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ChangeFile {
    /// The objects of a file of the case are created or replaced. Goes on when all Envoys have the endpoints.
    Apply(String),
    /// An endpoint answers with this status from now on.
    Answer {
        /// The endpoint.
        at: SocketAddr,
        /// The status; 200 is as before.
        status: u16,
    },
    /// An endpoint refuses connections, and those that are open end.
    Down(SocketAddr),
    /// It is there again.
    Up(SocketAddr),
    /// `istiod` ends and starts again, after all Envoys have lost it; goes on when all are connected.
    Restart(String),
    /// The agent of a workload gets a new certificate.
    Rotate(String),
    /// So many more calls are made before the next change.
    Calls(usize),
}

/// What must come of calls. Of each table that is given, nothing else may occur.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// Requests by cluster of the caller's proxy, tries and copies included: for 100 calls.
    pub clusters: BTreeMap<String, Share>,
    /// Answers by status (`none`: the connection ended without): of 100.
    pub statuses: BTreeMap<String, Share>,
    /// What endpoints got: for 100 calls.
    pub endpoints: BTreeMap<SocketAddr, Share>,
    /// How many endpoints got something.
    pub endpoints_used: Option<usize>,
    /// What all endpoints together got, for 100 calls: 300 if each is tried three times.
    pub attempts: Option<Share>,
    /// Answers that took at least so long: of 100.
    pub slower: BTreeMap<String, Share>,
    /// All calls of a key went to one endpoint.
    pub sticky: bool,
    /// Keys that went where they went in the step with keys before: of 100.
    pub kept: Option<Share>,
    /// By how much counters of the caller's proxy grew.
    pub counters: BTreeMap<String, Share>,
}

/// How much of something there must be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Share {
    /// So much, give or take four standard deviations of chance; 0, 100 and more are exact.
    About(f64),
    /// `60-100`
    Between(String),
}

impl Share {
    /// Whether `found` of `calls` is such a share.
    ///
    /// # Errors
    /// If it is none, or the range is not `<least>-<most>`.
    pub fn check(&self, what: &str, found: u64, calls: u64) -> Result<()> {
        let (found, calls) = (found as f64, calls as f64);
        let (least, most) = match self {
            Self::About(wanted) => {
                let part = wanted / 100.0;
                let deviation = 4.0 * (calls * part * (1.0 - part)).max(0.0).sqrt();
                (part * calls - deviation, part * calls + deviation)
            }
            Self::Between(_) => {
                let (least, most) = self.range()?;
                (least / 100.0 * calls, most / 100.0 * calls)
            }
        };
        anyhow::ensure!((least - 0.01..=most + 0.01).contains(&found), "{what} should be {self:?} (per 100), not {found} of {calls}");
        Ok(())
    }

    /// Least and most, as numbers of their own.
    ///
    /// # Errors
    /// If the range is not `<least>-<most>`.
    pub fn range(&self) -> Result<(f64, f64)> {
        match self {
            Self::About(wanted) => Ok((*wanted, *wanted)),
            Self::Between(text) => {
                let (least, most) = text.split_once('-').with_context(|| format!("{text} is not <least>-<most>"))?;
                Ok((least.parse()?, most.parse()?))
            }
        }
    }
}

/// `10s`, `200ms`
///
/// # Errors
/// For anything else.
pub fn duration(text: &str) -> Result<Duration> {
    if let Some(milliseconds) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(milliseconds.parse()?));
    }
    let seconds: f64 = text.strip_suffix('s').context("a duration ends with s or ms")?.parse()?;
    Ok(Duration::from_secs_f64(seconds))
}
