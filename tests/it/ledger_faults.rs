//! A ledger that is locked, torn, damaged, newer or older than what lies beside it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::{StdioClient, World, world};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

/// How long another process holds the ledger.
const LOCKED_FOR: Duration = Duration::from_secs(10);

fn home() -> Result<World> {
    let mut world = World::new()?;
    world.allow("hello", &world::toolpack("hello")?)?;
    world.start()?;
    Ok(world)
}

async fn sql(world: &World) -> Result<SqliteConnection> {
    let path = world.home().join("ledger.sqlite");
    Ok(SqliteConnectOptions::new().filename(path).connect().await?)
}

fn greet(client: &mut StdioClient, name: &str) -> Result<(String, Value)> {
    let reply = client.call("hello", json!({"name": name}))?;
    ensure!(reply.status() == "succeeded", "{}", reply.structured);
    Ok((reply.run_id().to_owned(), reply.structured["outputs"].clone()))
}

/// `fsck`'s exit code and what it said.
fn fsck(world: &World) -> Result<(Option<i32>, String)> {
    let output = world.cli(&["fsck", "--deep"])?;
    Ok((output.code, output.stdout + &output.stderr))
}

/// F21: whoever writes waits, whoever reads does not, and nothing is done twice.
#[tokio::test]
async fn a_locked_ledger_is_waited_for_and_nothing_is_doubled() -> Result<()> {
    let mut world = home()?;
    let mut client = world.client()?;
    let (known, _) = greet(&mut client, "before")?;

    let mut other = sql(&world).await?;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await?;
    let calling = client.send_call("hello", json!({"name": "meanwhile"}))?;
    ensure!(client.reply(calling, LOCKED_FOR).is_err(), "answered while nothing could be written");
    let mut reader = world.client()?;
    let read = reader.call("run_get", json!({"run_id": known}))?;
    ensure!(!read.is_error, "{}", read.text());

    sqlx::query("COMMIT").execute(&mut other).await?;
    other.close().await?;
    let reply = client.reply(calling, Duration::from_secs(60))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.structured);
    let record = client.call("run_get", json!({"run_id": reply.run_id(), "events": true}))?;
    assert_eq!(record.structured["attempts"].as_array().map(Vec::len), Some(1));
    assert!(world.host_alive());
    client.close()?;
    reader.close()?;
    world.finish()
}

/// F17: what stands after a torn place in the log of SQLite is lost, and nothing before it.
#[test]
fn a_torn_end_of_the_log_loses_its_own_commits_and_no_others() -> Result<()> {
    let mut world = home()?;
    let mut client = world.client()?;
    let first = greet(&mut client, "first")?;
    let log = world.home().join("ledger.sqlite-wal");
    let kept_bytes = fs::metadata(&log)?.len();
    let second = greet(&mut client, "second")?;
    world.kill_host()?;
    let bytes = fs::metadata(&log)?.len();
    ensure!(bytes > kept_bytes, "the log did not grow");
    // The last page was never written, and of the one before it the half.
    fs::OpenOptions::new().write(true).open(&log)?.set_len(bytes - 6_000)?;

    world.start_host()?;
    let (code, said) = fsck(&world)?;
    assert_eq!(code, Some(0), "{said}");
    let mut client = world.client()?;
    let again = client.call("hello", json!({"name": "first"}))?;
    assert!(again.replayed(), "{}", again.structured);
    assert_eq!((again.run_id(), &again.structured["outputs"]), (first.0.as_str(), &first.1));
    assert_eq!(greet(&mut client, "second")?, second);
    client.close()?;
    world.finish()
}

/// F17: an event that somebody changed, with SQL that no code of ours would send.
#[tokio::test]
async fn a_changed_event_shows_as_a_broken_chain() -> Result<()> {
    let mut world = home()?;
    let mut client = world.client()?;
    greet(&mut client, "Ada")?;
    client.close()?;
    world.kill_host()?;
    let mut other = sql(&world).await?;
    sqlx::query("DROP TRIGGER events_stay_as_they_are").execute(&mut other).await?;
    let edit = "UPDATE events SET text = replace(text, 'queued', 'Queued') WHERE seq = 1";
    ensure!(sqlx::query(edit).execute(&mut other).await?.rows_affected() >= 1, "nothing was changed");
    other.close().await?;
    let (code, said) = fsck(&world)?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("chain_broken"), "{said}");
    Ok(())
}

