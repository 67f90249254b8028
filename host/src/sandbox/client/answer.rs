//! How a request to a runner ended, in our own words: a runner may have been taken over, so its own
//! are looked up.

use std::time::Duration;

use super::WrittenOutput;
use super::session::Lost;
use crate::contract::raw;
use crate::sandbox::protocol::{CompileLimits, Done, Failure, Limit, Published, Ran, Usage};

/// Why a component is refused, or could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component breaks a rule; `code` is lower `snake_case`, `message` names every offender.
    #[error("{message}")]
    Refused { code: &'static str, message: String },
    /// Ours: the runner was lost, or the cache could not be written.
    #[error("{message}")]
    Fault { message: String },
}

/// How an execution of a guest ended, if not well.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The tool says no, in its own words (not yet escaped or capped for anyone).
    #[error("the tool refused: {0:?}")]
    Tool(raw::ToolError, Usage),
    /// A trap of the guest's own code, or a misuse of an import; follows from the identity.
    #[error("{message}")]
    Trap { code: &'static str, message: String, usage: Usage },
    /// An input is damaged; follows from the identity.
    #[error("input {role}[{index}] is damaged at byte {offset}: {reason}")]
    Input { role: String, index: u32, offset: u64, reason: String, usage: Usage },
    /// A cap was hit: recorded, never an answer.
    #[error("{limit:?}: {message}")]
    Limit { limit: Limit, message: String, usage: Usage },
    /// The runner was lost, or spoke out of turn: ours.
    #[error("{message}")]
    Fault { message: String },
}

/// An execution that returned a report.
#[derive(Debug)]
pub struct RunOutcome {
    pub report: raw::Report,
    /// (role, key, finished, bytes written), in the order of creation.
    pub outputs: Vec<WrittenOutput>,
    /// (role, index) of every input that was opened or mounted into a step.
    pub opened: Vec<(String, u32)>,
    /// Files of steps that are to become outputs, in the order of publication.
    pub published: Vec<Published>,
    /// Steps whose end the guest did not wait for.
    pub unwaited: u32,
    pub usage: Usage,
}

impl LoadError {
    pub(super) fn fault(error: impl std::fmt::Display) -> Self {
        Self::Fault { message: error.to_string() }
    }

    pub(super) fn lost(lost: Lost) -> Self {
        match lost {
            Lost::Unwalled { .. } => Self::Refused { code: "wall_missing", message: lost.to_string() },
            other => Self::fault(other),
        }
    }

    pub(super) fn limit(limits: &CompileLimits, why: &str) -> Self {
        let message = format!(
            "looking at it or compiling it needs more than {} bytes or {} s of processor time ({why})",
            limits.memory_bytes,
            limits.cpu.as_secs()
        );
        Self::Refused { code: "compile_limit", message }
    }

    pub(super) fn refused(done: Done) -> Self {
        match done {
            Done::Refused { code, message } => match known(&LOAD_CODES, &code) {
                Some(code) => Self::Refused { code, message },
                None => {
                    Self::Fault { message: format!("a runner gave a reason that does not exist: {code}") }
                }
            },
            Done::Fault { message } => Self::Fault { message },
            _ => Self::fault(Lost::OutOfTurn),
        }
    }
}

impl GuestError {
    pub(super) fn lost(lost: Lost, wall: Duration) -> Self {
        match lost {
            Lost::Wall => Self::Limit {
                limit: Limit::Wall,
                message: format!("the runner was stopped after {} ms", wall.as_millis()),
                usage: Usage { wall, ..Usage::default() },
            },
            other => Self::Fault { message: other.to_string() },
        }
    }
}

impl From<Done> for GuestError {
    fn from(done: Done) -> Self {
        let (failure, usage) = match done {
            Done::Failed { failure, usage } => (failure, usage),
            Done::Fault { message } => return Self::Fault { message },
            _ => return Self::Fault { message: Lost::OutOfTurn.to_string() },
        };
        match failure {
            Failure::Tool(error) => Self::Tool(error, usage),
            Failure::Trap { code, message } => match known(&TRAP_CODES, &code) {
                Some(code) => Self::Trap { code, message, usage },
                None => {
                    Self::Fault { message: format!("a runner gave a reason that does not exist: {code}") }
                }
            },
            Failure::Input { role, index, offset, reason } => {
                Self::Input { role, index, offset, reason, usage }
            }
            Failure::Limit { limit, message } => Self::Limit { limit, message, usage },
        }
    }
}

impl From<Ran> for RunOutcome {
    fn from(ran: Ran) -> Self {
        Self {
            report: ran.report,
            outputs: ran.outputs,
            opened: ran.opened.into_iter().map(|slot| (slot.role, slot.index)).collect(),
            published: ran.published,
            unwaited: ran.steps_unwaited,
            usage: ran.usage,
        }
    }
}

/// Reasons to refuse a component: a runner may have been taken over, so its words are looked up.
const LOAD_CODES: [&str; 11] = [
    "compile_failed",
    "component_too_complex",
    "component_too_large",
    "export_missing",
    "feature_not_allowed",
    "import_not_allowed",
    "interface_mismatch",
    "malformed_component",
    "memory_min_exceeds",
    "not_a_component",
    "table_min_exceeds",
];

/// Reasons why an execution trapped.
const TRAP_CODES: [&str; 6] = [
    "answer_too_large",
    "guest_abi",
    "guest_trap",
    "import_during_plan",
    "import_misuse",
    "step_file_damaged",
];

pub(super) fn known(codes: &[&'static str], code: &str) -> Option<&'static str> {
    codes.iter().copied().find(|known| *known == code)
}
