//! The one place that says which project a caller may look into.

use std::sync::Arc;

use helix_ids::RunId;

use crate::call::{CallError, Context, Host};
use crate::ledger::ArtifactRow;
use crate::policy::{Denial, Project};

/// The project that a caller means: by name, by id, or by saying nothing when there is one.
///
/// # Errors
/// [`CallError::Denied`]: `project_unknown`, `project_required`.
pub async fn project(host: &Arc<Host>, context: &Context, asked: Option<&str>) -> Result<Project, CallError> {
    unimplemented!()
}

/// Records a denial (invariant I-10) and makes it the caller's answer.
pub async fn denied(
    host: &Arc<Host>,
    context: &Context,
    project: Option<&Project>,
    tool: &str,
    denial: Denial,
) -> CallError {
    unimplemented!()
}

/// An argument that cannot be; `field` is a JSON pointer into the arguments.
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
    unimplemented!()
}

/// # Errors
/// `run_unknown` at `field`.
pub fn parse_run_id(field: &str, id: &str) -> Result<RunId, CallError> {
    unimplemented!()
}
