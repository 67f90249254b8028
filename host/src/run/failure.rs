//! What an end that is no success is called, and whether it is an answer.
//!
//! A failure that follows from the run's identity is stored and answered again. A limit or a
//! fault is recorded and never an answer: raised limits or a healthy disk may end otherwise.

use helix_ids::text::escaped;

use crate::artifacts::ArtifactError;
use crate::contract::raw::ToolError;
use crate::ledger::{Failure, LedgerError, NoRoom, Used};
use crate::sandbox::GuestError;
use crate::sandbox::protocol::{Limit, Usage};

/// Longest text that is kept of what a guest says of its failure.
const MESSAGE_BYTES_MAX: usize = 1024;

/// The failure that a guest's end is.
pub fn of_guest(error: &GuestError) -> Failure {
    match error {
        GuestError::Tool(refusal, _usage) => of_tool(refusal),
        GuestError::Trap { code, message, .. } => {
            answer("trap", code, message, "report it to the toolpack's author, with the run id")
        }
        GuestError::Input { role, index, offset, reason, .. } => answer(
            "input",
            "input_damaged",
            &format!("{role}[{index}] is damaged at byte {offset}: {reason}"),
            "import an undamaged copy of the file",
        ),
        GuestError::Limit { limit, message, .. } => {
            Failure { is_answer: false, ..answer("limit", limit_code(*limit), message, limit_advice(*limit)) }
        }
        GuestError::Fault { message } => Failure {
            is_answer: false,
            ..answer("fault", "runner_lost", message, "the same call tries again; the host's log says more")
        },
    }
}

fn of_tool(refusal: &ToolError) -> Failure {
    match refusal {
        ToolError::InvalidParams { pointer, reason } => {
            answer("tool", "invalid_params", &format!("{pointer}: {reason}"), "call again with another value")
        }
        ToolError::InvalidInput { role, index, reason } => answer(
            "tool",
            "invalid_input",
            &format!("{role}[{index}]: {reason}"),
            "call again with another input",
        ),
        ToolError::Failed { reason } => answer("tool", "tool_failed", reason, "the tool's own words say why"),
    }
}

/// An output or report that is not as declared and planned.
pub fn of_gate(code: &str, message: &str) -> Failure {
    answer("gate", code, message, "report it to the toolpack's author: no output was kept")
}

/// A step that did not end by itself, or not with what it promised: recorded, never an answer, for it
/// does not follow from the run's identity alone.
pub fn of_step(class: &str, code: &str, message: &str) -> Failure {
    let advice = match code {
        "step_out_of_memory" => {
            "`resources` asks for more; the operator can raise `memory` under [limits.step]"
        }
        "step_deadline" => "`resources` asks for more; the operator can raise `wall` under [limits.step]",
        "nondeterministic" => "report it to the toolpack's author, with the run id",
        _ => "run_get shows the step and the end of what it said; the same call tries again",
    };
    Failure { is_answer: false, ..answer(class, code, message, advice) }
}

/// Policy of now refuses to go on with what it once allowed.
pub fn of_policy(message: &str) -> Failure {
    let advice = "ask the operator, then call again";
    Failure { is_answer: false, ..answer("denied", "policy_refuses", message, advice) }
}

/// An input whose bytes could not be had: ours, not the guest's.
pub fn of_input(error: &ArtifactError) -> Failure {
    let (code, advice) = match error {
        ArtifactError::Missing { .. } => {
            ("input_missing", "import the file again, or run again what made it")
        }
        ArtifactError::Damaged { .. } => {
            ("store_damaged", "run `helixmcp fsck --deep`, then import the file again")
        }
        _ => ("store_fault", "the host's log says more"),
    };
    Failure { is_answer: false, ..answer("fault", code, &error.to_string(), advice) }
}

/// An output that could not be kept: ours.
pub fn of_store(error: &ArtifactError) -> Failure {
    let code = if matches!(error, ArtifactError::Full { .. }) { "store_full" } else { "store_fault" };
    Failure {
        is_answer: false,
        ..answer("fault", code, &error.to_string(), "free disk space, then call again")
    }
}

/// Outputs for which the project has no room.
pub fn of_quota(bytes: u64, none: NoRoom) -> Failure {
    let message = format!("the outputs have {bytes} bytes; {none}");
    let advice = "host_info shows what is left; the operator can raise `store_bytes` under [limits.caller]";
    Failure { is_answer: false, ..answer("limit", "store_quota", &message, advice) }
}

/// A ledger that could not be asked: ours.
pub fn of_ledger(error: &LedgerError) -> Failure {
    tracing::error!(error = error as &dyn std::error::Error, "the ledger could not be asked for room");
    Failure {
        is_answer: false,
        ..answer("fault", "host_fault", &error.to_string(), "the same call tries again")
    }
}

/// An end that could not be written for want of room: ours.
pub fn of_full_ledger(error: &LedgerError) -> Failure {
    Failure {
        is_answer: false,
        ..answer("fault", "store_full", &error.to_string(), "free disk space, then call again")
    }
}

fn answer(class: &str, code: &str, message: &str, advice: &str) -> Failure {
    Failure {
        class: class.to_owned(),
        code: code.to_owned(),
        message: escaped(message, MESSAGE_BYTES_MAX),
        advice: advice.to_owned(),
        is_answer: true,
    }
}

fn limit_code(limit: Limit) -> &'static str {
    match limit {
        Limit::Fuel => "limit_fuel",
        Limit::Memory => "limit_memory",
        Limit::Stack => "limit_stack",
        Limit::Wall => "limit_wall",
        Limit::HostCallBytes => "limit_host_call_bytes",
        Limit::HostCalls => "limit_host_calls",
        Limit::Handles => "limit_handles",
        Limit::DecodedBytes => "limit_decoded_bytes",
        Limit::Outputs => "limit_outputs",
        Limit::OutputBytes => "limit_output_bytes",
        Limit::Table => "limit_table",
        Limit::Instances => "limit_instances",
        Limit::Steps => "limit_steps",
    }
}

fn limit_advice(limit: Limit) -> &'static str {
    match limit {
        Limit::Wall => "a smaller input may do; the operator can raise `wall` under [limits.guest]",
        Limit::Fuel => "a smaller input may do; the operator can raise `fuel` under [limits.guest]",
        Limit::Memory | Limit::Table => "the operator can raise `memory` under [limits.guest]",
        Limit::Stack
        | Limit::HostCallBytes
        | Limit::HostCalls
        | Limit::Handles
        | Limit::DecodedBytes
        | Limit::Outputs
        | Limit::OutputBytes
        | Limit::Instances => "the operator can raise this limit under [limits.guest]",
        Limit::Steps => "the operator can raise `steps` under [limits.run]",
    }
}

/// What the guest of this end used.
pub fn used(error: &GuestError) -> Used {
    let mut used = Used::default();
    count(&mut used, error.usage());
    used
}

pub(super) fn count(used: &mut Used, usage: Option<&Usage>) {
    if let Some(usage) = usage {
        used.fuel = usage.fuel;
        used.memory_bytes = usage.memory_bytes;
        used.log_dropped_bytes = usage.log_bytes_dropped;
    }
}
