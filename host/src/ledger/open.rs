//! Opening the database: where it may lie, which `SQLite`, which settings, which schema.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Row, SqliteConnection};

use super::LedgerError;
use super::error::{damaged, database};
use super::place::refuse_network_file_system;

static MIGRATOR: Migrator = sqlx::migrate!();

/// The first `SQLite` without the race that could reset a WAL which was still being read.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

/// How long a statement waits while another process (a backup, a shell) holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections for reading. They share one disk; more of them would only cost memory.
const READERS_MAX: u32 = 4;

/// What one connection may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
}

/// Refuses places where the file is not safe, and makes the file, readable by its owner only.
#[expect(clippy::disallowed_methods, reason = "the database's file is the ledger's own")]
pub(super) fn prepare_file(path: &Path) -> Result<(), LedgerError> {
    let refused = |what: &str| LedgerError::Place { what: format!("`{}` {what}", path.display()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    refuse_network_file_system(folder)?;
    if path.symlink_metadata().is_ok_and(|found| !found.file_type().is_file()) {
        return Err(refused("is no regular file"));
    }
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(path)
        .map_err(database("make the ledger's file"))?;
    let facts = file.metadata().map_err(database("look at the ledger's file"))?;
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("belongs to somebody else"));
    }
    if facts.mode() & 0o077 != 0 {
        let private = std::fs::Permissions::from_mode(0o600);
        file.set_permissions(private).map_err(database("make the ledger's file private"))?;
    }
    Ok(())
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).create_if_missing(false).disable_statement_logging()
}

/// The writer's connection, with the schema brought up to date.
pub(super) async fn connect_writer(path: &Path) -> Result<SqliteConnection, LedgerError> {
    let mut connection = options(path).connect().await.map_err(database("open the ledger"))?;
    configure(&mut connection, Access::Write).await.map_err(database("configure the ledger"))?;
    check_sqlite(&mut connection).await?;
    refuse_newer(&mut connection).await?;
    MIGRATOR.run(&mut connection).await.map_err(|error| match error {
        MigrateError::VersionMismatch(version) => {
            damaged(format!("migration {version} is not the one we know"))
        }
        other => database("bring the ledger's schema up to date")(other),
    })?;
    Ok(connection)
}

/// The pool for reading; its connections cannot write.
pub(super) async fn connect_readers(path: &Path) -> Result<SqlitePool, LedgerError> {
    SqlitePoolOptions::new()
        .max_connections(READERS_MAX)
        .test_before_acquire(false)
        .after_connect(|connection, _facts| Box::pin(configure(connection, Access::Read)))
        .connect_with(options(path))
        .await
        .map_err(database("open the ledger for reading"))
}

/// One connection for reading.
pub(super) async fn connect_reader(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut connection = options(path).connect().await?;
    configure(&mut connection, Access::Read).await?;
    Ok(connection)
}

/// For a look without owning the home: the schema has to be the one we know already.
pub(super) async fn check_schema(pool: &SqlitePool) -> Result<(), LedgerError> {
    let mut connection = pool.acquire().await.map_err(database("read the ledger"))?;
    check_sqlite(&mut connection).await?;
    refuse_newer(&mut connection).await?;
    if schema_version(&mut connection).await? != Some(known_version()) {
        return Err(damaged(
            "its schema is older than this helixmcp; start the host once to bring it up to date",
        ));
    }
    Ok(())
}

/// Sets what durability rests on and reads each setting back: `SQLite` ignores in silence what it
/// does not know or cannot do.
async fn configure(connection: &mut SqliteConnection, access: Access) -> Result<(), sqlx::Error> {
    let busy_ms = BUSY_TIMEOUT.as_millis().to_string();
    let query_only = if access == Access::Read { "1" } else { "0" };
    let settings = [
        ("busy_timeout", busy_ms.as_str(), busy_ms.as_str()),
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", "2"),
        ("foreign_keys", "ON", "1"),
        ("trusted_schema", "OFF", "0"),
        // Else `INSERT OR REPLACE` would pass by the triggers that refuse a deletion.
        ("recursive_triggers", "ON", "1"),
        ("query_only", query_only, query_only),
    ];
    // Each way all at once: a statement of its own is two switches of threads.
    let set: String = settings.iter().map(|(name, value, _)| format!("PRAGMA {name} = {value};")).collect();
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut *connection).await?;
    let get: String = settings.iter().map(|(name, ..)| format!("PRAGMA {name};")).collect();
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(get)).fetch_all(&mut *connection).await?;
    if rows.len() != settings.len() {
        let why = format!("{} of {} PRAGMAs have an answer", rows.len(), settings.len());
        return Err(sqlx::Error::Configuration(why.into()));
    }
    for ((name, _, expected), row) in settings.iter().zip(rows) {
        let found = row.try_get_unchecked::<String, _>(0)?;
        if found != *expected {
            let why = format!("PRAGMA {name} is {found}, not {expected}");
            return Err(sqlx::Error::Configuration(why.into()));
        }
    }
    Ok(())
}

async fn check_sqlite(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    let what = "ask SQLite's version";
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(connection).await.map_err(database(what))?;
    if parse_version(&version) < Some(SQLITE_VERSION_MIN) {
        return Err(database("use this SQLite")(format!("it is {version}, older than 3.51.3")));
    }
    Ok(())
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(str::parse::<u32>);
    let mut next = || parts.next()?.ok();
    Some((next()?, next()?, next()?))
}

async fn refuse_newer(connection: &mut SqliteConnection) -> Result<(), LedgerError> {
    let known = known_version();
    match schema_version(connection).await? {
        Some(found) if found > known => Err(LedgerError::Newer { found, known }),
        Some(_) | None => Ok(()),
    }
}

fn known_version() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

async fn schema_version(connection: &mut SqliteConnection) -> Result<Option<i64>, LedgerError> {
    let what = "read the schema's version";
    let table = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = '_sqlx_migrations'";
    let there = sqlx::query(table).fetch_optional(&mut *connection).await.map_err(database(what))?;
    if there.is_none() {
        return Ok(None);
    }
    let newest = "SELECT MAX(version) FROM _sqlx_migrations";
    sqlx::query_scalar(newest).fetch_one(connection).await.map_err(database(what))
}
