//! Edits of the file behind our back, and places where the file may not lie.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::ledger::{AttemptState, LedgerError, StepState};

/// A ledger with something of everything.
async fn full() -> World {
    let world = World::new().await;
    let artifact = world.import("reads", "reads.fq").await;
    world.import("other reads", "other.fq").await;
    let input = RunInput { role: "reads".parse().unwrap(), index: 0, sample: None, artifact };
    let run = world.run_with(1, vec![input]);
    world.ledger.record(&run, &world.attempt(), &used(), &world.success("out")).await.unwrap();
    world.record(2, &Outcome::Failed(failure("tool", true))).await;
    world.record(3, &Outcome::Cancelled { by: "shell".into() }).await;
    world.begin(4).await;
    world
}

/// Q9: whatever is edited, removed or exchanged, `fsck` says so, and says what.
#[tokio::test]
async fn an_edit_of_the_file_shows() {
    let world = full().await;
    assert_eq!(world.found().await, Vec::<&str>::new());
    let cases: &[(&str, &str)] = &[
        ("UPDATE events SET text = replace(text, 'reads.fq', 'reads.fQ')", "chain_broken"),
        ("UPDATE events SET at_ms = at_ms + 1 WHERE seq = 1", "chain_broken"),
        ("UPDATE events SET kind = 'attempt_failed' WHERE kind = 'attempt_succeeded'", "chain_broken"),
        ("UPDATE events SET prev = NULL WHERE seq = 1", "chain_broken"),
        ("DELETE FROM events WHERE seq = 1", "chain_broken"),
        ("DELETE FROM events WHERE kind = 'attempt_succeeded'", "attempt_and_chain_disagree"),
        ("DELETE FROM events WHERE kind = 'artifact_imported' AND seq = 1", "artifact_without_event"),
        ("UPDATE events SET seq = 9 - seq WHERE chain LIKE 'run_%'", "chain_broken"),
        ("UPDATE attempts SET result = '[]' WHERE state = 'succeeded'", "attempt_and_chain_disagree"),
        ("UPDATE attempts SET log = 'x' WHERE state = 'failed'", "attempt_and_chain_disagree"),
        (
            "UPDATE attempts SET log = hex(zeroblob(9000)) WHERE state = 'failed'",
            "attempt_and_chain_disagree",
        ),
        ("UPDATE attempts SET cancelled_by = 'x' WHERE state = 'cancelled'", "attempt_and_chain_disagree"),
        ("UPDATE attempts SET ended_ms = 1 WHERE state = 'failed'", "attempt_and_chain_disagree"),
        ("UPDATE attempts SET caller = 'x' WHERE state = 'queued'", "attempt_and_chain_disagree"),
        ("UPDATE attempts SET state = 'running' WHERE state = 'queued'", "attempt_and_chain_disagree"),
        ("UPDATE attempts SET takeovers = 1", "attempt_and_chain_disagree"),
        ("DELETE FROM attempts WHERE state = 'queued'", "run_without_attempt"),
        ("DELETE FROM outputs", "attempt_and_chain_disagree"),
        ("UPDATE outputs SET label = 'x'", "attempt_and_chain_disagree"),
        ("DELETE FROM inputs", "run_and_chain_disagree"),
        ("UPDATE runs SET envelope = '{}'", "run_identity"),
        ("UPDATE runs SET tool = 'other'", "run_identity"),
        ("UPDATE runs SET component = digest", "run_and_chain_disagree"),
        ("UPDATE runs SET digest = 'x' || digest", "row_unreadable"),
        ("UPDATE artifacts SET type = 'BAM'", "artifact_identity"),
        ("UPDATE artifacts SET type = 'NONE'", "row_unreadable"),
        ("DELETE FROM objects", "object_unknown"),
        ("DELETE FROM objects", "reference_dangling"),
        ("UPDATE policies SET text = ''", "policy_text"),
        ("UPDATE projects SET name = 'other'", "project_identity"),
        ("DELETE FROM projects", "chain_of_nothing"),
        ("UPDATE projects SET store_bytes = 0", "project_bytes"),
        ("DELETE FROM standings", "standing_wrong"),
        ("UPDATE standings SET state = 'failed' WHERE state = 'succeeded'", "standing_wrong"),
        ("UPDATE standings SET ordinal = 7", "standing_wrong"),
        ("UPDATE standings SET tool = 'other'", "standing_wrong"),
        ("UPDATE standings SET created_ms = 1", "standing_wrong"),
    ];
    for (sql, expected) in cases {
        let copy = copy_without_triggers(&world).await;
        assert_ne!(copy.raw(&format!("PRAGMA foreign_keys = OFF; {sql}")).await.unwrap(), 0, "{sql}");
        let found = copy.found().await;
        assert!(found.contains(expected), "{sql}: {found:?}");
    }
}

