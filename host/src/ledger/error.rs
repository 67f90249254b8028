//! What can go wrong with the ledger, by the reader's next step.

use std::sync::Arc;

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
    /// Free disk space; the next write goes on.
    #[error("the ledger cannot {what}: the disk is full")]
    Full { what: &'static str },
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
    move |source| {
        let source = source.into();
        if is_full(source.as_ref()) {
            return LedgerError::Full { what };
        }
        LedgerError::Database { what, source }
    }
}

/// Whether `SQLite` had no room. It has rolled back by itself then, and nothing is broken.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    const SQLITE_FULL: u32 = 13;
    let shared = || error.downcast_ref::<Arc<sqlx::Error>>().map(AsRef::as_ref);
    let error = error.downcast_ref::<sqlx::Error>().or_else(shared);
    let code = error.and_then(|error| error.as_database_error()?.code()?.parse::<u32>().ok());
    code.is_some_and(|extended| extended & 0xff == SQLITE_FULL)
}

pub(super) fn damaged(what: impl Into<String>) -> LedgerError {
    LedgerError::Damaged { what: what.into() }
}
