//! Everything that one home has, put together once, and who is asking.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::import::Imports;
use crate::artifacts::Store;
use crate::catalog::Catalog;
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::run::Runs;
use crate::sandbox::Sandbox;

/// What the edge found out from flags, environment and files.
#[derive(Clone, Debug)]
pub struct HostSettings {
    pub home: PathBuf,
    pub policy_file: PathBuf,
    /// The binary to start runners from.
    pub runner_exe: PathBuf,
}

/// One home, owned by this process.
pub struct Host {
    pub settings: HostSettings,
    pub ledger: Ledger,
    pub store: Arc<Store>,
    pub sandbox: Arc<Sandbox>,
    pub catalog: Catalog,
    pub runs: Runs,
    pub imports: Imports,
}

/// Who asks: the local user, by uid and by what the client calls itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    /// Name and version from MCP, or `shell`. Escaped and capped.
    pub client: String,
}

/// One request's surroundings.
#[derive(Clone, Debug)]
pub struct Context {
    pub caller: Caller,
    /// Where progress goes, if the client asked for it. Sends never wait.
    pub progress: Option<mpsc::Sender<Progress>>,
    /// Cancelled when the caller stops waiting: its request was cancelled or it went away.
    pub gone: CancellationToken,
}

#[derive(Clone, Debug)]
pub struct Progress {
    pub done: u64,
    pub total: Option<u64>,
    pub text: String,
}

impl Host {
    /// The policy in force now.
    pub fn policy(&self) -> Arc<Policy> {
        unimplemented!()
    }
}
