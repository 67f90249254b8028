//! What a call of a toolpack's tool answers: one schema for every tool and every end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// `tool`, `trap`, `input`, `gate`, `limit`, `fault`, `denied`.
    pub class: String,
    pub code: String,
    pub message: String,
    pub advice: String,
}
