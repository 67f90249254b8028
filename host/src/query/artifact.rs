//! `artifact_get` and `artifact_list`: what is known of artifacts, never their bytes.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{CallError, Context, Host};
use crate::ledger::ArtifactRow;

/// Rows of one answer. A model reads every row, so pages are short.
pub const LIST_ROWS: u32 = 20;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactGetArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    pub artifact_id: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactGetResult {
    pub artifact: ArtifactSummary,
}

/// An artifact as callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ArtifactSummary {
    pub artifact_id: String,
    pub project_id: String,
    #[serde(rename = "type")]
    pub artifact_type: String,
    pub mime_type: String,
    pub label: Option<String>,
    /// Decimal digits.
    pub size_bytes: String,
    pub checksum_sha256: String,
    /// ISO 8601, milliseconds, UTC.
    pub created_at: String,
    pub created_by_run_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactListArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// Only this type, e.g. `FASTQ_GZ`.
    #[serde(default, rename = "type")]
    pub artifact_type: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Newest first, 20 at a time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactListResult {
    pub artifacts: Vec<ArtifactSummary>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl From<&ArtifactRow> for ArtifactSummary {
    fn from(row: &ArtifactRow) -> Self {
        Self {
            artifact_id: row.id.to_string(),
            project_id: row.project.to_string(),
            artifact_type: row.artifact_type.to_string(),
            mime_type: row.artifact_type.mime().to_owned(),
            label: row.label.clone(),
            size_bytes: row.size_bytes.to_string(),
            checksum_sha256: row.digest.to_string(),
            created_at: super::text::iso_time(row.created_ms),
            created_by_run_id: row.created_by.map(|run| run.to_string()),
        }
    }
}

/// What is known of one artifact.
///
/// # Errors
/// `artifact_unknown`, the same for foreign and unknown ids.
pub async fn artifact_get(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactGetArgs,
) -> Result<ArtifactGetResult, CallError> {
    unimplemented!()
}

/// A page of a project's artifacts.
///
/// # Errors
/// `cursor_unknown`, `type_unknown`.
pub async fn artifact_list(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactListArgs,
) -> Result<ArtifactListResult, CallError> {
    unimplemented!()
}
