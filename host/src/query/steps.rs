//! What a record shows of an attempt's container steps.

use std::sync::Arc;

use helix_ids::text::{escaped, escaped_line};
use schemars::JsonSchema;
use serde::Serialize;

use super::run::MESSAGE_BYTES_MAX;
use super::text::{iso_time, tail};
use crate::call::{AnswerFailure, CallError, Host};
use crate::ledger::{AttemptId, StepLog, StepRow};

/// Steps are shown of so many attempts, the newest.
pub(super) const ATTEMPTS_WITH_STEPS: usize = 2;

/// Most steps that are shown of one attempt, the newest.
const STEPS_MAX: usize = 64;

/// Most captured files that are listed of one step.
const CAPTURES_MAX: usize = 16;

/// How much is shown of what one step printed, of each stream: the end says most.
const TAIL_BYTES_MAX: usize = 2 * 1024;

/// How much is shown of what all steps of an attempt printed; each has its part.
const TAILS_BYTES_MAX: usize = 32 * 1024;

/// How much is shown of a name that the toolpack or the container chose.
const NAME_BYTES_MAX: usize = 512;

/// One container that a run started, or did not need to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepInfo {
    /// From 0, in the order in which the tool asked; `run_logs` takes it.
    pub step: u32,
    pub name: String,
    pub state: String,
    pub image: String,
    pub backend: String,
    /// Which submission it is; 0 when there was none.
    #[serde(rename = "try")]
    pub try_: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The step whose outcome this one has, because it would have come to the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reused_from: Option<StepOrigin>,
    pub asked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<AnswerFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<StepUsageInfo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<CaptureInfo>,
    /// Captures that are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub captures_left_out: usize,
    /// The end of what it printed: data, escaped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stdout_tail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stderr_tail: String,
    /// The whole, where it is kept; `run_logs` reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout: Option<LogInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<LogInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepOrigin {
    pub run_id: String,
    pub attempt: u32,
    pub step: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepUsageInfo {
    pub queue_ms: u64,
    pub wall_ms: u64,
    pub cpu_ms: u64,
    /// Decimal digits.
    pub peak_memory_bytes: String,
}

/// A file that a step left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CaptureInfo {
    pub name: String,
    #[serde(rename = "type")]
    pub artifact_type: String,
    /// Decimal digits.
    pub size_bytes: String,
    pub checksum_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LogInfo {
    /// Decimal digits.
    pub size_bytes: String,
    pub checksum_sha256: String,
}

/// The newest steps of an attempt, oldest first, and how many older ones are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct AttemptSteps {
    pub steps: Vec<StepInfo>,
    pub left_out: u32,
}

/// What is shown of an attempt's steps.
///
/// # Errors
/// [`CallError::Fault`].
pub(super) async fn steps(host: &Arc<Host>, attempt: AttemptId) -> Result<AttemptSteps, CallError> {
    let read = host.ledger.steps_with_tails(attempt, TAIL_BYTES_MAX).await;
    Ok(shown(&read.map_err(CallError::fault)?))
}

fn shown(rows: &[StepRow]) -> AttemptSteps {
    let left_out = rows.len().saturating_sub(STEPS_MAX);
    let newest = rows.get(left_out..).unwrap_or_default();
    let tail_bytes = (TAILS_BYTES_MAX / 2 / newest.len().max(1)).min(TAIL_BYTES_MAX);
    AttemptSteps {
        steps: newest.iter().map(|row| StepInfo::of(row, tail_bytes)).collect(),
        left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
    }
}

