//! `run_get` and `run_list`: what is recorded of runs.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::artifact::ArtifactSummary;
use helix_ids::text::{escaped, escaped_line};
use helix_ids::{RunId, ToolName};

use super::artifact::{LIST_ROWS, cut_page};
use super::explain::RunOrigin;
use super::find::{bad, cursor_unknown, find_run};
use super::steps::{self, StepInfo};
use super::text::{iso_time, tail};
use crate::call::{AnswerFailure, CallError, Context, Host};
use crate::ledger::{AttemptRow, AttemptState, EventRow, RunRow, RunSummary};

/// How much of a tool's log a record shows; the end says most.
const LOG_TAIL_BYTES: usize = 4 * 1024;

/// How much of a failure's words a record shows.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 * 1024;

/// A summary is at most 2 KiB where toolpacks keep the contract.
const SUMMARY_BYTES_MAX: usize = 4 * 1024;

/// Most events of one record, the newest; an attempt writes a handful.
const EVENTS_MAX: u32 = 200;

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
    /// The newest 20, oldest first.
    pub attempts: Vec<AttemptInfo>,
    /// Older attempts that were left out.
    #[serde(default, skip_serializing_if = "is_none_out")]
    pub attempts_left_out: u32,
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
    /// The containers that it started, oldest first; of the newest two attempts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepInfo>,
    /// Older steps that were left out.
    #[serde(default, skip_serializing_if = "is_none_out")]
    pub steps_left_out: u32,
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

fn is_none_out(count: &u32) -> bool {
    *count == 0
}

/// What is recorded of a run: of many attempts and events the newest.
///
/// # Errors
/// `run_unknown`, the same for foreign and unknown ids.
pub async fn run_get(
    host: &Arc<Host>,
    context: &Context,
    args: RunGetArgs,
) -> Result<RunGetResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let row = find_run(host, &project, "/run_id", &args.run_id).await?;
    let chain = if args.events {
        Some(host.ledger.events(&row.run.id.to_string(), EVENTS_MAX).await.map_err(CallError::fault)?)
    } else {
        None
    };
    let mut record = record(&row, chain.as_deref())?;
    let newest = row.attempts.iter().zip(&mut record.attempts).rev().take(steps::ATTEMPTS_WITH_STEPS);
    for (attempt, info) in newest {
        let shown = steps::steps(host, attempt.id).await?;
        (info.steps, info.steps_left_out) = (shown.steps, shown.left_out);
    }
    Ok(record)
}

fn record(row: &RunRow, chain: Option<&[EventRow]>) -> Result<RunGetResult, CallError> {
    let run = &row.run;
    Ok(RunGetResult {
        run_id: run.id.to_string(),
        project_id: run.project.to_string(),
        tool: run.tool.to_string(),
        contract: run.contract.to_string(),
        component_digest: run.component.to_string(),
        state: row.attempts.last().map_or("none", |attempt| attempt.state.as_str()).to_owned(),
        created_at: iso_time(row.created_ms),
        identity: RunOrigin::of(run).map_err(CallError::fault)?,
        inputs: run
            .inputs
            .iter()
            .map(|input| RunInputInfo {
                role: input.role.to_string(),
                index: input.index,
                sample: input.sample.as_ref().map(ToString::to_string),
                artifact_id: input.artifact.to_string(),
            })
            .collect(),
        attempts: row.attempts.iter().map(AttemptInfo::from).collect(),
        attempts_left_out: left_out(row),
        events: chain.map(|chain| chain.iter().map(EventInfo::from).collect()),
        events_left_out: chain.and_then(<[_]>::first).map_or(0, |first| first.seq),
    })
}

/// Ordinals are counted one by one.
fn left_out(row: &RunRow) -> u32 {
    let read = u32::try_from(row.attempts.len()).unwrap_or(u32::MAX);
    row.attempts.last().map_or(0, |last| last.id.ordinal.saturating_sub(read))
}

