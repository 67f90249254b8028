//! `host_info`: what a caller may do here, and what is left of it.

use std::sync::Arc;

use helix_ids::text::{escaped, escaped_line};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bytes::blocking;
use crate::artifacts::ArtifactError;
use crate::call::{CallError, Context, Host};
use crate::catalog::{OfferedTool, Refused};
use crate::policy::{Policy, Project};

/// What toolpacks are built against.
const TOOLPACK_WORLD: &str = "helix:toolpack@1.0.0";

/// How much of a toolpack's own words is shown.
const TEXT_BYTES_MAX: usize = 1024;

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
    pub name: String,
    pub digest: String,
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
    let policy = host.policy();
    let asked = match &args.project_id {
        Some(name) => vec![host.project(context, Some(name)).await?],
        None => policy.projects().to_vec(),
    };
    let mut projects = Vec::with_capacity(asked.len());
    for project in &asked {
        let used = host.ledger.store_bytes(project.id).await.map_err(CallError::fault)?;
        projects.push(project_info(&policy, project, used));
    }
    let store = host.store.clone();
    let store_has_room = match blocking(move || store.admit()).await? {
        Ok(()) => true,
        Err(ArtifactError::Full { .. }) => false,
        Err(error) => return Err(CallError::fault(error)),
    };
    Ok(HostInfoResult {
        versions: Versions {
            helixmcp: env!("CARGO_PKG_VERSION").to_owned(),
            toolpack_world: TOOLPACK_WORLD.to_owned(),
        },
        policy: PolicyInfo { name: policy.name.clone(), digest: policy.file_digest().to_string() },
        projects,
        limits: limits_info(&policy, store_has_room),
        toolpacks: toolpacks(&host.catalog.tools()),
        refused: host.catalog.refused().into_iter().map(RefusedInfo::from).collect(),
    })
}

fn project_info(policy: &Policy, project: &Project, used: u64) -> ProjectInfo {
    ProjectInfo {
        project_id: project.id.to_string(),
        name: project.name.to_string(),
        import_roots: policy
            .import_roots(project)
            .into_iter()
            .map(|root| ImportRootInfo {
                name: root.name.to_string(),
                max_file_bytes: root.max_file_bytes.map(|bytes| bytes.to_string()),
            })
            .collect(),
        export_roots: policy
            .export_roots(project)
            .into_iter()
            .map(|root| ExportRootInfo { name: root.name.to_string(), overwrite: root.overwrite })
            .collect(),
        store_bytes_used: used.to_string(),
        store_bytes_left: policy.caller.store_bytes.saturating_sub(used).to_string(),
    }
}

fn limits_info(policy: &Policy, store_has_room: bool) -> LimitsInfo {
    LimitsInfo {
        concurrent_runs: policy.caller.concurrent_runs,
        queued: policy.caller.queued,
        requests_per_minute: policy.caller.requests_per_minute,
        store_bytes: policy.caller.store_bytes.to_string(),
        free_space_floor_bytes: policy.host.free_space_floor_bytes.to_string(),
        store_has_room,
    }
}

/// One entry a toolpack, in the order of their first tools.
fn toolpacks(tools: &[OfferedTool]) -> Vec<ToolpackInfo> {
    let mut toolpacks: Vec<ToolpackInfo> = Vec::new();
    for offered in tools {
        let digest = offered.toolpack.digest.to_string();
        let tool = offered.tool.name.to_string();
        match toolpacks.iter_mut().find(|toolpack| toolpack.digest == digest) {
            Some(toolpack) => toolpack.tools.push(tool),
            None => toolpacks.push(ToolpackInfo {
                name: offered.toolpack.manifest.name.to_string(),
                version: escaped_line(&offered.toolpack.manifest.version, TEXT_BYTES_MAX),
                digest,
                tools: vec![tool],
            }),
        }
    }
    toolpacks
}

impl From<Refused> for RefusedInfo {
    fn from(refused: Refused) -> Self {
        Self {
            name: refused.name.to_string(),
            digest: refused.digest.to_string(),
            code: refused.code.to_owned(),
            message: escaped(&refused.message, TEXT_BYTES_MAX),
        }
    }
}
