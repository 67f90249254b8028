//! What can go wrong with bytes on disk, by the reader's next step.

use helix_ids::Digest;

/// Why the bytes were not stored, found, or let through.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the bytes of {digest} are gone")]
    Missing { digest: Digest },
    #[error("{digest} is damaged: its bytes hash to {actual}")]
    Damaged { digest: Digest, actual: Digest },
    #[error("more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("the store is full: less than {floor_bytes} bytes are free")]
    Full { floor_bytes: u64 },
    #[error("the bytes hash to {actual}, not {expected}")]
    Unexpected { expected: Digest, actual: Digest },
    /// A path that the door does not let through; `code` is lower `snake_case`.
    #[error("{message}")]
    Path { code: &'static str, message: String },
    #[error("the file changed while it was read")]
    Changed,
    #[error("cancelled")]
    Cancelled,
    #[error("cannot {what}")]
    Io {
        what: String,
        #[source]
        source: std::io::Error,
    },
}

/// Names what was tried, for `map_err`; takes an `io::Error` or a rustix error number.
pub(super) fn io<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> ArtifactError {
    let what = what.into();
    move |source| ArtifactError::Io { what, source: source.into() }
}
