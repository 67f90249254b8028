//! What the ledger keeps, as the rest of the host sees it.

use helix_ids::{
    ArtifactId, ArtifactType, ContractVersion, Digest, OutputKey, ProjectId, Role, RunId, SampleName,
    ToolName,
};
use serde::{Deserialize, Serialize};

use super::AttemptState;

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
    /// Reason code, lower `snake_case`.
    pub code: String,
    pub message: String,
    pub advice: String,
    pub is_answer: bool,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Succeeded {
        result: String,
        summary: String,
        outputs: Vec<OutputRow>,
    },
    Failed(Failure),
    Cancelled {
        by: String,
    },
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

/// A run with what is known of it; attempts oldest first, of many the newest alone.
#[derive(Clone, Debug)]
pub struct RunRow {
    pub run: NewRun,
    pub created_ms: Millis,
    pub attempts: Vec<AttemptRow>,
}

/// A line of `run_list`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Lower `snake_case`, e.g. `artifact_imported`.
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
