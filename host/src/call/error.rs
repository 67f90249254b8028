//! Whose turn it is.

use helix_ids::text::escaped_line;
use helix_ids::{DenialId, RunId};

use crate::contract::arguments::ArgumentError;
use crate::ledger::LedgerError;
use crate::policy::Denial;

/// When it is worth asking again whether somebody made room.
pub(super) const RETRY_FULL_STORE_MS: u64 = 60_000;

/// How much of an unknown tool's name is shown.
const NAME_BYTES_MAX: usize = 64;

/// Why a request was not answered as asked; split by who must act.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The caller's turn: no such tool is offered. JSON-RPC -32602, exit code 2.
    #[error("unknown tool: {name}")]
    UnknownTool { name: String },
    /// The caller's turn. `field` is a JSON pointer into the arguments. Exit code 2.
    #[error("{field}: {reason}")]
    BadArguments {
        /// Reason code, lower snake_case.
        code: &'static str,
        field: String,
        reason: String,
    },
    /// The operator's turn. Exit code 3.
    #[error("denied ({code}): {message}", code = denial.code, message = denial.message)]
    Denied { denial: Denial, id: DenialId },
    /// The toolpack author's turn: guest error, trap, limit. Exit code 4.
    #[error("{message}")]
    Failed { run: Option<RunId>, class: String, code: String, message: String, advice: String },
    /// The caller's turn, later. Exit code 75.
    #[error("{message}")]
    Busy { code: &'static str, message: String, retry_after_ms: u64 },
    /// Ours. JSON-RPC -32603; the chain goes to the log. Exit code 70.
    #[error("internal fault")]
    Fault {
        run: Option<RunId>,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CallError {
    /// No tool of this name is offered. What a caller wrote is shown short and escaped.
    pub fn unknown_tool(name: &str) -> Self {
        Self::UnknownTool { name: escaped_line(name, NAME_BYTES_MAX) }
    }

    /// Arguments that do not fit the tool's schema.
    pub fn arguments(error: ArgumentError) -> Self {
        let ArgumentError { code, pointer, reason } = error;
        Self::BadArguments { code, field: pointer, reason }
    }

    /// A fault of ours with its cause.
    ///
    /// A ledger without room is none: it is the store that is full, and may have room later.
    pub fn fault(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = source.into();
        if let Some(full @ LedgerError::Full { .. }) = source.downcast_ref::<LedgerError>() {
            let (message, retry_after_ms) = (full.to_string(), RETRY_FULL_STORE_MS);
            return Self::Busy { code: "store_full", message, retry_after_ms };
        }
        Self::Fault { run: None, source }
    }
}
