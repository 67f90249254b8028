//! A benchmark's peer: what it costs to make one small output durable, and nothing else. For each
//! line on stdin it writes a file, syncs it, names it within its folder, syncs the folder, commits
//! one row to `SQLite` (as `helixmcp` sets it: WAL, `synchronous = FULL`) and answers with a line.

use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("which folder?")?);
    let (incoming, objects) = (folder.join("incoming"), folder.join("objects"));
    fs::create_dir_all(&incoming)?;
    fs::create_dir_all(&objects)?;
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bare.sqlite"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut rows = options.connect().await?;
    sqlx::query("CREATE TABLE rows (number INTEGER PRIMARY KEY, text TEXT)").execute(&mut rows).await?;

    let mut out = io::stdout().lock();
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let text = line?;
        let draft = incoming.join(number.to_string());
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, objects.join(number.to_string()))?;
        File::open(&objects)?.sync_all()?;
        commit(&mut rows, &text).await?;
        writeln!(out, "done")?;
        out.flush()?;
    }
    rows.close().await?;
    Ok(())
}

async fn commit(rows: &mut SqliteConnection, text: &str) -> Result<()> {
    sqlx::query("INSERT INTO rows (text) VALUES ($1)").bind(text).execute(rows).await?;
    Ok(())
}