/// The same for container steps.
#[tokio::test]
async fn an_edit_of_a_step_shows() {
    let world = super::steps::with_steps().await;
    assert_eq!(world.found().await, Vec::<&str>::new());
    let cases: &[(&str, &str)] = &[
        ("UPDATE asks SET text = replace(text, 'mem', 'rm')", "ask_text"),
        ("UPDATE asks SET digest = (SELECT digest FROM runs)", "ask_text"),
        ("UPDATE asks SET digest = (SELECT digest FROM runs)", "step_and_chain_disagree"),
        ("UPDATE asks SET kind = 'x'", "step_and_chain_disagree"),
        ("UPDATE asks SET digest = 'x'", "row_unreadable"),
        ("DELETE FROM asks", "step_and_chain_disagree"),
        ("DELETE FROM asks WHERE ordinal = 0", "step_and_chain_disagree"),
        ("DELETE FROM asks WHERE ordinal = 0", "reference_dangling"),
        ("DELETE FROM steps WHERE state = 'submitted'", "step_and_chain_disagree"),
        (
            "UPDATE steps SET state = 'running', container = 'c', running_ms = 1 WHERE state = 'submitted'",
            "step_and_chain_disagree",
        ),
        ("UPDATE steps SET exit_code = 1 WHERE state = 'done'", "step_and_chain_disagree"),
        ("UPDATE steps SET name = 'x'", "step_and_chain_disagree"),
        ("UPDATE steps SET image = 'x' WHERE state = 'skipped'", "step_and_chain_disagree"),
        ("UPDATE steps SET backend = 'x' WHERE state = 'skipped'", "step_and_chain_disagree"),
        (
            "UPDATE steps SET step_key = (SELECT digest FROM runs) WHERE state = 'submitted'",
            "step_and_chain_disagree",
        ),
        ("UPDATE steps SET try = 2 WHERE state = 'submitted'", "step_and_chain_disagree"),
        ("UPDATE steps SET container = 'x' WHERE container IS NOT NULL", "step_and_chain_disagree"),
        ("UPDATE steps SET intended_ms = 1 WHERE ordinal = 0", "step_and_chain_disagree"),
        ("UPDATE steps SET ended_ms = 1 WHERE state = 'failed'", "step_and_chain_disagree"),
        ("UPDATE steps SET stdout_tail = 'x' WHERE state = 'done'", "step_and_chain_disagree"),
        ("UPDATE steps SET failure_message = 'x' WHERE state = 'failed'", "step_and_chain_disagree"),
        ("UPDATE steps SET wall_ms = 99 WHERE state = 'failed'", "step_and_chain_disagree"),
        ("UPDATE steps SET outcome_seq = outcome_seq + 7", "step_and_chain_disagree"),
        ("UPDATE steps SET reused_ordinal = 1 WHERE reused_run IS NOT NULL", "step_and_chain_disagree"),
        ("UPDATE steps SET step_key = 'x' WHERE state = 'submitted'", "row_unreadable"),
        ("DELETE FROM step_files WHERE kind = 'capture'", "step_and_chain_disagree"),
        ("DELETE FROM step_files WHERE kind = 'stdout'", "step_and_chain_disagree"),
        ("UPDATE step_files SET name = 'x' WHERE kind = 'capture'", "step_and_chain_disagree"),
        ("UPDATE step_files SET type = 'NONE' WHERE kind = 'capture'", "row_unreadable"),
        ("DELETE FROM objects", "reference_dangling"),
        ("UPDATE projects SET store_bytes = 0", "project_bytes"),
        ("DELETE FROM events WHERE kind = 'step_intended'", "chain_broken"),
        (
            "DELETE FROM events WHERE kind = 'step_submitted' AND seq = (SELECT MAX(seq) FROM events e
            WHERE e.chain = events.chain)",
            "step_and_chain_disagree",
        ),
        (
            "UPDATE attempts SET state = 'cancelled', ended_ms = 1, cancelled_by = 'x' WHERE state = 'running'",
            "step_open",
        ),
    ];
    for (sql, expected) in cases {
        let copy = copy_without_triggers(&world).await;
        assert_ne!(copy.raw(&format!("PRAGMA foreign_keys = OFF; {sql}")).await.unwrap(), 0, "{sql}");
        let found = copy.found().await;
        assert!(found.contains(expected), "{sql}: {found:?}");
    }
}