impl From<&AttemptRow> for AttemptInfo {
    fn from(row: &AttemptRow) -> Self {
        let used = &row.used;
        Self {
            ordinal: row.id.ordinal,
            state: row.state.to_string(),
            caller: escaped_line(&row.caller, MESSAGE_BYTES_MAX),
            owner: row.owner.clone(),
            takeovers: row.takeovers,
            policy_file: row.policy_file.to_string(),
            engine: row.engine.clone(),
            host_version: row.host_version.clone(),
            created_at: iso_time(row.created_ms),
            started_at: row.started_ms.map(iso_time),
            ended_at: row.ended_ms.map(iso_time),
            usage: UsageInfo {
                fuel: used.fuel.to_string(),
                memory_bytes: used.memory_bytes.to_string(),
                wall_ms: used.wall_ms,
                log_dropped_bytes: used.log_dropped_bytes.to_string(),
            },
            outputs: row
                .outputs
                .iter()
                .map(|(role, key, artifact)| OutputInfo {
                    role: role.to_string(),
                    key: key.to_string(),
                    artifact: ArtifactSummary::from(artifact),
                })
                .collect(),
            // A result satisfied its schema when it was stored; one that is no JSON is shown as text.
            result: row.result.as_ref().map(|text| {
                serde_json::from_str(text)
                    .unwrap_or_else(|_error| Value::from(escaped(text, MESSAGE_BYTES_MAX)))
            }),
            summary: row.summary.as_deref().map(|summary| escaped(summary, SUMMARY_BYTES_MAX)),
            failure: row.failure.as_ref().map(|failure| AnswerFailure {
                class: failure.class.clone(),
                code: failure.code.clone(),
                message: escaped(&failure.message, MESSAGE_BYTES_MAX),
                advice: escaped(&failure.advice, MESSAGE_BYTES_MAX),
            }),
            log_tail: tail(&used.log, LOG_TAIL_BYTES),
            steps: Vec::new(),
            steps_left_out: 0,
        }
    }
}

impl From<&EventRow> for EventInfo {
    fn from(row: &EventRow) -> Self {
        Self {
            seq: row.seq,
            at: iso_time(row.at_ms),
            kind: row.kind.clone(),
            digest: row.digest.to_string(),
            text: row.text.clone(),
        }
    }
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
    let project = host.project(context, args.project_id.as_deref()).await?;
    let tool = args.tool.as_deref().map(parse_tool).transpose()?;
    let state = args.state.as_deref().map(parse_state).transpose()?;
    let before = match &args.cursor {
        None => None,
        Some(text) => {
            let id = text.parse::<RunId>().map_err(|_malformed| cursor_unknown())?;
            let known = host.ledger.identified(project.id, id).await.map_err(CallError::fault)?;
            Some(known.ok_or_else(cursor_unknown)?.id)
        }
    };
    let mut rows = host
        .ledger
        .runs(project.id, tool.as_ref(), state, before, LIST_ROWS + 1)
        .await
        .map_err(CallError::fault)?;
    let next_cursor = cut_page(&mut rows, |row| row.id.to_string());
    Ok(RunListResult { runs: rows.iter().map(RunListRow::from).collect(), next_cursor })
}

fn parse_tool(text: &str) -> Result<ToolName, CallError> {
    text.parse().map_err(|error: helix_ids::NameError| bad("tool_name_invalid", "/tool", error.to_string()))
}

fn parse_state(text: &str) -> Result<AttemptState, CallError> {
    text.parse().map_err(|_unknown| {
        let known: Vec<&str> = AttemptState::ALL.iter().map(|state| state.as_str()).collect();
        bad("state_unknown", "/state", format!("the states are {}", known.join(", ")))
    })
}

impl From<&RunSummary> for RunListRow {
    fn from(row: &RunSummary) -> Self {
        Self {
            run_id: row.id.to_string(),
            tool: row.tool.to_string(),
            state: row.state.to_string(),
            attempts: row.attempts,
            created_at: iso_time(row.created_ms),
            ended_at: row.ended_ms.map(iso_time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_say_what_they_take() {
        assert_eq!(parse_state("waiting").ok(), Some(AttemptState::Waiting));
        let reason = parse_state("done").unwrap_err().to_string();
        assert_eq!(
            reason,
            "/state: the states are queued, running, waiting, succeeded, failed, cancelled, blocked"
        );
        for text in ["", "Fastq", "a' OR '1'='1", "a\0"] {
            let error = parse_tool(text).unwrap_err();
            assert!(matches!(error, CallError::BadArguments { code: "tool_name_invalid", .. }), "{text:?}");
        }
    }
}
