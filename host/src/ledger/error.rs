//! What can go wrong with the ledger, by the reader's next step.

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// `SQLite` or the disk: look at the cause.
    #[error("cannot {what}")]
    Database {
        what: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Run `fsck`.
    #[error("the ledger holds something impossible: {what}")]
    Damaged { what: String },
    /// Upgrade.
    #[error("the ledger is of version {found}, newer than {known}: use a newer helixmcp")]
    Newer { found: i64, known: i64 },
    /// Move the home.
    #[error("the ledger would lie on {kind}, a network file system; keep the home on a local disk")]
    NetworkFileSystem { kind: String },
    /// Others could write into it, or it is no file of ours.
    #[error("the ledger's place is refused: {what}")]
    Place { what: String },
    /// An ordinary answer: the guarded update found nothing to move.
    #[error("another writer moved it first")]
    Lost,
}

/// Names what was tried, for `map_err`.
pub(super) fn database<E>(what: &'static str) -> impl FnOnce(E) -> LedgerError
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |source| LedgerError::Database { what, source: source.into() }
}

pub(super) fn damaged(what: impl Into<String>) -> LedgerError {
    LedgerError::Damaged { what: what.into() }
}
