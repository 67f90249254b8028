//! `artifact_export`: an artifact's bytes become a named file under an export root.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CallError, Context, Host};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactExportArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    pub artifact_id: String,
    /// Export root; not needed with one root.
    #[serde(default)]
    pub root: Option<String>,
    /// File name beneath the root; left out, the artifact's label.
    #[serde(default)]
    pub name: Option<String>,
    /// Replaces a file of this name, where policy allows it.
    #[serde(default)]
    pub overwrite: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactExportResult {
    pub artifact_id: String,
    /// Where the file lies, for a person.
    pub path: String,
    /// Decimal digits.
    pub size_bytes: String,
    pub checksum_sha256: String,
}

/// Writes an artifact's proved bytes as a named file under an export root.
///
/// # Errors
/// `artifact_unknown`, `artifact_gone`, `export_root_unknown`, `export_path_denied`,
/// `export_exists`, `export_overwrite_denied`.
pub async fn artifact_export(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactExportArgs,
) -> Result<ArtifactExportResult, CallError> {
    unimplemented!()
}
