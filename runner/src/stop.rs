//! How an execution ends otherwise than by an answer, and how engine errors become that.

use wasmtime::{Trap, WasmBacktrace};

use super::decode::DecodeError;
use crate::protocol::{Failure, Limit};
use crate::raw::ToolError;

/// Longest message about a trap: function names in it are the guest's.
const MESSAGE_BYTES_MAX: usize = 2048;

/// Raised by an import to end the execution, and what every other error becomes.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("the tool says no")]
    Tool(ToolError),
    #[error("{message}")]
    Trap { code: &'static str, message: String },
    #[error("input {role}[{index}] is damaged at byte {offset}: {reason}")]
    Input { role: String, index: u32, offset: u64, reason: String },
    #[error("{limit:?}: {message}")]
    Limit { limit: Limit, message: String },
    #[error("{0}")]
    Fault(String),
}

/// The codes of [`Stop::Trap`].
pub const GUEST_TRAP: &str = "guest_trap";
/// The guest broke the component model's own rules: UTF-8, alignment, handles.
pub const GUEST_ABI: &str = "guest_abi";
/// The guest called an import with an argument or in a state that the contract excludes.
pub const IMPORT_MISUSE: &str = "import_misuse";
/// The guest called an import other than `log` while `describe` or `plan` ran.
pub const IMPORT_DURING_PLAN: &str = "import_during_plan";
/// What a step made is damaged, and the guest opened it decoded.
pub const STEP_FILE_DAMAGED: &str = "step_file_damaged";
/// The guest's answer is larger than any that the contract allows.
pub const ANSWER_TOO_LARGE: &str = "answer_too_large";

impl Stop {
    pub fn trap(code: &'static str, message: impl Into<String>) -> Self {
        Self::Trap { code, message: cap(message.into()) }
    }

    pub fn limit(limit: Limit, message: impl Into<String>) -> Self {
        Self::Limit { limit, message: message.into() }
    }

    pub fn fault(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Fault(format!("{what}: {error}"))
    }

    /// Damage of an input, in the words of who asked for it.
    pub fn input(role: &str, index: u32, error: DecodeError) -> Self {
        match error {
            DecodeError::Damaged { offset, reason } => {
                Self::Input { role: role.to_owned(), index, offset, reason }
            }
            DecodeError::Io(source) => Self::fault("an input cannot be read", &source),
        }
    }

    /// Whether this follows from the run's identity, so that it will be the same next time.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Tool(_) | Self::Trap { .. } | Self::Input { .. } => true,
            Self::Limit { .. } | Self::Fault(_) => false,
        }
    }

    /// What the engine raised: our own stops first, then its traps, then the rest, which are
    /// breaches of the canonical ABI.
    pub fn of(error: wasmtime::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(stop) => return stop,
            Err(error) => error,
        };
        let Some(trap) = error.downcast_ref::<Trap>().copied() else {
            if is_machine(&error) {
                return Self::fault("the engine", error.root_cause());
            }
            let cause = error.root_cause().to_string();
            // The engine keeps this type to itself.
            if cause.contains("fuel allocated for hostcalls") {
                return Self::limit(
                    Limit::HostCallBytes,
                    "one host call carries more bytes than policy allows",
                );
            }
            if cause.contains("store handle limit exceeded") {
                return Self::limit(Limit::Handles, "more handles at once than policy allows");
            }
            if cause.contains("resource limit exceeded") {
                return Self::limit(Limit::Instances, cause);
            }
            return Self::trap(GUEST_ABI, cause);
        };
        match trap {
            Trap::OutOfFuel => Self::limit(Limit::Fuel, "the guest used all of its fuel"),
            Trap::StackOverflow => Self::limit(Limit::Stack, "the guest's call stack is exhausted"),
            Trap::AllocationTooLarge => Self::limit(Limit::Memory, "an allocation is too large"),
            trap if is_abi(trap) => Self::trap(GUEST_ABI, describe(&error, trap)),
            trap => Self::trap(GUEST_TRAP, describe(&error, trap)),
        }
    }

    /// What travels to the host; a fault does so by another way.
    pub fn into_failure(self) -> Result<Failure, String> {
        Ok(match self {
            Self::Tool(error) => Failure::Tool(error),
            Self::Trap { code, message } => Failure::Trap { code: code.to_owned(), message },
            Self::Input { role, index, offset, reason } => Failure::Input { role, index, offset, reason },
            Self::Limit { limit, message } => Failure::Limit { limit, message },
            Self::Fault(message) => return Err(message),
        })
    }
}

/// The machine had no memory for the guest, or no descriptor: nothing that follows from the run,
/// so it must not become the answer that is given ever after.
fn is_machine(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<rustix::io::Errno>()
            || cause.is::<std::io::Error>()
            || cause.is::<wasmtime::error::OutOfMemory>()
    })
}

/// Traps that fused adapters raise for what the guest handed over.
fn is_abi(trap: Trap) -> bool {
    matches!(
        trap,
        Trap::InvalidChar
            | Trap::StringOutOfBounds
            | Trap::ListOutOfBounds
            | Trap::InvalidDiscriminant
            | Trap::UnalignedPointer
            | Trap::CannotEnterComponent
            | Trap::CannotLeaveComponent
    )
}

/// The trap and the guest's own functions that led to it: what its author needs to see.
fn describe(error: &wasmtime::Error, trap: Trap) -> String {
    let mut text = trap.to_string();
    if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
        for frame in backtrace.frames() {
            let name = frame.func_name().unwrap_or("?");
            let offset = frame.func_offset().unwrap_or_default();
            text.push_str(&format!("; in {name} at {offset:#x}"));
        }
    }
    text
}

/// At most [`MESSAGE_BYTES_MAX`] bytes of a text, cut between characters.
fn cap(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES_MAX {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i11_what_the_machine_lacks_is_never_an_answer() {
        let errors = [
            wasmtime::Error::from(rustix::io::Errno::NOMEM),
            wasmtime::Error::from(rustix::io::Errno::NOMEM)
                .context("mmap failed to reserve 0x100000000 bytes"),
            wasmtime::Error::from(std::io::Error::from_raw_os_error(12)),
        ];
        for error in errors {
            let stop = Stop::of(error);
            assert!(matches!(stop, Stop::Fault(_)), "{stop:?}");
            assert!(!stop.is_answer());
        }
        assert!(Stop::of(wasmtime::Error::msg("unknown handle index 7")).is_answer());
        // Policy's limit on handles that the guest makes itself: another limit, another end.
        let handles = Stop::of(wasmtime::Error::msg("store handle limit exceeded"));
        assert!(matches!(handles, Stop::Limit { limit: Limit::Handles, .. }), "{handles:?}");
        assert!(Stop::of(Stop::trap(GUEST_ABI, "misuse").into()).is_answer());
    }
}
