//! The reads of a replay. The pool tests every connection that comes back to it, in a task of its
//! own and with a message to the connection's thread: as much work again as such a read itself. So
//! one connection is kept beside it for them; who finds it taken asks the pool.

use std::path::PathBuf;

use sqlx::sqlite::SqliteRow;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use super::open;

/// One connection, opened when it is first asked for.
#[derive(Debug)]
pub(super) struct Quick {
    path: PathBuf,
    connection: Mutex<Option<SqliteConnection>>,
}

impl Quick {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, connection: Mutex::new(None) }
    }

    /// The rows of a query whose every bound value is a text.
    pub(super) async fn rows(
        &self,
        pool: &SqlitePool,
        sql: &'static str,
        texts: &[String],
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let query = || texts.iter().fold(sqlx::query(sql), |query, text| query.bind(text.clone()));
        if let Ok(mut kept) = self.connection.try_lock() {
            if kept.is_none() {
                *kept = open::connect_reader(&self.path).await.ok();
            }
            if let Some(connection) = kept.as_mut() {
                match query().fetch_all(connection).await {
                    Ok(rows) => return Ok(rows),
                    // What is wrong may be the connection; whether it is, the pool finds out.
                    Err(_) => *kept = None,
                }
            }
        }
        query().fetch_all(pool).await
    }
}
