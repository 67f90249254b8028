//! Finding what a caller names, inside its project: [`Host::project`] says which that is.

use std::sync::Arc;

use helix_ids::text::escaped_line;
use helix_ids::{ArtifactId, RunId};

use crate::call::{CallError, Host};
use crate::ledger::{ArtifactRow, NewRun, RunRow};
use crate::policy::Project;

/// How much of a caller's own words an answer repeats.
const ECHO_BYTES_MAX: usize = 100;

/// An argument that cannot be; `field` is a JSON pointer into the arguments.
#[must_use]
pub fn bad(code: &'static str, field: &str, reason: impl Into<String>) -> CallError {
    CallError::BadArguments { code, field: field.to_owned(), reason: reason.into() }
}

/// An artifact of this project.
///
/// # Errors
/// `artifact_unknown` at `field`: the same for malformed, foreign and unknown ids.
pub async fn find_artifact(
    host: &Arc<Host>,
    project: &Project,
    field: &str,
    id: &str,
) -> Result<ArtifactRow, CallError> {
    let row = match id.parse::<ArtifactId>() {
        Ok(id) => host.ledger.artifact(project.id, id).await.map_err(CallError::fault)?,
        Err(_malformed) => None,
    };
    row.ok_or_else(|| artifact_unknown(field, id))
}

pub(super) fn artifact_unknown(field: &str, id: &str) -> CallError {
    let id = escaped_line(id, ECHO_BYTES_MAX);
    bad(
        "artifact_unknown",
        field,
        format!("no artifact {id} in this project; artifact_list shows what there is"),
    )
}

/// A run of this project.
///
/// # Errors
/// `run_unknown` at `field`: the same for malformed, foreign and unknown ids.
pub async fn find_run(
    host: &Arc<Host>,
    project: &Project,
    field: &str,
    id: &str,
) -> Result<RunRow, CallError> {
    let run = parse_run_id(field, id)?;
    let row = host.ledger.run(project.id, run).await.map_err(CallError::fault)?;
    row.ok_or_else(|| run_unknown(field, id))
}

/// What a run of this project is, without what came of it.
///
/// # Errors
/// As [`find_run`].
pub async fn find_identified(
    host: &Arc<Host>,
    project: &Project,
    field: &str,
    id: &str,
) -> Result<NewRun, CallError> {
    let run = parse_run_id(field, id)?;
    let found = host.ledger.identified(project.id, run).await.map_err(CallError::fault)?;
    found.ok_or_else(|| run_unknown(field, id))
}

/// # Errors
/// `run_unknown` at `field`, as for a run that nobody has.
pub fn parse_run_id(field: &str, id: &str) -> Result<RunId, CallError> {
    id.parse().map_err(|_malformed| run_unknown(field, id))
}

fn run_unknown(field: &str, id: &str) -> CallError {
    let id = escaped_line(id, ECHO_BYTES_MAX);
    bad("run_unknown", field, format!("no run {id} in this project; run_list shows what there is"))
}

/// A cursor that no answer of ours gave.
pub(super) fn cursor_unknown() -> CallError {
    bad("cursor_unknown", "/cursor", "not a next_cursor of this list; leave it out to begin again")
}
