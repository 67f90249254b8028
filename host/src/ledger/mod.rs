//! What happened: runs, attempts, artifacts, labels, events, denials. sqlx is used below here and
//! nowhere else; every write goes through one writer.

pub mod state;

use std::path::Path;

use helix_ids::{
    ArtifactId, ArtifactType, ContractVersion, DenialId, Digest, OutputKey, ProjectId, ProjectName, Role,
    RunId, SampleName, ToolName,
};
use serde::{Deserialize, Serialize};

pub use state::AttemptState;

/// The database of one home. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    _private: (),
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("cannot {what}")]
    Database { what: &'static str, #[source] source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the ledger holds something impossible: {what}")]
    Damaged { what: String },
    #[error("the ledger is of version {found}, newer than {known}: use a newer helixmcp")]
    Newer { found: i64, known: i64 },
    #[error("the ledger would lie on {kind}, a network file system; keep the home on a local disk")]
    NetworkFileSystem { kind: String },
    #[error("another writer moved it first")]
    Lost,
}

/// What the file system said of an object when its bytes were last proved: while all of it is
/// unchanged, so are the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    pub device: u64,
    pub inode: u64,
    pub size_bytes: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
}

/// Who writes: one process's hold on a home. In every row of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(pub String);

/// Milliseconds since 1970, UTC.
pub type Millis = i64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    pub id: ArtifactId,
    pub project: ProjectId,
    pub digest: Digest,
    pub artifact_type: ArtifactType,
    pub size_bytes: u64,
    pub created_ms: Millis,
    /// The newest label, if it has one.
    pub label: Option<String>,
    /// The run whose output it first was.
    pub created_by: Option<RunId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewArtifact {
    pub id: ArtifactId,
    pub project: ProjectId,
    pub digest: Digest,
    pub artifact_type: ArtifactType,
    pub size_bytes: u64,
    pub label: Option<String>,
    pub seal: Seal,
}

/// A run as its identity has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    pub id: RunId,
    pub digest: Digest,
    pub project: ProjectId,
    pub tool: ToolName,
    pub contract: ContractVersion,
    pub component: Digest,
    pub params_hash: Digest,
    pub policy_hash: Digest,
    /// Canonical texts behind the two hashes.
    pub envelope: String,
    pub slice: String,
    pub inputs: Vec<RunInput>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInput {
    pub role: Role,
    pub index: u32,
    pub sample: Option<SampleName>,
    pub artifact: ArtifactId,
}

/// One try at a run, as it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAttempt {
    pub caller: String,
    pub policy_file: Digest,
    /// The whole policy file's text is kept once for each digest.
    pub policy_text: String,
    /// wasmtime's version, CPU and OS; the host's version.
    pub engine: String,
    pub host_version: String,
    /// The checked plan and the limits in force, as JSON: the attempt's ceiling.
    pub plan: String,
    pub created_ms: Millis,
}

/// (run, ordinal): names one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptId {
    pub run: RunId,
    pub ordinal: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRow {
    pub role: Role,
    pub key: OutputKey,
    pub artifact: NewArtifact,
}

/// What a failure is called, and whether it is an answer (follows from the identity).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `tool`, `trap`, `input`, `gate`, `limit`, `fault`, `denied`.
    pub class: String,
    /// Reason code, lower snake_case.
    pub code: String,
    pub message: String,
    pub advice: String,
    pub is_answer: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Succeeded { result: String, summary: String, outputs: Vec<OutputRow> },
    Failed(Failure),
    Cancelled { by: String },
    /// Policy of now refuses to carry on.
    Blocked(Failure),
}

#[derive(Clone, Debug, Default)]
pub struct Used {
    pub fuel: u64,
    pub memory_bytes: u64,
    pub wall_ms: u64,
    pub log: String,
    pub log_dropped_bytes: u64,
}

/// One attempt as stored.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    pub id: AttemptId,
    pub state: AttemptState,
    pub owner: String,
    pub caller: String,
    pub takeovers: u32,
    pub policy_file: Digest,
    pub engine: String,
    pub host_version: String,
    pub plan: String,
    pub created_ms: Millis,
    pub started_ms: Option<Millis>,
    pub ended_ms: Option<Millis>,
    pub result: Option<String>,
    pub summary: Option<String>,
    pub failure: Option<Failure>,
    pub used: Used,
    /// Rows with the label under which this attempt made each.
    pub outputs: Vec<(Role, OutputKey, ArtifactRow)>,
}

/// A run with everything that is known of it; attempts oldest first.
#[derive(Clone, Debug)]
pub struct RunRow {
    pub run: NewRun,
    pub created_ms: Millis,
    pub attempts: Vec<AttemptRow>,
}

/// A line of `run_list`.
#[derive(Clone, Debug)]
pub struct RunSummary {
    pub id: RunId,
    pub tool: ToolName,
    pub state: AttemptState,
    pub attempts: u32,
    pub created_ms: Millis,
    pub ended_ms: Option<Millis>,
}

#[derive(Clone, Debug)]
pub struct NewDenial {
    pub project: Option<ProjectId>,
    pub caller: String,
    pub tool: Option<String>,
    pub rule: String,
    pub line: Option<u32>,
    pub code: String,
    pub message: String,
}

/// What happened to something that is no run: an import, an export, a disclosure.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub project: ProjectId,
    /// Lower snake_case, e.g. `artifact_imported`.
    pub kind: &'static str,
    pub caller: String,
    pub body: serde_json::Value,
}

#[derive(Clone, Debug, Serialize)]
pub struct EventRow {
    pub chain: String,
    pub seq: u64,
    pub at_ms: Millis,
    pub kind: String,
    /// The exact canonical text that was hashed; holds the digest of the event before.
    pub text: String,
    pub digest: Digest,
}

