//! `run_get` and `run_list`: what is recorded of runs.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifact::ArtifactSummary;
use super::explain::RunOrigin;
use crate::call::{AnswerFailure, CallError, Context, Host};

/// Rows of one answer.
pub const LIST_ROWS: u32 = 20;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunGetArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    pub run_id: String,
    /// Adds the chain of events.
    #[serde(default)]
    pub events: bool,
}

/// Everything that is recorded of a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunGetResult {
    pub run_id: String,
    pub project_id: String,
    pub tool: String,
    pub contract: String,
    pub component_digest: String,
    /// Of the newest attempt.
    pub state: String,
    pub created_at: String,
    pub identity: RunOrigin,
    pub inputs: Vec<RunInputInfo>,
    /// Oldest first.
    pub attempts: Vec<AttemptInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventInfo>>,
    /// Older events that were left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub events_left_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunInputInfo {
    pub role: String,
    pub index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    pub artifact_id: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AttemptInfo {
    pub ordinal: u32,
    pub state: String,
    pub caller: String,
    pub owner: String,
    pub takeovers: u32,
    pub policy_file: String,
    pub engine: String,
    pub host_version: String,
    pub created_at: String,
    pub started_at: Option<String>,
    pub ended_at: Option<String>,
    pub usage: UsageInfo,
    pub outputs: Vec<OutputInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<AnswerFailure>,
    /// The end of the tool's log: data, escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_tail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UsageInfo {
    /// Decimal digits.
    pub fuel: String,
    /// Decimal digits.
    pub memory_bytes: String,
    pub wall_ms: u64,
    /// Decimal digits.
    pub log_dropped_bytes: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutputInfo {
    pub role: String,
    pub key: String,
    #[serde(flatten)]
    pub artifact: ArtifactSummary,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EventInfo {
    pub seq: u64,
    pub at: String,
    pub kind: String,
    /// Of the exact text, which holds the digest of the event before.
    pub digest: String,
    pub text: String,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunListArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// Only runs of this tool.
    #[serde(default)]
    pub tool: Option<String>,
    /// Only runs whose newest attempt is in this state.
    #[serde(default)]
    pub state: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Newest first, 20 at a time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunListResult {
    pub runs: Vec<RunListRow>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunListRow {
    pub run_id: String,
    pub tool: String,
    pub state: String,
    pub attempts: u32,
    pub created_at: String,
    pub ended_at: Option<String>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Everything that is recorded of a run.
///
/// # Errors
/// `run_unknown`, the same for foreign and unknown ids.
pub async fn run_get(
    host: &Arc<Host>,
    context: &Context,
    args: RunGetArgs,
) -> Result<RunGetResult, CallError> {
    unimplemented!()
}

/// A page of a project's runs.
///
/// # Errors
/// `cursor_unknown`, `tool_name_invalid`, `state_unknown`.
pub async fn run_list(
    host: &Arc<Host>,
    context: &Context,
    args: RunListArgs,
) -> Result<RunListResult, CallError> {
    unimplemented!()
}
