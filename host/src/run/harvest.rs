//! The gate between a guest that returned and a run that succeeded (invariant I-4).

use std::io::Read;
use std::sync::Arc;

use helix_ids::identity::artifact_id;
use helix_ids::text::escaped;
use helix_ids::{ArtifactType, OutputKey, ProjectId};

use super::{Effects, Guest, failure};
use crate::artifacts::{self, ArtifactError, Incoming, Stored};
use crate::contract::{CheckLevel, result};
use crate::ledger::{Failure, NewArtifact, Outcome, OutputRow};
use crate::plan::{Plan, PlannedRole};
use crate::sandbox::protocol::Verdict;
use crate::sandbox::{GuestError, RunOutcome};

/// Most bytes of a summary for a model to read.
const SUMMARY_BYTES_MAX: usize = 2048;

/// How much of an output its sniffer sees.
const SNIFF_BYTES: u64 = 64 * 1024;

/// An output's file, not yet kept.
pub(super) struct Written {
    pub role: String,
    pub key: String,
    pub incoming: Incoming,
}

/// Checks a returned guest against its plan, then keeps all of its outputs. Nothing is visible
/// until the ledger says so: objects without a row are swept.
pub(super) async fn harvest(
    effects: &Effects,
    project: ProjectId,
    plan: &Plan,
    guest: &Guest,
    outcome: &RunOutcome,
    files: Vec<Written>,
) -> Result<Outcome, Failure> {
    let written: Vec<(String, String, bool)> =
        outcome.outputs.iter().map(|output| (output.role.clone(), output.key.clone(), output.finished)).collect();
    plan.gate(&outcome.opened, &written).map_err(|error| failure::of_gate(error.code, &error.message))?;
    let result = result::parse(&guest.tool, &outcome.report.result)
        .map_err(|error| failure::of_gate(error.code, &error.message))?;
    if !outcome.report.extra.is_empty() {
        return Err(failure::of_gate("extra_not_empty", "the report's `extra` must be empty"));
    }
    if outcome.report.summary.len() > SUMMARY_BYTES_MAX {
        return Err(failure::of_gate("summary_too_long", "the report's summary is longer than 2 KiB"));
    }

    let mut outputs = Vec::with_capacity(files.len());
    for file in files {
        let role = plan.role(&file.role).ok_or_else(|| {
            failure::of_gate("output_undeclared", &format!("output role {:?} is not declared", file.role))
        })?;
        let key: OutputKey =
            file.key.parse().map_err(|error: helix_ids::NameError| failure::of_gate("output_key", &error.to_string()))?;
        look_at(effects, role, &key, &file.incoming).await?;
        let stored = keep(effects, file.incoming).await.map_err(|error| failure::of_store(&error))?;
        outputs.push(row(project, role, key, stored));
    }
    outputs.sort_by(|a, b| plan.order(&a.role).cmp(&plan.order(&b.role)).then_with(|| a.key.cmp(&b.key)));
    Ok(Outcome::Succeeded {
        result: result.to_string(),
        summary: escaped(&outcome.report.summary, SUMMARY_BYTES_MAX),
        outputs,
    })
}

/// Checks an output's bytes at the declared level.
async fn look_at(
    effects: &Effects,
    role: &PlannedRole,
    key: &OutputKey,
    incoming: &Incoming,
) -> Result<(), Failure> {
    let bad = |reason: &str| {
        let message = format!("output {}/{key} is no whole {}: {reason}", role.role, role.artifact_type);
        failure::of_gate("output_type", &message)
    };
    match role.check {
        CheckLevel::None => Ok(()),
        CheckLevel::Sniff => {
            let head = head(incoming).map_err(|error| failure::of_store(&error))?;
            if artifacts::agrees(&head, role.artifact_type) { Ok(()) } else { Err(bad("its first bytes contradict")) }
        }
        CheckLevel::Whole => {
            let file = incoming.reader().map_err(|error| failure::of_store(&error))?;
            match effects.sandbox.check(file, role.artifact_type).await {
                Ok(Verdict::Good) => Ok(()),
                Ok(Verdict::Bad { reason, offset: Some(offset) }) => Err(bad(&format!("{reason} at byte {offset}"))),
                Ok(Verdict::Bad { reason, offset: None }) => Err(bad(&reason)),
                Err(error) => Err(of_check(&error)),
            }
        }
    }
}

/// A checker that did not finish says nothing about the guest.
fn of_check(error: &GuestError) -> Failure {
    Failure { is_answer: false, ..failure::of_guest(error) }
}

fn head(incoming: &Incoming) -> Result<Vec<u8>, ArtifactError> {
    let mut bytes = Vec::new();
    incoming
        .reader()?
        .take(SNIFF_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|source| ArtifactError::Io { what: "read an output".to_owned(), source })?;
    Ok(bytes)
}

async fn keep(effects: &Effects, incoming: Incoming) -> Result<Stored, ArtifactError> {
    let store = Arc::clone(&effects.store);
    tokio::task::spawn_blocking(move || store.keep(incoming)).await.map_err(|error| ArtifactError::Io {
        what: "keep an output".to_owned(),
        source: std::io::Error::other(error),
    })?
}

fn row(project: ProjectId, role: &PlannedRole, key: OutputKey, stored: Stored) -> OutputRow {
    let artifact_type: ArtifactType = role.artifact_type;
    let label = if role.many { format!("{key}.{}", role.label) } else { role.label.to_string() };
    let artifact = NewArtifact {
        id: artifact_id(project, stored.digest, artifact_type),
        project,
        digest: stored.digest,
        artifact_type,
        size_bytes: stored.size_bytes,
        label: Some(label),
        seal: stored.seal,
    };
    OutputRow { role: role.role.clone(), key, artifact }
}
