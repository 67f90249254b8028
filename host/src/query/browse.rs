//! `artifact_browse`: what lies under an import root, before anything is imported.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{CallError, Context, Host};

/// Entries of one answer.
pub const BROWSE_ROWS: usize = 50;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactBrowseArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// Import root; not needed with one root.
    #[serde(default)]
    pub root: Option<String>,
    /// Folder beneath the root; left out for the root itself.
    #[serde(default)]
    pub path: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Sorted by name, 50 at a time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactBrowseResult {
    pub root: String,
    /// The folder; empty for the root itself.
    pub path: String,
    pub entries: Vec<BrowseEntry>,
    /// Entries of the folder, on all pages.
    pub total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BrowseEntry {
    /// Relative to the root, as `artifact_import` takes it.
    pub path: String,
    pub is_dir: bool,
    /// Decimal digits; absent for folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guessed_type: Option<String>,
    /// Why it cannot be imported as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A page of a folder beneath an import root.
///
/// # Errors
/// `import_root_unknown`, `import_root_required`, `import_path_denied`, `cursor_unknown`.
pub async fn artifact_browse(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactBrowseArgs,
) -> Result<ArtifactBrowseResult, CallError> {
    unimplemented!()
}
