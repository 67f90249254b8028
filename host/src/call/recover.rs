//! What a host does when it starts: carries on what the one before it left unfinished.

use std::sync::Arc;

use helix_ids::canonical::CanonicalJson;
use helix_ids::{ArtifactId, RunId};
use tokio_util::sync::CancellationToken;

use super::identify::{self, IdentifiedCall, Overtaken};
use super::link::{LinkedCall, LinkedInput};
use super::{CallError, Caller, Context, Host, Refusal, proposed};
use crate::catalog::OfferedTool;
use crate::ledger::{AttemptRow, AttemptState, Failure, LedgerError, Outcome, RunRow, StepId, Used};
use crate::policy::{BackendRule, Project};
use crate::run::{Job, NotEntered, Resumed};

/// Most takeovers of one attempt without a person: a guest that kills its host must not loop.
const TAKEOVERS_MAX: u32 = 3;

/// Takes over every attempt that is not terminal. Each goes on, or ends with its reason.
pub async fn recover(host: &Arc<Host>) {
    let open = match host.ledger.take_over().await {
        Ok(open) => open,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "open attempts could not be taken over"
            );
            return;
        }
    };
    crash_point!("taken_over");
    for (run, attempt) in open {
        let id = run.run.id;
        match carry_on(host, run, &attempt).await {
            Ok(()) => tracing::info!(run = %id, takeovers = attempt.takeovers, "carrying on"),
            Err(end) => conclude(host, id, &attempt, end).await,
        }
        crash_point!("carried_on");
    }
    let host = Arc::clone(host);
    // Beside all else: a backend may take its time.
    tokio::spawn(async move { reap(&host).await });
}

/// Ends and removes what a host before this one had started and no open step owns.
async fn reap(host: &Arc<Host>) {
    let policy = host.policy();
    let Some(rule) = policy.docker().cloned().map(BackendRule::Docker) else { return };
    let open = match host.ledger.open_steps().await {
        Ok(open) => open,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "open steps could not be read");
            return;
        }
    };
    // One that began since then is of a run that is under way.
    let is_open =
        |step: StepId| open.iter().any(|row| row.id == step) || host.runs.flight(step.attempt.run).is_some();
    match host.backends.reap(&rule, is_open).await {
        Ok(0) => {}
        Ok(reaped) => tracing::warn!(reaped, "containers that no step owns were removed"),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "containers could not be looked through"
            );
        }
    }
}

/// Why an attempt is not carried on: its end.
type Given = Box<Outcome>;

async fn carry_on(host: &Arc<Host>, row: RunRow, attempt: &AttemptRow) -> Result<(), Given> {
    if attempt.takeovers > TAKEOVERS_MAX {
        let message = format!("its host ended {} times while it ran", attempt.takeovers);
        return Err(given_up("taken_over_too_often", message, "`retry: true` tries once more"));
    }
    let context = Context {
        caller: Caller::local(rustix::process::getuid().as_raw(), "recovery"),
        progress: None,
        gone: CancellationToken::new(),
    };
    let project = host
        .policy()
        .projects()
        .iter()
        .find(|project| project.id == row.run.project)
        .cloned()
        .ok_or_else(|| blocked("project_unknown", "policy no longer has the run's project".to_owned()))?;
    let offered = host.catalog.at_digest(row.run.component, &row.run.tool).ok_or_else(|| {
        blocked("component_not_allowed", "policy no longer allows the run's component".to_owned())
    })?;
    let linked = link_again(host, &project, offered, &row).await?;
    let call = identify::identify(host, &context, linked).await.map_err(|error| refused(&error))?;
    if call.run_id() != row.run.id {
        let message = "policy or engine changed what this run is; the same call starts a new one".to_owned();
        return Err(blocked("superseded", message));
    }
    let plan = match proposed(host, &context, &call, None).await {
        Ok(Ok((plan, _warm))) => plan,
        Ok(Err(Refusal(failure, _used))) => return Err(Box::new(Outcome::Failed(failure))),
        Err(error) => return Err(refused(&error)),
    };
    enter(host, &context, &call, plan, attempt)
}

