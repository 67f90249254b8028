//! The gate between a guest that returned and a run that succeeded (invariant I-4).

use std::io::Read;
use std::sync::Arc;

use helix_ids::identity::artifact_id;
use helix_ids::text::escaped;
use helix_ids::{OutputKey, ProjectId, Role};

use super::door::PublishedFile;
use super::{Effects, Guest, failure};
use crate::artifacts::{self, ArtifactError, Incoming, Stored};
use crate::contract::result::SUMMARY_BYTES_MAX;
use crate::contract::{CheckLevel, Report, Tool, raw};
use crate::ledger::{Failure, NewArtifact, Outcome, OutputRow, Reservation, StepFile};
use crate::plan::{self, Plan, PlannedOutput};
use crate::sandbox::client::WrittenOutput;
use crate::sandbox::protocol::{Limit, Usage, Verdict};
use crate::sandbox::{GuestError, RunOutcome};

/// How much of an output its sniffer sees.
const SNIFF_BYTES: u64 = 64 * 1024;

/// An output's file, not yet kept.
pub(super) struct Written {
    pub role: String,
    pub key: String,
    pub incoming: Incoming,
}

/// A run that passed the gate, and its room in the project until the ledger counts its bytes.
pub(super) struct Harvest {
    pub outcome: Outcome,
    pub room: Reservation,
}

/// What a guest that returned has made, itself and by its steps.
pub(super) struct Made<'a> {
    pub outcome: &'a RunOutcome,
    pub files: Vec<Written>,
    pub steps: Vec<PublishedFile>,
}

/// Checks a returned guest against its plan, then keeps all of its outputs. Nothing is visible
/// until the ledger says so: objects without a row are swept.
pub(super) async fn harvest(
    effects: &Effects,
    project: ProjectId,
    plan: &Plan,
    guest: &Guest,
    made: Made<'_>,
) -> Result<Harvest, Failure> {
    let Made { outcome, files, steps } = made;
    let written: Vec<plan::Written<'_>> = outcome.outputs.iter().map(as_written).collect();
    let published: Vec<plan::Published<'_>> = steps.iter().map(as_published).collect();
    let gated = plan.gate(&outcome.opened, &written, &published);
    gated.map_err(|error| failure::of_gate(error.code, &error.message))?;
    let report = report(outcome.report.clone(), Arc::clone(&guest.tool)).await?;

    // The gate judged what the runner says of its outputs; what is kept is what it had made.
    let told = outcome.outputs.iter().map(|output| (&output.role, &output.key));
    if !told.eq(files.iter().map(|file| (&file.role, &file.key))) {
        let message = "the runner told of other outputs than it had made".to_owned();
        return Err(failure::of_guest(&GuestError::Fault { message }));
    }
    let bytes = total(&files)?;
    within_limit(super::limits::of_attempt(plan, guest).output_bytes, bytes)?;
    let room = room(effects, project, bytes).await?;
    let mut outputs = published_rows(project, plan, steps)?;
    for file in files {
        let role = plan.output(&file.role).ok_or_else(|| {
            failure::of_gate("output_undeclared", &format!("output role {:?} is not declared", file.role))
        })?;
        let key: OutputKey = file
            .key
            .parse()
            .map_err(|error: helix_ids::NameError| failure::of_gate("output_key", &error.to_string()))?;
        look_at(effects, role, &key, &file.incoming).await?;
        let stored = keep(effects, file.incoming).await.map_err(|error| failure::of_store(&error))?;
        outputs.push(row(project, role, key, stored));
        crash_point!("output_kept");
    }
    crash_point!("outputs_kept");
    let order = |role: &Role| plan.outputs().iter().position(|planned| planned.role() == role);
    outputs.sort_by(|a: &OutputRow, b| (order(&a.role), &a.key).cmp(&(order(&b.role), &b.key)));
    let outcome = Outcome::Succeeded {
        result: report.result.to_string(),
        summary: escaped(&report.summary, SUMMARY_BYTES_MAX),
        outputs,
    };
    Ok(Harvest { outcome, room })
}

/// Outputs whose bytes are in the store already: checked whole when their step had made them.
fn published_rows(
    project: ProjectId,
    plan: &Plan,
    steps: Vec<PublishedFile>,
) -> Result<Vec<OutputRow>, Failure> {
    let mut rows = Vec::with_capacity(steps.len());
    for PublishedFile { role, key, file, seal } in steps {
        let planned = plan.output(role.as_str()).ok_or_else(|| {
            failure::of_gate("output_undeclared", &format!("output role {role} is not declared"))
        })?;
        if file.artifact_type != planned.artifact_type() {
            let message = format!(
                "published {role}/{key} is a {}, not a {}",
                file.artifact_type,
                planned.artifact_type()
            );
            return Err(failure::of_gate("output_type", &message));
        }
        let StepFile { digest, size_bytes, .. } = file;
        rows.push(row(project, planned, key, Stored { digest, size_bytes, seal }));
    }
    Ok(rows)
}

/// Holds a report to what its tool promised, beside the threads that serve everybody: a schema may
/// have patterns that take seconds.
async fn report(said: raw::Report, tool: Arc<Tool>) -> Result<Report, Failure> {
    let parsed = tokio::task::spawn_blocking(move || Report::parse(said, &tool)).await;
    let fault = |error: tokio::task::JoinError| {
        failure::of_guest(&GuestError::Fault { message: format!("a report could not be checked: {error}") })
    };
    parsed.map_err(fault)?.map_err(|error| failure::of_gate(error.code, &error.message))
}