impl StepInfo {
    fn of(row: &StepRow, tail_bytes: usize) -> Self {
        let end = row.outcome.as_ref();
        let tail_of = |text: Option<&String>| text.map(|text| tail(text, tail_bytes)).unwrap_or_default();
        Self {
            step: row.id.ordinal,
            name: escaped_line(&row.name, NAME_BYTES_MAX),
            state: row.state.to_string(),
            image: escaped_line(&row.image, NAME_BYTES_MAX),
            backend: row.backend.clone(),
            try_: row.try_,
            container: row.container.as_deref().map(|id| escaped_line(id, NAME_BYTES_MAX)),
            key: row.key.map(|key| key.to_string()),
            reused_from: row.reused_from.map(|from| StepOrigin {
                run_id: from.attempt.run.to_string(),
                attempt: from.attempt.ordinal,
                step: from.ordinal,
            }),
            asked_at: iso_time(row.intended_ms),
            started_at: row.running_ms.map(iso_time),
            ended_at: row.ended_ms.map(iso_time),
            exit_code: end.and_then(|end| end.exit_code),
            failure: end.and_then(|end| end.failure.as_ref()).map(|failure| AnswerFailure {
                class: failure.class.clone(),
                code: failure.code.clone(),
                message: escaped(&failure.message, MESSAGE_BYTES_MAX),
                advice: escaped(&failure.advice, MESSAGE_BYTES_MAX),
            }),
            usage: end.map(|end| StepUsageInfo {
                queue_ms: end.usage.queue_ms,
                wall_ms: end.usage.wall_ms,
                cpu_ms: end.usage.cpu_ms,
                peak_memory_bytes: end.usage.peak_memory_bytes.to_string(),
            }),
            captures: row.files.iter().take(CAPTURES_MAX).map(CaptureInfo::from).collect(),
            captures_left_out: row.files.len().saturating_sub(CAPTURES_MAX),
            stdout_tail: tail_of(end.map(|end| &end.stdout_tail)),
            stderr_tail: tail_of(end.map(|end| &end.stderr_tail)),
            stdout: row.stdout.map(LogInfo::from),
            stderr: row.stderr.map(LogInfo::from),
        }
    }
}

impl From<&crate::ledger::StepFile> for CaptureInfo {
    fn from(file: &crate::ledger::StepFile) -> Self {
        Self {
            name: escaped_line(&file.name, NAME_BYTES_MAX),
            artifact_type: file.artifact_type.to_string(),
            size_bytes: file.size_bytes.to_string(),
            checksum_sha256: file.digest.to_string(),
        }
    }
}

impl From<StepLog> for LogInfo {
    fn from(log: StepLog) -> Self {
        Self { size_bytes: log.size_bytes.to_string(), checksum_sha256: log.digest.to_string() }
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use helix_ids::{ArtifactType, Digest, RunId};

    use super::*;
    use crate::ledger::{StepEndRow, StepFile, StepId, StepState, StepUsage};

    fn step(ordinal: u32, printed: &str) -> StepRow {
        let attempt = AttemptId { run: RunId::from_digest(&Digest::of(b"run")), ordinal: 1 };
        let file = |n: usize| StepFile {
            name: format!("{n}\u{202e}.bam"),
            artifact_type: ArtifactType::Bam,
            digest: Digest::of(b"file"),
            size_bytes: 4,
        };
        StepRow {
            id: StepId { attempt, ordinal },
            name: "align".to_owned(),
            image: "image".to_owned(),
            backend: "docker".to_owned(),
            state: StepState::Done,
            ask_kind: "start".to_owned(),
            ask: Digest::of(b"ask"),
            try_: 1,
            key: Some(Digest::of(b"key")),
            reused_from: None,
            container: None,
            outcome: Some(StepEndRow {
                exit_code: Some(1),
                stdout_tail: printed.to_owned(),
                stderr_tail: "\u{1b}[2J".to_owned(),
                failure: None,
                usage: StepUsage::default(),
            }),
            outcome_seq: Some(ordinal),
            files: (0..CAPTURES_MAX + 3).map(file).collect(),
            stdout: None,
            stderr: None,
            intended_ms: 0,
            submitted_ms: Some(0),
            running_ms: None,
            ended_ms: Some(0),
        }
    }

    #[test]
    fn i9_many_steps_share_the_room_and_the_newest_are_shown() {
        let rows: Vec<StepRow> = (0..70).map(|n| step(n, &"x".repeat(TAIL_BYTES_MAX))).collect();
        let all = shown(&rows);
        assert_eq!((all.left_out, all.steps.len(), all.steps[0].step), (6, STEPS_MAX, 6));
        let printed: usize = all.steps.iter().map(|step| step.stdout_tail.len()).sum();
        assert_eq!(printed, TAILS_BYTES_MAX / 2);
        let one = &shown(&rows[..1]).steps[0];
        assert_eq!(one.stdout_tail.len(), TAIL_BYTES_MAX);
        assert_eq!((one.captures.len(), one.captures_left_out), (CAPTURES_MAX, 3));
        assert!(shown(&[]).steps.is_empty());
    }

    #[test]
    fn what_a_container_wrote_is_escaped() {
        let info = StepInfo::of(&step(0, "a\u{7}b"), 100);
        assert_eq!((info.stdout_tail.as_str(), info.stderr_tail.as_str()), ("a\\u{7}b", "\\u{1b}[2J"));
        assert_eq!(info.captures[0].name, "0\\u{202e}.bam");
    }
}
