//! The one writer. Whatever waits is grouped into one commit, so that a hundred callers cost one
//! sync; each unit of work has a savepoint, so that one that fails takes nobody with it; and a
//! caller is answered only after the commit.

use std::pin::Pin;
use std::sync::Arc;

use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

use super::LedgerError;
use super::error::database;

/// Most units in one commit. A group is what waits, however much that is; without an end a
/// steady stream of writers would keep the first of them waiting.
const GROUP_MAX: usize = 256;

/// Writers that may wait before `write` itself waits: bounds memory, decides nothing else.
const WAITING_MAX: usize = 1024;

/// What a unit of work returns while it runs.
pub(super) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'c>>;

/// The way to the writer.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    units: mpsc::Sender<Box<dyn Unit>>,
}

impl Writer {
    /// Starts the writer on its own connection; it ends when the last `Writer` is dropped.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (units, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write_until_closed(connection, waiting));
        Self { units }
    }

    /// Does `work` inside a transaction and returns once it is synced. A caller that goes away
    /// meanwhile does not undo it.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T, LedgerError>
    where
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let unit = Pending { work: Some(work), result: None, reply };
        let gone = |_closed| database("write: the ledger is closed")("the writer has ended");
        self.units.send(Box::new(unit)).await.map_err(|closed| gone(closed.to_string()))?;
        answer.await.map_err(|closed| gone(closed.to_string()))?
    }
}

/// One unit of work with its caller.
trait Unit: Send {
    /// Runs it and says whether what it wrote is to be kept.
    fn run<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

    /// Tells the caller, now that the group is committed or is not.
    fn answer(self: Box<Self>, committed: Result<(), Arc<sqlx::Error>>);
}

impl std::fmt::Debug for dyn Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unit")
    }
}

struct Pending<F, T> {
    work: Option<F>,
    result: Option<Result<T, LedgerError>>,
    reply: oneshot::Sender<Result<T, LedgerError>>,
}

impl<F, T> Unit for Pending<F, T>
where
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> Work<'c, T> + Send,
    T: Send,
{
    fn run<'a>(
        &'a mut self,
        connection: &'a mut SqliteConnection,
    ) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            let result = work(connection).await;
            let keep = result.is_ok();
            self.result = Some(result);
            keep
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), Arc<sqlx::Error>>) {
        let answer = match (self.result, committed) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(source)) => Err(database("commit to the ledger")(source)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(database("write to the ledger")("the unit did not run")),
        };
        // The caller may have gone away; what it wrote stays.
        drop(self.reply.send(answer));
    }
}

async fn write_until_closed(mut connection: SqliteConnection, mut waiting: mpsc::Receiver<Box<dyn Unit>>) {
    let mut broken: Option<Arc<sqlx::Error>> = None;
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, GROUP_MAX).await > 0 {
        let committed = match &broken {
            Some(why) => Err(Arc::clone(why)),
            None => commit(&mut connection, &mut group).await.map_err(Arc::new),
        };
        if let Err(why) = &committed
            && broken.is_none()
        {
            // Nothing to undo is the usual case: SQLite has rolled back by itself.
            drop(sqlx::query("ROLLBACK").execute(&mut connection).await);
            tracing::error!(error = %why, units = group.len(), "the ledger did not commit");
            if is_fatal(why) {
                broken = Some(Arc::clone(why));
            }
        }
        for unit in group.drain(..) {
            unit.answer(committed.clone());
        }
    }
}

/// After a failed write or sync nobody knows what is on the disk, and a later sync may claim
/// success: nothing more is acknowledged until a restart has read the file again.
fn is_fatal(error: &sqlx::Error) -> bool {
    const SQLITE_IOERR: u32 = 10;
    const SQLITE_CORRUPT: u32 = 11;
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|extended| matches!(extended & 0xff, SQLITE_IOERR | SQLITE_CORRUPT))
}

async fn commit(connection: &mut SqliteConnection, group: &mut [Box<dyn Unit>]) -> Result<(), sqlx::Error> {
    // A deferred BEGIN would fail at once, despite the busy timeout, when it turns into a write.
    execute(connection, "BEGIN IMMEDIATE").await?;
    if let [alone] = group {
        let end = if alone.run(connection).await { "COMMIT" } else { "ROLLBACK" };
        return finish(connection, end).await;
    }
    for unit in group {
        execute(connection, "SAVEPOINT unit").await?;
        if !unit.run(connection).await {
            // When this fails, SQLite has given up the whole transaction, and the group with it.
            execute(connection, "ROLLBACK TO unit").await?;
        }
        execute(connection, "RELEASE unit").await?;
    }
    finish(connection, "COMMIT").await
}

async fn finish(connection: &mut SqliteConnection, end: &'static str) -> Result<(), sqlx::Error> {
    crash_point!("ledger_before_commit");
    let may_end: std::io::Result<()> = faulty!("ledger_commit", Ok(()));
    may_end?;
    execute(connection, end).await?;
    crash_point!("ledger_after_commit");
    Ok(())
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}
