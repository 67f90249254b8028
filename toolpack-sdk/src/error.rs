//! How a tool says no.

use std::{fmt, io};

/// A tool's refusal or failure: each variant is somebody else's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolError {
    /// The caller should change a param.
    InvalidParams {
        /// JSON pointer to the param, such as `/min_length`; empty for the params as a whole.
        pointer: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller should bring another input.
    InvalidInput {
        /// Role of the input.
        role: String,
        /// Its position within the role, from 0.
        index: u32,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// The toolpack's author should look.
    Failed {
        /// What went wrong.
        reason: String,
    },
}

impl ToolError {
    /// A param that does not make sense beside the others or for these inputs.
    pub fn invalid_param(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidParams { pointer: pointer.into(), reason: reason.into() }
    }

    /// A failure of the tool itself.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into() }
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidParams { pointer, reason } => write!(f, "param `{pointer}`: {reason}"),
            Self::InvalidInput { role, index, reason } => write!(f, "input {role}[{index}]: {reason}"),
            Self::Failed { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for ToolError {}

/// In a component reads and writes never fail: the host ends the run instead. So what is left
/// of `io::Error` is a mistake of the tool's own.
impl From<io::Error> for ToolError {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<serde_json::Error> for ToolError {
    fn from(error: serde_json::Error) -> Self {
        Self::failed(error.to_string())
    }
}