/// The triggers refuse most such edits before.
#[tokio::test]
async fn what_happened_is_only_appended() {
    let world = full().await;
    for sql in [
        "DELETE FROM events",
        "UPDATE events SET kind = 'x'",
        "INSERT INTO events SELECT chain, seq + 7, at_ms, kind, prev, text, digest FROM events",
        "UPDATE attempts SET log = 'x' WHERE state = 'failed'",
        "UPDATE attempts SET plan = 'x' WHERE state = 'queued'",
        "DELETE FROM attempts",
        "UPDATE runs SET envelope = '{}'",
        "DELETE FROM runs",
        "DELETE FROM inputs",
        "DELETE FROM outputs",
        "UPDATE outputs SET label = 'x'",
        "INSERT INTO outputs SELECT run, attempt, 7, 'more', output_key, artifact, label FROM outputs",
    ] {
        assert!(world.raw(sql).await.is_err(), "{sql}");
    }
    assert_eq!(world.found().await, Vec::<&str>::new());
}

async fn copy_without_triggers(world: &World) -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.sqlite");
    world.raw(&format!("VACUUM INTO '{}'", path.display())).await.unwrap();
    // Triggers go through a first connection; the ledger is then opened to look.
    let bare = World { _folder: folder, path, ledger: world.ledger.clone(), project: world.project };
    let names = "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema WHERE type = 'trigger'";
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&bare.path);
    let mut connection = options.connect().await.unwrap();
    let drops: String = sqlx::query_scalar(names).fetch_one(&mut connection).await.unwrap();
    bare.raw(&drops).await.unwrap();
    bare.raw("PRAGMA journal_mode = WAL").await.unwrap();
    let ledger = Ledger::look(&bare.path).await.unwrap();
    World { ledger, ..bare }
}

