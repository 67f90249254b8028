//! The main path: what happens to a call, from arguments to answer, on one screen.
//!
//! Each line of [`call`] is one arrow of the pipeline in ARCHITECTURE.md, in the order that the
//! toolpack contract fixes. Beside it, one file each: what a caller does without a new run
//! (`import`, `export`, `wait`), and the steps that are too long for the screen.

pub mod answer;
pub mod error;
pub mod export;
pub mod host;
pub mod identify;
pub mod import;
pub mod link;
pub mod policy_file;
pub mod rate;
pub mod recover;
pub mod replay;
pub mod roots;
pub mod wait;
pub mod waiting;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

pub use answer::{Answer, AnswerFailure, AnswerOutput, AnswerProgress, Status};
pub use error::CallError;
pub use export::{ArtifactExportArgs, ArtifactExportResult, artifact_export};
pub use host::{Caller, Context, Host, HostSettings, Progress};
pub use identify::IdentifiedCall;
pub use import::{ArtifactImportArgs, ArtifactImportResult, artifact_import};
pub use link::LinkedCall;
pub use wait::{RunCancelArgs, RunCancelResult, RunWaitArgs, run_cancel, run_wait};

use crate::contract::{Arguments, Tool, arguments};
use crate::plan::{self, Draft, Plan};
use crate::run::{Entry, Job, failure, limits};
use crate::sandbox::protocol::GuestLimits;
use crate::sandbox::{GuestError, Warm};

/// Calls a toolpack's tool: links its artifacts, finds the run that it is, and replays, joins or
/// executes it. No guest runs before the run is known to be new.
///
/// # Errors
/// [`CallError`], split by whose turn it is.
pub async fn call(
    host: &Arc<Host>,
    context: &Context,
    tool: &str,
    arguments: Map<String, Value>,
) -> Result<Answer, CallError> {
    let offered = host.catalog.tool_named(tool).ok_or_else(|| CallError::unknown_tool(tool))?;
    let arguments = parsed(&offered.tool, arguments).await?;
    let wait = Duration::from_secs(u64::from(arguments.wait_seconds));
    let (retry, dry_run) = (arguments.retry, arguments.dry_run);

    let linked = link::link(host, context, offered, arguments).await?;
    let call = identify::identify(host, context, linked).await?;

    // Equal calls pass here one by one until the run is under way, so it is started only once. A
    // run that was under way and is not any more stands in the ledger, which is asked second.
    let claim = loop {
        let claim = host.runs.claim(call.run_id()).await;
        let Some(flight) = host.runs.flight(call.run_id()) else { break claim };
        drop(claim);
        if dry_run {
            return Ok(Answer::would("would_join", Answer::going_on(flight.run, flight.snapshot())));
        }
        match flight.join() {
            Some(_joined) => return answer::wait_for(&flight, context, wait).await,
            // Whoever waited for it left, and it stops: it is made anew once it has.
            None => flight.ended().await,
        }
    };
    let known = if retry { replay::Known::Nothing } else { replay::look_up(host, &call).await? };
    let expected = match known {
        replay::Known::Answer(answer) if dry_run => return Ok(Answer::would("would_replay", *answer)),
        replay::Known::Answer(answer) => return Ok(*answer),
        replay::Known::Expired(outputs) => Some(outputs),
        replay::Known::Nothing => None,
    };
    if !dry_run {
        replay::admit_attempt(host, &call).await?;
    }

    let guest = call.guest();
    // The runner that plans a call runs it as well, if there is to be a run.
    let then = (!dry_run).then(|| limits::of_guest(&call.grant().limits, &guest));
    let (plan, warm) = match proposed(host, context, &call, then.as_ref()).await? {
        Ok(planned) => planned,
        Err(refusal) if dry_run => return Err(refusal.into_error(&call)),
        Err(refusal) => return refusal.recorded(host, context, &call).await,
    };
    if dry_run {
        return Ok(Answer::planned(&call, &plan));
    }
    crash_point!("run_planned");
    let still = host.still(&call);
    let job = Job::new(call.new_run(), host.new_attempt(context, &plan), plan, guest, still);
    let job = Job { warm, expected, reuse_steps: !retry, ..job };
    let (Entry::Joined(flight) | Entry::Started(flight)) = host.start(context, &call, job).await?;
    drop(claim);
    crash_point!("run_started");
    answer::wait_for(&flight, context, wait).await
}

