//! Carries a plan to its end: admission, attempts, deadlines, cancellation, recovery.

use std::sync::Arc;
use std::time::Duration;

use helix_ids::{ProjectId, RunId};

use crate::call::{Answer, CallError, Context, Host};
use crate::ledger::AttemptState;

/// The runs that are under way in this process.
pub struct Runs {
    _private: (),
}

/// What came of asking to cancel a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The request stands; the attempt ends as soon as its runner does.
    Requested(AttemptState),
    /// There was nothing to cancel any more.
    AlreadyEnded(AttemptState),
}

impl Runs {
    /// Waits up to `wait` for a run of this project to end.
    ///
    /// # Errors
    /// `run_unknown`.
    pub async fn wait(
        &self,
        _host: &Arc<Host>,
        _project: ProjectId,
        _run: RunId,
        _wait: Duration,
        _context: &Context,
    ) -> Result<Answer, CallError> {
        unimplemented!()
    }

    /// Asks a run of this project to stop, for all who wait for it.
    ///
    /// # Errors
    /// `run_unknown`.
    pub async fn cancel(
        &self,
        _host: &Arc<Host>,
        _project: ProjectId,
        _run: RunId,
        _by: &str,
    ) -> Result<CancelOutcome, CallError> {
        unimplemented!()
    }
}