#[tokio::test]
async fn the_file_is_private_and_no_link() {
    let world = World::new().await;
    let mode = std::fs::metadata(&world.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let link = world.path.with_file_name("link.sqlite");
    std::os::unix::fs::symlink(&world.path, &link).unwrap();
    let refused = Ledger::open(&link, Owner("x".into())).await;
    assert!(matches!(refused, Err(LedgerError::Place { .. })), "{refused:?}");
}

/// F22: a newer schema is left alone.
#[tokio::test]
async fn a_newer_ledger_is_refused() {
    let world = World::new().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (999, 'later', 1, x'00', 0)";
    world.raw(newer).await.unwrap();
    for refused in [Ledger::open(&world.path, Owner("x".into())).await, Ledger::look(&world.path).await] {
        assert!(matches!(refused, Err(LedgerError::Newer { found: 999, known: 3 })), "{refused:?}");
    }
}

/// A home of a version before is brought up to date, with what it holds: its lists are the same,
/// and go on as they should. One who only looks leaves it alone.
#[tokio::test]
async fn an_older_ledger_is_brought_up_to_date() {
    for version in 1..=2 {
        let world = full().await;
        world.record(2, &world.success("at last")).await;
        let lists = async |ledger: &Ledger| {
            let mut lists = vec![ledger.runs(world.project, None, None, None, 9).await.unwrap()];
            for state in AttemptState::ALL {
                lists.push(ledger.runs(world.project, None, Some(state), None, 9).await.unwrap());
            }
            lists
        };
        let before = lists(&world.ledger).await;
        assert_eq!(before.iter().map(Vec::len).sum::<usize>(), 8);
        let bytes = world.ledger.store_bytes(world.project).await.unwrap();
        take_back_to(&world, version).await;

        let refused = Ledger::look(&world.path).await;
        assert!(
            matches!(&refused, Err(LedgerError::Damaged { what }) if what.contains("older")),
            "{refused:?}"
        );
        assert_eq!(schema(&world.path).await, schema_of(version).await);
        let newer = world.reopened("second").await;
        assert_eq!(lists(&newer).await, before);
        assert_eq!(newer.fsck().await.unwrap().len(), 0);
        newer.record(&world.run(4), &world.attempt(), &used(), &world.success("more")).await.unwrap_err();
        newer.record(&world.run(3), &world.attempt(), &used(), &world.success("more")).await.unwrap();
        let succeeded =
            newer.runs(world.project, None, Some(AttemptState::Succeeded), None, 9).await.unwrap();
        assert_eq!(succeeded.len(), 3);
        assert_eq!(newer.store_bytes(world.project).await.unwrap(), bytes + 4);
        assert_eq!(newer.fsck().await.unwrap().len(), 0);
        let steps = World { ledger: newer, ..world };
        let attempt = steps.running(7).await;
        let step = steps.submitted(attempt, 0, "key").await;
        steps.ledger.step_ended(step, &super::steps::outcome(StepState::Done)).await.unwrap();
        steps.ledger.conclude(attempt, &used(), &steps.success("more")).await.unwrap();
        assert_eq!(steps.found().await, Vec::<&str>::new());
    }
}

/// Makes of a ledger without steps what a helixmcp of that version would have left.
async fn take_back_to(world: &World, version: i64) {
    let steps = "DROP TRIGGER attempts_end_after_their_steps; DROP TABLE step_files; DROP TABLE steps;
                 DROP TABLE asks; DELETE FROM _sqlx_migrations WHERE version = 3";
    let standings = "DROP TRIGGER standings_begin; DROP TRIGGER standings_follow; DROP TABLE standings;
                     DELETE FROM _sqlx_migrations WHERE version = 2";
    world.raw(steps).await.unwrap();
    if version < 2 {
        world.raw(standings).await.unwrap();
    }
    assert_eq!(schema(&world.path).await, schema_of(version).await);
}

/// What stands in a ledger's schema.
async fn schema(path: &std::path::Path) -> Vec<(String, Option<String>)> {
    use sqlx::ConnectOptions;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = options.connect().await.unwrap();
    let sql = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE '%sqlx%' ORDER BY name";
    sqlx::query_as(sql).fetch_all(&mut connection).await.unwrap()
}

async fn schema_of(version: i64) -> Vec<(String, Option<String>)> {
    use sqlx::ConnectOptions;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("first.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let all = [
        include_str!("../../../migrations/0001_ledger.sql"),
        include_str!("../../../migrations/0002_standings.sql"),
    ];
    for (_, migration) in (1..=version).zip(all) {
        sqlx::raw_sql(migration).execute(&mut connection).await.unwrap();
    }
    schema(&path).await
}

/// One who looks writes nothing, and there is nothing to look at where no ledger is.
#[tokio::test]
async fn looking_writes_nothing() {
    let world = full().await;
    let look = Ledger::look(&world.path).await.unwrap();
    assert_eq!(look.fsck().await.unwrap().len(), 0);
    assert!(look.remember_manifest(Digest::of(b"x"), "{}").await.is_err());
    let nowhere = Ledger::look(&world.path.with_file_name("none")).await;
    assert!(matches!(nowhere, Err(LedgerError::Place { .. })), "{nowhere:?}");
}

/// F1, F10: what was acknowledged is there for the next process; nothing else is.
#[tokio::test]
async fn what_was_acknowledged_survives() {
    let world = full().await;
    let again = world.reopened("second").await;
    let run = world.run(2);
    assert!(again.answer(run.id, run.digest).await.unwrap().is_some());
    assert_eq!(again.fsck().await.unwrap().len(), 0);
}

/// F17: a page that was zeroed shows, whichever it is.
#[tokio::test]
async fn a_zeroed_page_shows() {
    use std::os::unix::fs::FileExt;
    let world = full().await;
    let page_bytes = 4096;
    let pages = std::fs::metadata(&copy_without_triggers(&world).await.path).unwrap().len() / page_bytes;
    assert!(pages > 20);
    for page in (1..pages).step_by(5) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        world.raw(&format!("VACUUM INTO '{}'", path.display())).await.unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 4096], page * page_bytes).unwrap();
        let found = match Ledger::look(&path).await {
            Ok(look) => look.fsck().await.map(|findings| findings.len()),
            Err(refused) => Err(refused),
        };
        assert!(!matches!(found, Ok(0)), "page {page}");
    }
}