/// Arguments held to their tool's schema. One with patterns may take seconds over large params, so
/// it is asked beside the threads that serve everybody.
async fn parsed(tool: &Arc<Tool>, arguments: Map<String, Value>) -> Result<Arguments, CallError> {
    if !tool.has_patterns {
        return arguments::parse(tool, &arguments).map_err(CallError::arguments);
    }
    let tool = Arc::clone(tool);
    let parsed = tokio::task::spawn_blocking(move || arguments::parse(&tool, &arguments)).await;
    parsed.map_err(CallError::fault)?.map_err(CallError::arguments)
}

/// Steps 9 and 10: the toolpack proposes, and what it proposes is checked. A tool's own refusal
/// follows from the run's identity and is kept as its answer; a denial makes no attempt. With `then`,
/// the limits of the run that is to follow, its runner stays for it.
async fn proposed(
    host: &Arc<Host>,
    context: &Context,
    call: &IdentifiedCall,
    then: Option<&GuestLimits>,
) -> Result<Result<(Plan, Option<Warm>), Refusal>, CallError> {
    let planning = async {
        let component = &call.toolpack().compiled;
        // A component that is used for the first time is read and compiled before the turn, for
        // which others wait.
        host.sandbox.ready(component).await.map_err(CallError::fault)?;
        let turn = host.short_turn(context).await;
        // All that may have taken a while, and so may the plan: no guest of a component that policy
        // no longer allows begins, nor is what it says an answer.
        host.still_allowed(context, call).await?;
        let proposal = host.sandbox.plan(component, call.record(), then, turn.pace()).await;
        host.still_allowed(context, call).await?;
        Ok::<_, CallError>(proposal)
    };
    let proposal = tokio::select! {
        proposal = planning => proposal?,
        () = context.gone.cancelled() => return Err(answer::left(call.run_id())),
    };
    let (proposal, warm) = match proposal {
        Ok(proposed) => proposed,
        Err(error @ GuestError::Fault { .. }) => return Err(CallError::fault(error)),
        Err(error) => return Ok(Err(Refusal(failure::of_guest(&error), failure::used(&error)))),
    };
    let checked = Draft::parse(proposal, call.tool())
        .map_err(crate::policy::Denial::from)
        .and_then(|draft| plan::check(draft, &call.linked_inputs(), call.tool(), call.grant()));
    match checked {
        Ok(plan) => Ok(Ok((plan, warm))),
        Err(denial) => {
            // Its runner has nothing more to do, and somebody else may want the place.
            drop(warm);
            Err(host.deny(context, Some(call.project()), Some(call.tool().name.as_str()), denial).await)
        }
    }
}

/// A tool that said no while it planned.
struct Refusal(crate::ledger::Failure, crate::ledger::Used);

impl Refusal {
    fn into_error(self, call: &IdentifiedCall) -> CallError {
        let Self(failure, _used) = self;
        CallError::Failed {
            run: Some(call.run_id()),
            class: failure.class,
            code: failure.code,
            message: failure.message,
            advice: failure.advice,
        }
    }

    /// Keeps the refusal as the run's answer, if it is one, and answers with it.
    async fn recorded(
        self,
        host: &Arc<Host>,
        context: &Context,
        call: &IdentifiedCall,
    ) -> Result<Answer, CallError> {
        let Self(failure, used) = self;
        let attempt = host.new_attempt_without_plan(context);
        let answer = Answer::failed(call.run_id(), &failure);
        let outcome = crate::ledger::Outcome::Failed(failure);
        host.ledger.record(&call.new_run(), &attempt, &used, &outcome).await.map_err(CallError::fault)?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::fixtures;

    /// Whoever else is served by this thread goes on while patterns are matched.
    #[tokio::test]
    async fn params_are_held_to_patterns_beside_the_thread_that_asks() {
        let tool = Arc::new(fixtures::tool());
        assert!(tool.has_patterns, "it has one for `tag`");
        let given = json!({"tag": "x".repeat(60_000), "reads": "art_x"}).as_object().cloned().unwrap();
        let order = std::sync::Mutex::new(Vec::new());
        let checked = async {
            let checked = parsed(&tool, given).await;
            order.lock().unwrap().push("checked");
            checked
        };
        let other = async { order.lock().unwrap().push("other") };
        let (checked, ()) = tokio::join!(biased; checked, other);
        assert!(matches!(checked, Err(CallError::BadArguments { .. })), "{checked:?}");
        assert_eq!(*order.lock().unwrap(), ["other", "checked"]);
    }
}
