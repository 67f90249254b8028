//! Waiting for a run by its id, and stopping one: for callers who did not start it.

use std::sync::Arc;
use std::time::Duration;

use helix_ids::{ProjectId, RunId};

use super::{Answer, CallError, Context, Host, answer};
use crate::ledger::{AttemptRow, AttemptState};
use crate::run::End;

/// What came of asking to cancel a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The request stands; the attempt ends as soon as its runner does.
    Requested(AttemptState),
    /// There was nothing to cancel any more.
    AlreadyEnded(AttemptState),
}

/// Waits up to `wait` for a run of this project to end, or tells how it ended.
///
/// # Errors
/// `run_unknown`.
pub async fn wait_for_run(
    host: &Arc<Host>,
    context: &Context,
    project: ProjectId,
    run: RunId,
    wait: Duration,
) -> Result<Answer, CallError> {
    if let Some(flight) = host.runs.flight(run).filter(|flight| flight.project == project) {
        return answer::wait_for(&flight, context, wait).await;
    }
    let standing = standing(host, project, run).await?;
    let state = standing.state;
    let answer = Answer::ended(run, &End::from(standing));
    Ok(Answer { replayed: state == AttemptState::Succeeded, ..answer })
}

/// Asks a run of this project to stop, for all who wait for it.
///
/// # Errors
/// `run_unknown`.
pub async fn cancel_run(
    host: &Arc<Host>,
    project: ProjectId,
    run: RunId,
    by: &str,
) -> Result<CancelOutcome, CallError> {
    if let Some(flight) = host.runs.flight(run).filter(|flight| flight.project == project) {
        let now = flight.snapshot();
        flight.cancel(by);
        let state = match (now.waiting, now.running) {
            (true, _) => AttemptState::Waiting,
            (false, true) => AttemptState::Running,
            (false, false) => AttemptState::Queued,
        };
        return Ok(CancelOutcome::Requested(state));
    }
    Ok(CancelOutcome::AlreadyEnded(standing(host, project, run).await?.state))
}

/// The attempt that speaks for a run: the answer if there is one, else the newest.
async fn standing(host: &Arc<Host>, project: ProjectId, run: RunId) -> Result<AttemptRow, CallError> {
    let unknown = || CallError::BadArguments {
        code: "run_unknown",
        field: "/run_id".to_owned(),
        reason: "no such run in this project; run_list shows what there is".to_owned(),
    };
    host.ledger.standing(project, run).await.map_err(CallError::fault)?.ok_or_else(unknown)
}
