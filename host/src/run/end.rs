//! How an attempt ended, told alike whether it ended now or was stored.

use helix_ids::{ArtifactId, ArtifactType, Digest, OutputKey, Role};

use crate::ledger::{AttemptRow, AttemptState, Failure, Outcome};

/// The end of an attempt.
#[derive(Clone, Debug)]
pub struct End {
    /// Terminal.
    pub state: AttemptState,
    pub result: Option<String>,
    pub summary: Option<String>,
    pub outputs: Vec<EndOutput>,
    pub failure: Option<Failure>,
    /// Outputs that were gone were made again, byte for byte.
    pub restored: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOutput {
    pub role: Role,
    pub key: OutputKey,
    pub artifact: ArtifactId,
    pub artifact_type: ArtifactType,
    pub label: String,
    pub size_bytes: u64,
    pub digest: Digest,
}

impl End {
    /// An end that is our own fault.
    pub fn fault(message: impl Into<String>) -> Self {
        Self::failed(Failure {
            class: "fault".to_owned(),
            code: "host_fault".to_owned(),
            message: message.into(),
            advice: "the host's log says more; the same call tries again".to_owned(),
            is_answer: false,
        })
    }

    fn failed(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::bare(AttemptState::Failed) }
    }

    fn bare(state: AttemptState) -> Self {
        Self { state, result: None, summary: None, outputs: Vec::new(), failure: None, restored: false }
    }
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded { result, summary, outputs } => Self {
                result: Some(result),
                summary: Some(summary),
                outputs: outputs
                    .into_iter()
                    .map(|output| EndOutput {
                        role: output.role,
                        key: output.key,
                        artifact: output.artifact.id,
                        artifact_type: output.artifact.artifact_type,
                        label: output.artifact.label.unwrap_or_default(),
                        size_bytes: output.artifact.size_bytes,
                        digest: output.artifact.digest,
                    })
                    .collect(),
                ..Self::bare(AttemptState::Succeeded)
            },
            Outcome::Failed(failure) => Self::failed(failure),
            Outcome::Blocked(failure) => Self { failure: Some(failure), ..Self::bare(AttemptState::Blocked) },
            Outcome::Cancelled { by } => Self {
                failure: Some(Failure {
                    class: "cancelled".to_owned(),
                    code: "run_cancelled".to_owned(),
                    message: format!("cancelled by {by}"),
                    advice: "the same call starts it again".to_owned(),
                    is_answer: false,
                }),
                ..Self::bare(AttemptState::Cancelled)
            },
        }
    }
}

impl From<AttemptRow> for End {
    fn from(row: AttemptRow) -> Self {
        Self {
            state: row.state,
            result: row.result,
            summary: row.summary,
            outputs: row
                .outputs
                .into_iter()
                .map(|(role, key, artifact)| EndOutput {
                    role,
                    key,
                    artifact: artifact.id,
                    artifact_type: artifact.artifact_type,
                    label: artifact.label.unwrap_or_default(),
                    size_bytes: artifact.size_bytes,
                    digest: artifact.digest,
                })
                .collect(),
            failure: row.failure,
            restored: false,
        }
    }
}