/// F17: a page of zeros. `fsck` says so; a host that meets it refuses by name and serves nothing
/// wrong.
#[tokio::test]
async fn a_zeroed_page_shows_and_is_not_served() -> Result<()> {
    let mut world = home()?;
    let mut client = world.client()?;
    for number in 0..40 {
        greet(&mut client, &format!("number {number}"))?;
    }
    client.close()?;
    world.kill_host()?;
    let mut other = sql(&world).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut other).await?;
    let page: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'events'")
        .fetch_one(&mut other)
        .await?;
    let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut other).await?;
    other.close().await?;
    let file = fs::OpenOptions::new().write(true).open(world.home().join("ledger.sqlite"))?;
    let at = u64::try_from((page - 1) * size)?;
    file.write_all_at(&vec![0; usize::try_from(size)?], at)?;

    let (code, said) = fsck(&world)?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("database_damaged"), "{said}");
    if world.try_start_host()? {
        let mut client = world.client()?;
        let fresh = client.call("hello", json!({"name": "somebody new"}));
        let refused = fresh.as_ref().map_or(true, |reply| reply.is_error || reply.status() == "failed");
        ensure!(refused, "a run was recorded in a damaged ledger: {fresh:?}");
        assert!(world.host_alive());
    }
    Ok(())
}

/// F22: a home of a newer version is left as it is.
#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() -> Result<()> {
    let mut world = home()?;
    world.kill_host()?;
    let mut other = sql(&world).await?;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'of tomorrow', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut other).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut other).await?;
    other.close().await?;
    let before = fs::read(world.home().join("ledger.sqlite"))?;
    ensure!(!world.try_start_host()?, "a host started on a newer ledger");
    assert!(world.log().contains("newer"), "{}", world.log());
    assert_eq!(fs::read(world.home().join("ledger.sqlite"))?, before);
    let (code, said) = fsck(&world)?;
    assert!(code != Some(0) && said.contains("newer"), "{said}");
    Ok(())
}

/// F22: a host that is killed while it makes its ledger leaves none or a whole one.
#[test]
fn a_schema_is_made_whole_or_not_at_all() -> Result<()> {
    let mut world = World::new()?;
    world.allow("hello", &world::toolpack("hello")?)?;
    world.write_policy()?;
    for after_ms in 0..25 {
        for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
            let path = world.home().join(name);
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        world.start_and_kill_host(Duration::from_millis(after_ms))?;
        world.start_host().with_context(|| format!("killed after {after_ms} ms"))?;
        world.fsck()?;
        world.kill_host()?;
    }
    Ok(())
}

/// F17: an older ledger beside a newer store. What it does not know is made again, the same.
#[test]
fn a_ledger_from_an_older_backup_is_whole_and_forgets_only_what_came_later() -> Result<()> {
    let mut world = home()?;
    let mut client = world.client()?;
    let first = greet(&mut client, "first")?;
    client.close()?;
    world.kill_host()?;
    let backup = world.path().join("backup");
    copy_ledger(&world.home(), &backup)?;
    world.start_host()?;
    let mut client = world.client()?;
    let second = greet(&mut client, "second")?;
    client.close()?;
    world.kill_host()?;
    copy_ledger(&backup, &world.home())?;

    let (code, said) = fsck(&world)?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 object that no artifact or step names"), "{said}");
    world.start_host()?;
    let mut client = world.client()?;
    let lost = client.call("run_get", json!({"run_id": second.0}))?;
    assert!(lost.is_error, "{}", lost.structured);
    assert_eq!(greet(&mut client, "first")?, first);
    assert_eq!(greet(&mut client, "second")?, second);
    client.close()?;
    world.finish()
}

/// F17: an older store beside a newer ledger. `fsck` names what is gone; the same call makes it
/// again, and says so.
#[test]
fn what_is_gone_from_the_store_is_named_and_made_again_by_the_same_call() -> Result<()> {
    let world = home()?;
    let mut client = world.client()?;
    let first = greet(&mut client, "Ada")?;
    let output = first.1[0].clone();
    remove_object(&world, &output)?;

    let (code, said) = fsck(&world)?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("bytes_missing"), "{said}");
    let gone = client.call("artifact_preview_text", json!({"artifact_id": output["artifact_id"]}))?;
    assert!(gone.is_error && gone.text().contains("gone"), "{}", gone.text());

    let again = client.call("hello", json!({"name": "Ada"}))?;
    assert_eq!((again.status(), again.run_id()), ("succeeded", first.0.as_str()), "{}", again.structured);
    assert_eq!(again.structured["restored"], true, "{}", again.structured);
    assert_eq!(again.structured["outputs"], first.1);
    let third = client.call("hello", json!({"name": "Ada"}))?;
    assert!(third.replayed(), "{}", third.structured);
    client.close()?;
    world.finish()
}

fn remove_object(world: &World, output: &Value) -> Result<()> {
    let checksum = output["checksum_sha256"].as_str().context("no checksum")?;
    let hex = checksum.strip_prefix("sha256:").context("no sha256")?;
    let (first, rest) = hex.split_at(2);
    let (second, _) = rest.split_at(2);
    fs::remove_file(world.home().join("objects").join(first).join(second).join(hex))?;
    Ok(())
}

fn copy_ledger(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
        let (from, to) = (from.join(name), to.join(name));
        if to.exists() {
            fs::remove_file(&to)?;
        }
        if from.exists() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
