//! What can go wrong with a backend, by the reader's next step.

use std::error::Error;

use crate::artifacts::ArtifactError;

/// Why a step was not started, followed or cleared away.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Nobody answers, or not in time: try again later.
    #[error("the container engine at `{endpoint}` does not answer")]
    Unavailable {
        endpoint: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The engine cannot or will not do what was asked; `code` is lower `snake_case`. An operator has
    /// to look.
    #[error("{reason}")]
    Refused { code: &'static str, reason: String },
    /// More than one container carries one step's labels: somebody else made one.
    #[error("{count} containers carry the labels of step {step} of {run}")]
    Ambiguous { run: String, step: u32, count: usize },
    /// The container is gone, or its engine was: nobody can say how the step ended.
    #[error("nobody can say how the container {id} ended")]
    Lost { id: String },
    #[error("cannot {what}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
}

/// Most of an engine's own words that are passed on.
const REASON_CHARS_MAX: usize = 500;

impl BackendError {
    /// A refusal; what the engine says in it is data, and cut.
    pub(super) fn refused(code: &'static str, reason: &str) -> Self {
        let shown = |c: char| if helix_ids::name::is_invisible(c) { ' ' } else { c };
        Self::Refused { code, reason: reason.chars().map(shown).take(REASON_CHARS_MAX).collect() }
    }
}

/// Names what was tried, for `map_err`; takes an `io::Error` or a rustix error number.
pub(super) fn io<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> BackendError {
    let what = what.into();
    move |source| BackendError::Io { what, source: source.into() }
}

/// The store's own words for what went wrong with a folder.
pub(super) fn of_store(what: impl Into<String>) -> impl FnOnce(ArtifactError) -> BackendError {
    let what = what.into();
    move |error| BackendError::Io { what, source: std::io::Error::other(error) }
}
