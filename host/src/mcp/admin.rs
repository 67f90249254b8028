//! What only the socket offers: how the host is, and asking it to leave or to read its policy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rmcp::model::ErrorData;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use crate::call::Host;

/// How the host is; answers [`Status`].
pub const STATUS: &str = "helixmcp/status";
/// Leave, if nobody else needs the host; answers [`Drained`].
pub const DRAIN: &str = "helixmcp/drain";
/// Read the policy again; answers [`Reloaded`].
pub const RELOAD: &str = "helixmcp/reload";

/// The host's life, which connections and the process that owns it share.
#[derive(Debug, Default)]
pub struct Control {
    connections: AtomicUsize,
    /// Connections so far.
    ever: AtomicU64,
    relays: AtomicUsize,
    /// Cancelled when no connection shall be accepted any more.
    leave: CancellationToken,
    leaving: AtomicBool,
    budget: Budget,
}

/// How the host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub open_runs: u64,
    /// The asker's own included.
    pub connections: u64,
    /// Connections of clients that are attached by `helixmcp serve`.
    pub attachments: u64,
    pub tools: u64,
    pub policy_file: String,
    /// What is wrong with the policy file, if it is not in force as it stands.
    pub policy_problem: Option<String>,
    /// Keys of the policy that count from the next start on.
    #[serde(default)]
    pub waits_for_restart: Vec<String>,
    pub leaving: bool,
}

/// Whether the host leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    pub leaving: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// Whether the policy was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub changed: bool,
    pub problem: Option<String>,
}

impl Control {
    /// Counts a connection for as long as the guard lives.
    #[must_use]
    pub fn connected(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::SeqCst);
        // From 1 on: 0 is no connection.
        let number = self.ever.fetch_add(1, Ordering::SeqCst) + 1;
        Connected { control: Arc::clone(self), number, relayed: AtomicBool::new(false) }
    }

    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Asks the host to accept nobody any more.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::SeqCst);
        self.leave.cancel();
    }

    /// Cancelled once the host shall leave.
    #[must_use]
    pub fn leaving(&self) -> CancellationToken {
        self.leave.clone()
    }
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub struct Connected {
    control: Arc<Control>,
    /// Which it is.
    pub number: u64,
    relayed: AtomicBool,
}

impl Connected {
    /// What all connections together may hold in memory.
    pub(super) fn budget(&self) -> &Budget {
        &self.control.budget
    }

    /// The connection turned out to be an attachment's.
    pub fn relayed(&self) {
        if !self.relayed.swap(true, Ordering::SeqCst) {
            self.control.relays.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether somebody else's bytes are relayed over it.
    pub fn is_relay(&self) -> bool {
        self.relayed.load(Ordering::SeqCst)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.control.connections.fetch_sub(1, Ordering::SeqCst);
        if self.is_relay() {
            self.control.relays.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Answers an admin request; `None` if the method is none of them.
pub async fn answer(
    host: &Arc<Host>,
    control: &Arc<Control>,
    method: &str,
) -> Option<Result<Value, ErrorData>> {
    let answer = match method {
        STATUS => json!(status(host, control)),
        DRAIN => json!(drain(host, control)),
        RELOAD => json!(reload(host).await),
        _ => return None,
    };
    Some(Ok(answer))
}

fn status(host: &Arc<Host>, control: &Arc<Control>) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        open_runs: count(host.runs.open()),
        connections: count(control.connections()),
        attachments: count(control.relays.load(Ordering::SeqCst)),
        tools: count(host.catalog.tools().len()),
        policy_file: host.settings.policy_file.display().to_string(),
        policy_problem: host.policy_file().problem(),
        waits_for_restart: host.waits_for_restart().into_iter().map(str::to_owned).collect(),
        leaving: control.leaving.load(Ordering::SeqCst),
    }
}

/// A host that somebody else uses stays: a newer one can wait, a run of three days cannot.
fn drain(host: &Arc<Host>, control: &Arc<Control>) -> Drained {
    let (runs, others) = (host.runs.open(), control.connections().saturating_sub(1));
    if runs > 0 || others > 0 {
        let reason = format!("{runs} runs are under way and {others} other connections are open");
        return Drained { leaving: false, reason: Some(reason) };
    }
    control.leave();
    Drained { leaving: true, reason: None }
}

async fn reload(host: &Arc<Host>) -> Reloaded {
    match host.reload_policy().await {
        Ok(changed) => Reloaded { changed, problem: None },
        Err(error) => Reloaded { changed: false, problem: Some(chain(&error)) },
    }
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