/// Bytes of all outputs together.
fn total(files: &[Written]) -> Result<u64, Failure> {
    let mut bytes = 0_u64;
    for file in files {
        let size = file.incoming.size_bytes().map_err(|error| failure::of_store(&error))?;
        bytes = bytes.saturating_add(size);
    }
    Ok(bytes)
}

/// Room in the project for all outputs, before one of them is kept.
async fn room(effects: &Effects, project: ProjectId, bytes: u64) -> Result<Reservation, Failure> {
    let room = effects.ledger.reserve(project, bytes, effects.store_bytes_max).await;
    let room = room.map_err(|error| failure::of_ledger(&error))?;
    room.map_err(|none| failure::of_quota(bytes, none))
}

/// The runner counts output bytes, and its files have a limit each; this holds all of them together
/// for one that was taken over (invariant I-9).
fn within_limit(limit_bytes: u64, bytes: u64) -> Result<(), Failure> {
    if bytes > limit_bytes {
        let message = format!("the outputs hold {bytes} bytes; at most {limit_bytes} are allowed");
        let usage = Usage::default();
        return Err(failure::of_guest(&GuestError::Limit { limit: Limit::OutputBytes, message, usage }));
    }
    Ok(())
}

fn as_published(file: &PublishedFile) -> plan::Published<'_> {
    plan::Published {
        role: file.role.as_str(),
        key: file.key.as_str(),
        artifact_type: file.file.artifact_type,
    }
}

fn as_written(output: &WrittenOutput) -> plan::Written<'_> {
    plan::Written { role: &output.role, key: &output.key, finished: output.finished }
}

/// Checks an output's bytes at the declared level.
async fn look_at(
    effects: &Effects,
    role: &PlannedOutput,
    key: &OutputKey,
    incoming: &Incoming,
) -> Result<(), Failure> {
    let bad = |reason: &str| {
        let message = format!("output {}/{key} is no whole {}: {reason}", role.role(), role.artifact_type());
        failure::of_gate("output_type", &message)
    };
    match role.check() {
        CheckLevel::None => Ok(()),
        CheckLevel::Sniff => {
            let head = head(incoming).map_err(|error| failure::of_store(&error))?;
            if artifacts::agrees(&head, role.artifact_type()) {
                Ok(())
            } else {
                Err(bad("its first bytes contradict"))
            }
        }
        CheckLevel::Whole => {
            let file = incoming.reader().map_err(|error| failure::of_store(&error))?;
            match effects.sandbox.check(file, role.artifact_type()).await {
                Ok(Verdict::Good) => Ok(()),
                Ok(Verdict::Bad { reason, offset: Some(offset) }) => {
                    Err(bad(&format!("{reason} at byte {offset}")))
                }
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

fn row(project: ProjectId, role: &PlannedOutput, key: OutputKey, stored: Stored) -> OutputRow {
    let artifact_type = role.artifact_type();
    let label = role.label();
    let label = if role.count().max > 1 { format!("{key}.{label}") } else { label.to_string() };
    let artifact = NewArtifact {
        id: artifact_id(project, stored.digest, artifact_type),
        project,
        digest: stored.digest,
        artifact_type,
        size_bytes: stored.size_bytes,
        label: Some(label),
        seal: stored.seal,
    };
    OutputRow { role: role.role().clone(), key, artifact }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::contract::fixtures;

    /// Whoever else is served by this thread goes on while a report is checked.
    #[tokio::test]
    async fn a_report_is_checked_beside_the_thread_that_asks() {
        let note = "x".repeat(15 << 10);
        let said = raw::Report {
            result: format!(r#"{{"reads":1,"note":"{note}"}}"#),
            summary: String::new(),
            extra: String::new(),
        };
        let tool = Arc::new(fixtures::tool());
        let order = std::sync::Mutex::new(Vec::new());
        let checked = async {
            let checked = report(said.clone(), Arc::clone(&tool)).await;
            order.lock().unwrap().push("checked");
            checked
        };
        let other = async { order.lock().unwrap().push("other") };
        let (checked, ()) = tokio::join!(biased; checked, other);
        assert_eq!(checked.unwrap().result["reads"], 1);
        assert_eq!(*order.lock().unwrap(), ["other", "checked"]);

        let refused = report(raw::Report { result: "[]".to_owned(), ..said }, tool).await;
        assert_eq!(refused.unwrap_err().code, "result_invalid");
    }

    #[test]
    fn i9_outputs_that_hold_more_than_the_limit_together_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = artifacts::Store::open(folder.path(), 0).unwrap();
        let written = |bytes: &[u8]| {
            let incoming = store.incoming().unwrap();
            incoming.writer().unwrap().write_all(bytes).unwrap();
            Written { role: "out".to_owned(), key: "a".to_owned(), incoming }
        };
        let files = [written(b"12345"), written(b"67890")];
        assert!(within_limit(10, total(&files).unwrap()).is_ok());
        let failure = within_limit(9, total(&files).unwrap()).unwrap_err();
        assert_eq!((failure.class.as_str(), failure.code.as_str()), ("limit", "limit_output_bytes"));
        // A limit is recorded, and never an answer.
        assert!(!failure.is_answer);
    }
}
