//! What the events of a run say. Writing and checking share these: `fsck` makes each body again
//! from the rows, so a row that was edited no longer agrees with its chain.

use helix_ids::Digest;
use serde_json::{Value, json};

use super::column::stored;
use super::{Failure, NewAttempt, NewRun, StepId, StepRow, StepState, Used};

/// The first event of a run's chain.
pub(super) const IDENTIFIED: &str = "run_identified";
/// An attempt changed its owner.
pub(super) const TAKEN_OVER: &str = "attempt_taken_over";
/// Each state is entered with an event of this name and the state's.
pub(super) const STATE_PREFIX: &str = "attempt_";

/// Each state of a step is entered with an event of this name and the state's.
pub(super) const STEP_PREFIX: &str = "step_";

pub(super) fn identified(run: &NewRun) -> Value {
    let inputs: Vec<Value> = run
        .inputs
        .iter()
        .map(|input| {
            json!({
                "artifact": input.artifact, "index": input.index, "role": input.role,
                "sample": input.sample,
            })
        })
        .collect();
    json!({
        "component": run.component, "contract": run.contract, "digest": run.digest, "inputs": inputs,
        "params_hash": run.params_hash, "policy_hash": run.policy_hash, "project": run.project,
        "tool": run.tool,
    })
}

pub(super) fn queued(ordinal: u32, attempt: &NewAttempt, owner: &str) -> Value {
    json!({
        "attempt": ordinal, "caller": attempt.caller, "created_ms": attempt.created_ms,
        "engine": attempt.engine, "host_version": attempt.host_version, "owner": owner,
        "plan": Digest::of(attempt.plan.as_bytes()), "policy_file": attempt.policy_file,
    })
}

/// `running` and `waiting`.
pub(super) fn moved(ordinal: u32) -> Value {
    json!({ "attempt": ordinal })
}

pub(super) fn taken_over(ordinal: u32, from: &str, to: &str, takeovers: u32) -> Value {
    json!({ "attempt": ordinal, "from": from, "takeovers": takeovers, "to": to })
}

/// An end, as rows or an outcome have it.
#[derive(Debug, Default)]
pub(super) struct End<'a> {
    pub result: Option<&'a str>,
    pub summary: Option<&'a str>,
    pub failure: Option<&'a Failure>,
    pub cancelled_by: Option<&'a str>,
    /// In their order: role, key, artifact, digest, type, label.
    pub outputs: Vec<Value>,
}

pub(super) fn ended(ordinal: u32, used: &Used, end: &End<'_>) -> Value {
    let hashed = |text: &str| Digest::of(text.as_bytes());
    json!({
        "attempt": ordinal,
        "cancelled_by": end.cancelled_by,
        "failure": end.failure,
        "log": hashed(&used.log),
        "outputs": end.outputs,
        "result": end.result.map(hashed),
        "summary": end.summary.map(hashed),
        "used": {
            "fuel": stored(used.fuel).to_string(), "log_dropped_bytes": stored(used.log_dropped_bytes).to_string(),
            "memory_bytes": stored(used.memory_bytes).to_string(), "wall_ms": stored(used.wall_ms).to_string(),
        },
    })
}

/// A step as it stood when it entered a state.
pub(super) fn step(row: &StepRow, entered: StepState) -> Value {
    let StepId { attempt, ordinal } = row.id;
    match entered {
        StepState::Intended => json!({
            "ask": row.ask, "attempt": attempt.ordinal, "backend": row.backend, "image": row.image,
            "kind": row.ask_kind, "name": row.name, "step": ordinal,
        }),
        StepState::Submitted => {
            json!({ "attempt": attempt.ordinal, "key": row.key, "step": ordinal, "try": row.try_ })
        }
        StepState::Running => {
            json!({ "attempt": attempt.ordinal, "container": row.container, "step": ordinal })
        }
        StepState::Done | StepState::Failed | StepState::Skipped | StepState::Cancelled | StepState::Lost => {
            step_ended(row)
        }
    }
}

fn step_ended(row: &StepRow) -> Value {
    let end = row.outcome.as_ref();
    let files: Vec<Value> = row
        .files
        .iter()
        .map(|file| {
            json!({
                "digest": file.digest, "name": file.name, "size_bytes": file.size_bytes.to_string(),
                "type": file.artifact_type,
            })
        })
        .collect();
    let from = row.reused_from.map(
        |from| json!({ "attempt": from.attempt.ordinal, "run": from.attempt.run, "step": from.ordinal }),
    );
    let usage = end.map(|end| end.usage).map(|usage| {
        json!({
            "cpu_ms": usage.cpu_ms.to_string(), "peak_memory_bytes": usage.peak_memory_bytes.to_string(),
            "queue_ms": usage.queue_ms.to_string(), "wall_ms": usage.wall_ms.to_string(),
        })
    });
    json!({
        "attempt": row.id.attempt.ordinal,
        "exit_code": end.and_then(|end| end.exit_code),
        "failure": end.and_then(|end| end.failure.as_ref()),
        "files": files,
        "key": row.key,
        "outcome_seq": row.outcome_seq,
        "reused_from": from,
        "stderr": row.stderr.map(|log| log.digest),
        "stderr_tail": end.map(|end| Digest::of(end.stderr_tail.as_bytes())),
        "stdout": row.stdout.map(|log| log.digest),
        "stdout_tail": end.map(|end| Digest::of(end.stdout_tail.as_bytes())),
        "step": row.id.ordinal,
        "usage": usage,
    })
}
