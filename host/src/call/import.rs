//! `artifact_import`: bytes from a caller or from under an import root become artifacts.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CallError, Context, Host};
use crate::query::ArtifactSummary;

/// Most bytes of inline text.
pub const INLINE_BYTES_MAX: usize = 1024 * 1024;

/// Most files in one import.
pub const FILES_MAX: usize = 100;

/// Give exactly one of `text`, `path` (with `root`) and `files` (with `root`).
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactImportArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// The content itself, up to 1 MiB.
    #[serde(default)]
    pub text: Option<String>,
    /// Import root, as `artifact_browse` names it; not needed with one root.
    #[serde(default)]
    pub root: Option<String>,
    /// File beneath the root.
    #[serde(default)]
    pub path: Option<String>,
    /// Many files beneath the root, up to 100.
    #[serde(default)]
    pub files: Option<Vec<ImportFile>>,
    /// E.g. `FASTQ_GZ`; left out, the bytes say. Refused if they contradict.
    #[serde(default)]
    pub type_hint: Option<String>,
    /// Human name; left out, the file's.
    #[serde(default)]
    pub label: Option<String>,
    /// `sha256:…` that the bytes must have.
    #[serde(default)]
    pub checksum_sha256: Option<String>,
    /// How long to wait for the end, 0 to 3600, default 45.
    #[serde(default)]
    pub wait_seconds: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportFile {
    pub path: String,
    #[serde(default)]
    pub type_hint: Option<String>,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub checksum_sha256: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactImportResult {
    pub status: ImportStatus,
    /// In the order of the request; those that are in already while `importing`.
    pub artifacts: Vec<ArtifactSummary>,
    /// `importing` only: how to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportStatus {
    Imported,
    /// Goes on without the caller; the same call made again joins it.
    Importing,
}

/// Imports inline text or files beneath an import root.
///
/// # Errors
/// See docs/errors.md: `import_*`, `type_mismatch`, `checksum_mismatch`, `store_full`.
pub async fn artifact_import(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactImportArgs,
) -> Result<ArtifactImportResult, CallError> {
    unimplemented!()
}
