//! What happened: runs, attempts, artifacts, labels, events, denials. sqlx is used below here and
//! nowhere else; every write goes through one writer.

mod artifacts;
mod attempts;
mod batch;
mod before;
mod bodies;
mod chain;
mod column;
mod error;
mod fsck;
mod open;
mod place;
mod quick;
mod quota;
mod records;
mod rows;
mod runs;
pub mod state;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{SqliteConnection, SqlitePool};

pub use error::LedgerError;
pub use fsck::Checked;
pub use place::network_file_system;
pub use quota::{NoRoom, Reservation};
pub use rows::{
    ArtifactRow, AttemptId, AttemptRow, EventRow, Failure, Finding, Millis, NewArtifact, NewAttempt,
    NewDenial, NewEvent, NewRun, Outcome, OutputRow, Owner, RunInput, RunRow, RunSummary, Seal, Used,
};
pub use runs::ATTEMPTS_READ_MAX;
pub use state::AttemptState;

use error::database;
use quick::Quick;
use quota::Reservations;
use write::{Work, Writer};

/// The database of one home. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    owner: Owner,
    reads: SqlitePool,
    reservations: Reservations,
    quick: Quick,
    /// `None` when the ledger was opened only to be looked at.
    writer: Option<Writer>,
}

impl Ledger {
    /// Opens or makes `path`, brings its schema up to date and checks `SQLite`'s version.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn open(path: &Path, owner: Owner) -> Result<Self, LedgerError> {
        open::prepare_file(path)?;
        let writer = Writer::start(open::connect_writer(path).await?);
        let reads = open::connect_readers(path).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                owner,
                reads,
                quick: Quick::new(path.to_owned()),
                reservations: Reservations::default(),
                writer: Some(writer),
            }),
        })
    }

    /// Opens a ledger that may be in use by a host, without owning it: nothing can be written.
    ///
    /// # Errors
    /// [`LedgerError`], also when there is no ledger at `path`.
    pub async fn look(path: &Path) -> Result<Self, LedgerError> {
        if !path.symlink_metadata().is_ok_and(|found| found.file_type().is_file()) {
            return Err(LedgerError::Place { what: format!("`{}` is no ledger", path.display()) });
        }
        let reads = open::connect_readers(path).await?;
        open::check_schema(&reads).await?;
        let owner = Owner("nobody".to_owned());
        let inner = Inner {
            owner,
            reads,
            quick: Quick::new(path.to_owned()),
            reservations: Reservations::default(),
            writer: None,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Milliseconds now: the one wall clock of the host.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the door to the wall clock")]
    pub fn now_ms() -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX);
        #[cfg(feature = "faults")]
        let now_ms = now_ms.saturating_add(crate::faults::armed::clock_ms());
        now_ms
    }

    fn owner(&self) -> &str {
        &self.inner.owner.0
    }

    fn reads(&self) -> &SqlitePool {
        &self.inner.reads
    }

    /// The rows of a query that stands between a caller and an answer which is there.
    async fn quick(
        &self,
        sql: &'static str,
        texts: &[String],
    ) -> Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error> {
        self.inner.quick.rows(self.reads(), sql, texts).await
    }

    /// Does `work` in the writer's next commit.
    async fn write<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
        T: Send + 'static,
    {
        match &self.inner.writer {
            Some(writer) => writer.write(work).await,
            None => Err(database("write")("the ledger was opened only to be looked at")),
        }
    }
}