fn enter(
    host: &Arc<Host>,
    context: &Context,
    call: &IdentifiedCall,
    plan: crate::plan::Plan,
    attempt: &AttemptRow,
) -> Result<(), Given> {
    let attempted = host.new_attempt(context, &plan);
    let job = Job::new(call.new_run(), attempted, plan, call.guest(), host.still(call));
    let job = Job { resumed: Some(Resumed { attempt: attempt.id, state: attempt.state }), ..job };
    host.enter(&context.caller, call, job).map(|_entry| ()).map_err(|error| match error {
        NotEntered::Refused(Overtaken::Denied(denial)) => blocked("policy_refuses", denial.message),
        NotEntered::Refused(Overtaken::Changed) | NotEntered::TooMany(_) => {
            given_up("host_fault", error.to_string(), "the same call tries again")
        }
    })
}

/// The linked call, from what the ledger and the envelope keep of it.
async fn link_again(
    host: &Arc<Host>,
    project: &Project,
    offered: OfferedTool,
    row: &RunRow,
) -> Result<LinkedCall, Given> {
    let lost = |message: String| given_up("ledger_damaged", message, "run `helixmcp fsck`");
    let envelope: serde_json::Value =
        serde_json::from_str(&row.run.envelope).map_err(|error| lost(error.to_string()))?;
    let params = envelope.get("params").cloned().unwrap_or_default();
    let params = CanonicalJson::of(&params).map_err(|error| lost(error.to_string()))?;
    let mut inputs = Vec::with_capacity(row.run.inputs.len());
    for input in &row.run.inputs {
        let artifact = host.ledger.artifact(project.id, input.artifact).await;
        let artifact = artifact.map_err(|error| lost(error.to_string()))?;
        let artifact = artifact.ok_or_else(|| lost(gone(input.artifact)))?;
        inputs.push(LinkedInput {
            role: input.role.clone(),
            index: input.index,
            sample: input.sample.clone(),
            artifact,
        });
    }
    Ok(LinkedCall { offered, project: project.clone(), params, inputs })
}

fn gone(artifact: ArtifactId) -> String {
    format!("input {artifact} is not in the ledger")
}

/// Policy's refusal blocks an attempt; anything else that went wrong is ours, and may pass.
fn refused(error: &CallError) -> Given {
    match error {
        CallError::Denied { .. } => blocked("policy_refuses", error.to_string()),
        _ => given_up("host_fault", error.to_string(), "the same call tries again; the host's log says more"),
    }
}

fn given_up(code: &str, message: String, advice: &str) -> Given {
    Box::new(Outcome::Failed(failure("fault", code, message, advice)))
}

fn blocked(code: &str, message: String) -> Given {
    Box::new(Outcome::Blocked(failure("denied", code, message, "ask the operator, then call again")))
}

fn failure(class: &str, code: &str, message: String, advice: &str) -> Failure {
    Failure {
        class: class.to_owned(),
        code: code.to_owned(),
        message,
        advice: advice.to_owned(),
        is_answer: false,
    }
}

async fn conclude(host: &Arc<Host>, run: RunId, attempt: &AttemptRow, end: Given) {
    tracing::warn!(%run, end = ?end, "an unfinished attempt is not carried on");
    let ended: Result<(), LedgerError> = async {
        // Only a running attempt can have succeeded or failed on its own; all else may end here.
        if attempt.state == AttemptState::Waiting {
            host.ledger.advance(attempt.id, AttemptState::Running).await?;
        }
        host.ledger.conclude(attempt.id, &Used::default(), &end).await
    }
    .await;
    if let Err(error) = ended {
        tracing::error!(%run, error = &error as &dyn std::error::Error, "its end could not be written");
    }
}