/// One thing that `fsck` found wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub code: &'static str,
    pub what: String,
}

impl Ledger {
    /// Opens or makes `path`, brings its schema up to date and checks SQLite's version.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn open(_path: &Path, _owner: Owner) -> Result<Self, LedgerError> {
        unimplemented!()
    }

    pub async fn ensure_project(&self, _id: ProjectId, _name: &ProjectName) -> Result<(), LedgerError> {
        unimplemented!()
    }

    // ---- artifacts -----------------------------------------------------------------------

    /// Adds an artifact (or finds that it is there), its label and an event, in one transaction.
    pub async fn add_artifact(&self, _new: NewArtifact, _event: NewEvent) -> Result<ArtifactRow, LedgerError> {
        unimplemented!()
    }

    /// One artifact, only if it is in this project: foreign and unknown give the same `None`.
    pub async fn artifact(&self, _project: ProjectId, _id: ArtifactId) -> Result<Option<ArtifactRow>, LedgerError> {
        unimplemented!()
    }

    /// Newest first; `before` is the last id of the page before.
    pub async fn artifacts(
        &self,
        _project: ProjectId,
        _artifact_type: Option<ArtifactType>,
        _before: Option<ArtifactId>,
        _limit: u32,
    ) -> Result<Vec<ArtifactRow>, LedgerError> {
        unimplemented!()
    }

    /// The seal under which an object's bytes were last proved.
    pub async fn seal(&self, _digest: Digest) -> Result<Option<Seal>, LedgerError> {
        unimplemented!()
    }

    pub async fn remember_seal(&self, _digest: Digest, _seal: Seal) -> Result<(), LedgerError> {
        unimplemented!()
    }

    /// Bytes of a project's artifacts, each digest counted once.
    pub async fn store_bytes(&self, _project: ProjectId) -> Result<u64, LedgerError> {
        unimplemented!()
    }

    // ---- runs ----------------------------------------------------------------------------

    /// Everything of a run; `None` outside its project.
    pub async fn run(&self, _project: ProjectId, _id: RunId) -> Result<Option<RunRow>, LedgerError> {
        unimplemented!()
    }

    /// The attempt that answers this run, if one does: the newest success, else the newest
    /// failure that is an answer. The hot path of a replay: one indexed read.
    pub async fn answer(&self, _id: RunId, _digest: Digest) -> Result<Option<AttemptRow>, LedgerError> {
        unimplemented!()
    }

    pub async fn runs(
        &self,
        _project: ProjectId,
        _tool: Option<&ToolName>,
        _state: Option<AttemptState>,
        _before: Option<RunId>,
        _limit: u32,
    ) -> Result<Vec<RunSummary>, LedgerError> {
        unimplemented!()
    }

    /// Writes a run (if new) and an attempt in state `queued`.
    pub async fn begin(&self, _run: &NewRun, _attempt: &NewAttempt) -> Result<AttemptId, LedgerError> {
        unimplemented!()
    }

    /// Moves an attempt that this owner holds; [`LedgerError::Lost`] if it cannot go there.
    pub async fn advance(&self, _attempt: AttemptId, _to: AttemptState) -> Result<(), LedgerError> {
        unimplemented!()
    }

    /// Ends an attempt that was begun: state, outputs, artifacts, events, all in one transaction.
    pub async fn conclude(&self, _attempt: AttemptId, _used: &Used, _outcome: &Outcome) -> Result<(), LedgerError> {
        unimplemented!()
    }

    /// `begin`, `advance` and `conclude` of a short run, in one commit.
    pub async fn record(
        &self,
        _run: &NewRun,
        _attempt: &NewAttempt,
        _used: &Used,
        _outcome: &Outcome,
    ) -> Result<AttemptId, LedgerError> {
        unimplemented!()
    }

    /// Attempts that are not terminal and that another owner left, with their runs; each is
    /// taken over: this owner's name is put in and `takeovers` counted up.
    pub async fn take_over(&self) -> Result<Vec<(RunRow, AttemptRow)>, LedgerError> {
        unimplemented!()
    }

    /// Ends of class `limit` or `fault` of this run since `since_ms`: how often it was tried.
    pub async fn recent_failures(&self, _id: RunId, _since_ms: Millis) -> Result<u32, LedgerError> {
        unimplemented!()
    }

    // ---- components, denials, events -----------------------------------------------------

    /// A component's manifest as JSON of `contract::raw::Manifest`, once described.
    pub async fn manifest(&self, _component: Digest) -> Result<Option<String>, LedgerError> {
        unimplemented!()
    }

    pub async fn remember_manifest(&self, _component: Digest, _manifest: &str) -> Result<(), LedgerError> {
        unimplemented!()
    }

    pub async fn deny(&self, _denial: NewDenial) -> Result<DenialId, LedgerError> {
        unimplemented!()
    }

    pub async fn event(&self, _event: NewEvent) -> Result<(), LedgerError> {
        unimplemented!()
    }

    /// A run's chain (`run_…`) or a project's (`proj_…`), oldest first.
    pub async fn events(&self, _chain: &str) -> Result<Vec<EventRow>, LedgerError> {
        unimplemented!()
    }

    /// Every (digest, size) that must have its bytes.
    pub async fn objects(&self) -> Result<Vec<(Digest, u64)>, LedgerError> {
        unimplemented!()
    }

    /// Checks states, chains, outputs and identities.
    pub async fn fsck(&self) -> Result<Vec<Finding>, LedgerError> {
        unimplemented!()
    }

    /// Milliseconds now: the one wall clock of the host.
    pub fn now_ms() -> Millis {
        unimplemented!()
    }
}
