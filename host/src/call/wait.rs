//! `run_wait` and `run_cancel`: a caller's hold on a run that is under way.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Answer, CallError, Context, Host};

/// How long a caller waits if it does not say: below the 60 s after which clients give up.
pub const WAIT_SECONDS_DEFAULT: u32 = 45;
pub const WAIT_SECONDS_MAX: u32 = 3_600;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunWaitArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    pub run_id: String,
    /// 0 to 3600, default 45.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3_600))]
    pub wait_seconds: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunCancelArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    pub run_id: String,
    /// Kept with the run, up to 200 bytes.
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunCancelResult {
    pub run_id: String,
    /// `requested`, or `already_ended`.
    pub outcome: String,
    /// State of the newest attempt.
    pub state: String,
}

/// Waits for a run to end, or answers where it stands.
///
/// # Errors
/// `run_unknown`, `argument_range`.
pub async fn run_wait(host: &Arc<Host>, context: &Context, args: RunWaitArgs) -> Result<Answer, CallError> {
    unimplemented!()
}

/// Stops a run for all who wait for it.
///
/// # Errors
/// `run_unknown`, `argument_range`.
pub async fn run_cancel(
    host: &Arc<Host>,
    context: &Context,
    args: RunCancelArgs,
) -> Result<RunCancelResult, CallError> {
    unimplemented!()
}
