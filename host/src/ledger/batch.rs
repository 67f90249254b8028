//! Statements that are sent at once. Each that is sent alone is two switches of threads, to the
//! connection's and back, and a short run that ends has some twenty.

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Either, Encode, Executor, Sqlite, SqliteConnection, Type};

use super::LedgerError;
use super::error::database;

/// Most statements in one query. `SQLite` copies what is left of a query's text for each statement
/// that it prepares, and what it has prepared of a query is kept for the next like it.
const QUERY_STATEMENTS_MAX: usize = 24;

/// Statements that write, in their order. They belong into a transaction, which is to be rolled
/// back when one of them fails: those after it may have been done as well.
#[derive(Debug, Default)]
pub(super) struct Batch {
    queries: Vec<Query>,
    /// A value that could not be bound.
    failed: Option<sqlx::error::BoxDynError>,
}

#[derive(Debug, Default)]
struct Query {
    sql: String,
    arguments: SqliteArguments,
    statements: Vec<Statement>,
}

#[derive(Debug)]
struct Statement {
    what: &'static str,
    /// Why it is wrong that no row was changed.
    if_none: Option<LedgerError>,
}

impl Batch {
    /// One more statement, whose values are bound next: `$1` is the first of its own.
    pub(super) fn add(&mut self, what: &'static str, sql: &str) -> &mut Self {
        if self.queries.last().is_none_or(|query| query.statements.len() >= QUERY_STATEMENTS_MAX) {
            self.queries.push(Query::default());
        }
        if let Some(query) = self.queries.last_mut() {
            query.add(what, sql);
        }
        self
    }

    /// The next value of the newest statement.
    pub(super) fn bind<'t, T: Encode<'t, Sqlite> + Type<Sqlite>>(&mut self, value: T) -> &mut Self {
        let bound = self.queries.last_mut().map(|query| query.arguments.add(value));
        if let Some(Err(error)) = bound {
            self.failed.get_or_insert(error);
        }
        self
    }

    /// What to say when the newest statement finds no row to change.
    pub(super) fn or(&mut self, if_none: LedgerError) {
        if let Some(statement) = self.queries.last_mut().and_then(|query| query.statements.last_mut()) {
            statement.if_none = Some(if_none);
        }
    }

    /// Does all of them; the first that fails is told.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<(), LedgerError> {
        if let Some(error) = self.failed {
            return Err(database("bind a value")(error));
        }
        for query in self.queries {
            query.run(connection).await?;
        }
        Ok(())
    }
}

impl Query {
    fn add(&mut self, what: &'static str, sql: &str) {
        push_renumbered(&mut self.sql, sql, self.arguments.len());
        self.sql.push(';');
        self.statements.push(Statement { what, if_none: None });
    }

    async fn run(self, connection: &mut SqliteConnection) -> Result<(), LedgerError> {
        let Self { sql, arguments, statements } = self;
        let mut statements = statements.into_iter();
        let mut done = connection.fetch_many(sqlx::query_with(AssertSqlSafe(sql), arguments));
        loop {
            let next = done.try_next().await;
            match (next, statements.next()) {
                (Ok(None), None) => return Ok(()),
                (Ok(Some(Either::Left(done))), Some(statement)) => {
                    if let Some(error) = statement.if_none.filter(|_| done.rows_affected() == 0) {
                        return Err(error);
                    }
                }
                (Err(error), statement) => {
                    return Err(database(statement.map_or("write", |statement| statement.what))(error));
                }
                (Ok(_), _) => {
                    let what = "there are other answers than statements";
                    return Err(database("write several rows at once")(what));
                }
            }
        }
    }
}

/// Adds a statement whose values come after `before` others: what they are numbered by counts through
/// a whole query. No text of ours has a `$` that is none.
fn push_renumbered(query: &mut String, sql: &str, before: usize) {
    let mut parts = sql.split('$');
    query.extend(parts.next());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = part.split_at(digits);
        let number: usize = number.parse().unwrap_or_default();
        query.push_str(&format!("${}{rest}", number + before));
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, Row};

    use super::*;

    async fn table() -> SqliteConnection {
        let mut connection = sqlx::sqlite::SqliteConnectOptions::new().connect().await.unwrap();
        let sql = "CREATE TABLE t (a BIGINT NOT NULL UNIQUE, b TEXT)";
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection
    }

    async fn rows(connection: &mut SqliteConnection) -> Vec<(i64, Option<String>)> {
        let rows = sqlx::query("SELECT a, b FROM t ORDER BY a").fetch_all(connection).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    #[tokio::test]
    async fn each_statement_gets_its_own_values_however_many_there_are() {
        let mut connection = table().await;
        // Twice, so that what was prepared is used again.
        for first in [0, 1_000] {
            let mut batch = Batch::default();
            for number in first..first + 100_i64 {
                batch.add("add", "INSERT INTO t (b, a) SELECT $2, $1").bind(number).bind(format!("{number}"));
                batch
                    .add("change", "UPDATE t SET b = b || $1 WHERE a = $2 AND $1 = '!'")
                    .bind("!")
                    .bind(number);
                batch.or(LedgerError::Lost);
            }
            batch.run(&mut connection).await.unwrap();
        }
        let numbers = (0..100).chain(1_000..1_100);
        let expected: Vec<_> = numbers.map(|number| (number, Some(format!("{number}!")))).collect();
        assert_eq!(rows(&mut connection).await, expected);
    }

    #[tokio::test]
    async fn the_first_that_fails_is_told() {
        let mut connection = table().await;
        let mut batch = Batch::default();
        batch.add("add the first", "INSERT INTO t (a) VALUES ($1)").bind(1_i64);
        batch.add("add it again", "INSERT INTO t (a) VALUES ($1)").bind(1_i64);
        batch
            .add("change none", "UPDATE t SET b = $1 WHERE a = $2")
            .bind("x")
            .bind(7_i64)
            .or(LedgerError::Lost);
        let told = batch.run(&mut connection).await;
        assert!(matches!(told, Err(LedgerError::Database { what: "add it again", .. })), "{told:?}");

        let mut batch = Batch::default();
        batch.add("change none", "UPDATE t SET b = $1 WHERE a = $2").bind(None::<&str>).bind(7_i64);
        batch
            .add("change none", "UPDATE t SET b = $1 WHERE a = $2")
            .bind("x")
            .bind(7_i64)
            .or(LedgerError::Lost);
        batch.add("add it again", "INSERT INTO t (a) VALUES ($1)").bind(1_i64);
        let told = batch.run(&mut connection).await;
        assert!(matches!(told, Err(LedgerError::Lost)), "{told:?}");
        assert_eq!(rows(&mut connection).await, [(1, None)]);

        assert!(Batch::default().run(&mut connection).await.is_ok());
    }
}
