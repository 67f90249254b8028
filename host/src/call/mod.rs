//! The main path (`call`), and beside it, one file each, what a caller does without a new run.

pub mod answer;
pub mod error;
pub mod export;
pub mod host;
pub mod import;
pub mod wait;

pub use answer::{Answer, AnswerFailure, AnswerOutput, AnswerProgress, Status};
pub use error::CallError;
pub use export::{ArtifactExportArgs, ArtifactExportResult, artifact_export};
pub use host::{Caller, Context, Host, HostSettings, Progress};
pub use import::{ArtifactImportArgs, ArtifactImportResult, artifact_import, import_known_path};
pub use wait::{RunCancelArgs, RunCancelResult, RunWaitArgs, run_cancel, run_wait};

use serde_json::{Map, Value};

/// Calls a toolpack's tool.
///
/// # Errors
/// [`CallError`], split by whose turn it is.
pub async fn call(
    _host: &std::sync::Arc<Host>,
    _context: &Context,
    _tool: &str,
    _arguments: Map<String, Value>,
) -> Result<Answer, CallError> {
    unimplemented!()
}
