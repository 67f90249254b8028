//! `host_info`: what a caller may do here, and what is left of it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{CallError, Context, Host};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostInfoArgs {
    /// Only this project, by name or id.
    #[serde(default)]
    pub project_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HostInfoResult {
    pub versions: Versions,
    pub policy: PolicyInfo,
    pub projects: Vec<ProjectInfo>,
    pub limits: LimitsInfo,
    pub toolpacks: Vec<ToolpackInfo>,
    /// Toolpacks that are not offered, and why.
    pub refused: Vec<RefusedInfo>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Versions {
    pub helixmcp: String,
    /// The interface that toolpacks are built against.
    pub toolpack_world: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PolicyInfo {
    pub name: String,
    pub digest: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProjectInfo {
    pub project_id: String,
    pub name: String,
    pub import_roots: Vec<ImportRootInfo>,
    pub export_roots: Vec<ExportRootInfo>,
    /// Decimal digits, as all sizes here.
    pub store_bytes_used: String,
    pub store_bytes_left: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImportRootInfo {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_bytes: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ExportRootInfo {
    pub name: String,
    pub overwrite: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LimitsInfo {
    pub concurrent_runs: u64,
    pub queued: u64,
    pub requests_per_minute: u64,
    pub store_bytes: String,
    /// Nothing is stored while less than this is free on the disk.
    pub free_space_floor_bytes: String,
    /// Whether that floor is kept now.
    pub store_has_room: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ToolpackInfo {
    pub name: String,
    pub version: String,
    pub digest: String,
    pub tools: Vec<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RefusedInfo {
    pub name: Option<String>,
    pub digest: Option<String>,
    pub code: String,
    pub message: String,
}

/// The caller's projects, roots, limits and toolpacks.
///
/// # Errors
/// `project_unknown`.
pub async fn host_info(
    host: &Arc<Host>,
    context: &Context,
    args: HostInfoArgs,
) -> Result<HostInfoResult, CallError> {
    unimplemented!()
}
