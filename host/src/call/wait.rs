//! `run_wait` and `run_cancel`: a caller's hold on a run that is under way.

use std::sync::Arc;
use std::time::Duration;

use helix_ids::text::escaped_line;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::waiting::{CancelOutcome, cancel_run, wait_for_run};
use super::{Answer, CallError, Context, Host};
use crate::query::{self, bad};

/// How long a caller waits if it does not say: below the 60 s after which clients give up.
pub const WAIT_SECONDS_DEFAULT: u32 = 45;
pub const WAIT_SECONDS_MAX: u32 = 3_600;

/// Most bytes of a reason to cancel.
const REASON_BYTES_MAX: usize = 200;

/// The same with every byte escaped.
const REASON_SHOWN_BYTES_MAX: usize = 10 * REASON_BYTES_MAX;

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
    pub outcome: CancelResultOutcome,
    /// State of the newest attempt.
    pub state: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelResultOutcome {
    Requested,
    AlreadyEnded,
}

/// Waits for a run to end, or answers where it stands.
///
/// # Errors
/// `run_unknown`, `argument_range`.
pub async fn run_wait(host: &Arc<Host>, context: &Context, args: RunWaitArgs) -> Result<Answer, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let wait = admit_wait("/wait_seconds", args.wait_seconds)?;
    let run = query::parse_run_id("/run_id", &args.run_id)?;
    wait_for_run(host, context, project.id, run, wait).await
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
    let project = host.project(context, args.project_id.as_deref()).await?;
    let run = query::parse_run_id("/run_id", &args.run_id)?;
    let by = by(&context.caller.described(), args.reason.as_deref())?;
    let (outcome, state) = match cancel_run(host, project.id, run, &by).await? {
        CancelOutcome::Requested(state) => (CancelResultOutcome::Requested, state),
        CancelOutcome::AlreadyEnded(state) => (CancelResultOutcome::AlreadyEnded, state),
    };
    Ok(RunCancelResult { run_id: run.to_string(), outcome, state: state.to_string() })
}

/// How long a caller waits, within the cap (invariant I-9).
///
/// # Errors
/// `argument_range` at `field`.
pub fn admit_wait(field: &str, asked: Option<u32>) -> Result<Duration, CallError> {
    let seconds = asked.unwrap_or(WAIT_SECONDS_DEFAULT);
    if seconds > WAIT_SECONDS_MAX {
        return Err(bad("argument_range", field, format!("must be 0 to {WAIT_SECONDS_MAX}")));
    }
    Ok(Duration::from_secs(u64::from(seconds)))
}

/// Who stopped it and why, on one line.
fn by(caller: &str, reason: Option<&str>) -> Result<String, CallError> {
    match reason {
        None => Ok(caller.to_owned()),
        Some(reason) if reason.len() > REASON_BYTES_MAX => {
            Err(bad("argument_range", "/reason", format!("more than {REASON_BYTES_MAX} bytes")))
        }
        Some(reason) => Ok(format!("{caller}: {}", escaped_line(reason, REASON_SHOWN_BYTES_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_a_wait_has_a_cap() {
        for (asked, expected) in
            [(None, Some(45)), (Some(0), Some(0)), (Some(3_600), Some(3_600)), (Some(3_601), None)]
        {
            assert_eq!(admit_wait("/wait_seconds", asked).ok().map(|wait| wait.as_secs()), expected);
        }
    }

    #[test]
    fn a_reason_is_one_line_of_data() {
        assert_eq!(by("uid 7 shell", None).unwrap(), "uid 7 shell");
        assert_eq!(
            by("uid 7 shell", Some("wrong\nsample\u{1b}")).unwrap(),
            "uid 7 shell: wrong sample\\u{1b}"
        );
        assert!(by("uid 7 shell", Some(&"x".repeat(201))).is_err());
    }
}
