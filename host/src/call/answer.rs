//! What a call of a toolpack's tool answers: one schema for every tool and every end.

use std::sync::Arc;
use std::time::Duration;

use helix_ids::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{CallError, Context, IdentifiedCall};
use crate::ledger::{AttemptState, Failure};
use crate::plan::Plan;
use crate::run::{End, EndOutput, Flight, Progress, Snapshot, Waited};

/// Where the call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Planned,
    Queued,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
    Blocked,
}

/// The answer of a call, of `run_wait`, and of nothing else.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Answer {
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The answer was stored; nothing ran.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The outputs were made again, equal to the ones that were gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<AnswerOutput>,
    /// Satisfies the tool's result schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The tool's own summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// `dry_run` only: what would happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<AnswerProgress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<AnswerFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerOutput {
    pub role: String,
    pub key: String,
    pub artifact_id: String,
    #[serde(rename = "type")]
    pub artifact_type: String,
    pub label: String,
    /// Decimal digits.
    pub size_bytes: String,
    /// `sha256:` and 64 hex digits.
    pub checksum_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerProgress {
    pub done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerFailure {
    /// `tool`, `trap`, `input`, `gate`, `step`, `limit`, `fault`, `denied`.
    pub class: String,
    pub code: String,
    pub message: String,
    pub advice: String,
}

/// Waits for a run and answers with its end, or says that it goes on.
///
/// # Errors
/// [`CallError::Fault`] where the end is ours; [`CallError::Failed`] when the caller went away.
pub async fn wait_for(flight: &Arc<Flight>, context: &Context, wait: Duration) -> Result<Answer, CallError> {
    match flight.wait(wait, &context.gone, context.progress.as_ref()).await {
        Waited::Ended(end) => Ok(Answer::ended(flight.run, &end)),
        Waited::GoesOn(snapshot) => Ok(Answer::going_on(flight.run, snapshot)),
        Waited::Left => Err(left(flight.run)),
    }
}

/// What is said of a run to a caller who waits no longer. Nobody hears it.
pub(super) fn left(run: RunId) -> CallError {
    CallError::Failed {
        run: Some(run),
        class: "cancelled".to_owned(),
        code: "request_cancelled".to_owned(),
        message: "the caller stopped waiting".to_owned(),
        advice: "the same call joins the run, if it goes on".to_owned(),
    }
}

impl Answer {
    fn bare(status: Status) -> Self {
        Self {
            status,
            run_id: None,
            replayed: false,
            restored: false,
            outputs: Vec::new(),
            result: None,
            summary: None,
            plan: None,
            progress: None,
            failure: None,
        }
    }

    /// The answer that a terminal attempt is.
    pub fn ended(run: RunId, end: &End) -> Self {
        Self {
            run_id: Some(run.to_string()),
            restored: end.restored,
            outputs: end.outputs.iter().map(AnswerOutput::from).collect(),
            // What the gate let through parses; a ledger that was tampered with shows as null.
            result: end.result.as_deref().map(|text| serde_json::from_str(text).unwrap_or(Value::Null)),
            summary: end.summary.clone(),
            failure: end.failure.as_ref().map(AnswerFailure::from),
            ..Self::bare(end.state.into())
        }
    }

    /// A run that was refused while it was planned.
    pub fn failed(run: RunId, failure: &Failure) -> Self {
        Self {
            run_id: Some(run.to_string()),
            failure: Some(AnswerFailure::from(failure)),
            ..Self::bare(Status::Failed)
        }
    }

    /// A run that goes on.
    pub fn going_on(run: RunId, now: Snapshot) -> Self {
        let status = match now {
            Snapshot { waiting: true, .. } => Status::Waiting,
            Snapshot { running: true, .. } => Status::Running,
            Snapshot { .. } => Status::Queued,
        };
        let progress =
            now.progress.map(|Progress { done, total, text }| AnswerProgress { done, total, text });
        Self { run_id: Some(run.to_string()), progress, ..Self::bare(status) }
    }

    /// What a dry run of a new call shows.
    pub fn planned(call: &IdentifiedCall, plan: &Plan) -> Self {
        Self {
            run_id: Some(call.run_id().to_string()),
            plan: Some(json!({ "would": "would_run", "plan": plan.to_json() })),
            ..Self::bare(Status::Planned)
        }
    }

    /// What a dry run shows of a call that is known already.
    pub fn would(what: &str, known: Self) -> Self {
        let status = known.status;
        Self {
            run_id: known.run_id,
            plan: Some(json!({ "would": what, "status": status })),
            ..Self::bare(Status::Planned)
        }
    }
}

impl From<AttemptState> for Status {
    fn from(state: AttemptState) -> Self {
        match state {
            AttemptState::Queued => Self::Queued,
            AttemptState::Running => Self::Running,
            AttemptState::Waiting => Self::Waiting,
            AttemptState::Succeeded => Self::Succeeded,
            AttemptState::Failed => Self::Failed,
            AttemptState::Cancelled => Self::Cancelled,
            AttemptState::Blocked => Self::Blocked,
        }
    }
}

impl From<&EndOutput> for AnswerOutput {
    fn from(output: &EndOutput) -> Self {
        Self {
            role: output.role.to_string(),
            key: output.key.to_string(),
            artifact_id: output.artifact.to_string(),
            artifact_type: output.artifact_type.to_string(),
            label: output.label.clone(),
            size_bytes: output.size_bytes.to_string(),
            checksum_sha256: output.digest.to_string(),
        }
    }
}

impl From<&Failure> for AnswerFailure {
    fn from(failure: &Failure) -> Self {
        Self {
            class: failure.class.clone(),
            code: failure.code.clone(),
            message: failure.message.clone(),
            advice: failure.advice.clone(),
        }
    }
}
