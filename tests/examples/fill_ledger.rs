//! Fills a home's ledger with runs that never were, so that benchmarks see one of a long life:
//! `fill_ledger LEDGER RUNS`. No host may run meanwhile.
//!
//! Every row has the shape of a real one (a run, its attempt, one input, one output with its
//! object, artifact and label, four events of its chain), but its ids follow from nothing, so
//! `fsck` of such a home finds a great deal.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// Runs in one transaction.
const BATCH: u64 = 50_000;

/// What a run of `hello` leaves, in SQL over the numbers of a batch. Random digits stand where
/// digests stand: ids of real runs lie all over the index, too.
const STATEMENTS: [&str; 11] = [
    "CREATE TEMP TABLE IF NOT EXISTS fresh (number INTEGER PRIMARY KEY, run TEXT, digest TEXT, \
     output TEXT, artifact TEXT, at_ms BIGINT)",
    "DELETE FROM fresh",
    "INSERT INTO fresh WITH RECURSIVE numbers(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM numbers \
     WHERE n + 1 < {to}) SELECT n, 'run_' || '0' || substr(hex(randomblob(13)), 1, 25), \
     'sha256:' || lower(hex(randomblob(32))), 'sha256:' || lower(hex(randomblob(32))), \
     'art_' || '0' || substr(hex(randomblob(13)), 1, 25), 1700000000000 + n FROM numbers",
    "INSERT INTO runs (id, digest, project, tool, contract, component, params_hash, policy_hash, envelope, \
     slice, created_ms) SELECT f.run, f.digest, r.project, r.tool, r.contract, r.component, f.digest, \
     r.policy_hash, r.envelope, r.slice, f.at_ms FROM fresh f, (SELECT * FROM runs WHERE id = '{run}') r",
    "INSERT INTO objects (digest, size_bytes, seal) SELECT f.output, 20, o.seal FROM fresh f, \
     (SELECT seal FROM objects LIMIT 1) o",
    "INSERT INTO artifacts (id, project, digest, type, created_ms, created_by) SELECT f.artifact, a.project, \
     f.output, a.type, f.at_ms, f.run FROM fresh f, (SELECT * FROM artifacts LIMIT 1) a",
    "INSERT INTO labels (artifact, seq, label, given_by, at_ms) SELECT artifact, 0, 'greeting.txt', 'local', \
     at_ms FROM fresh",
    "INSERT INTO attempts (run, ordinal, state, owner, caller, takeovers, policy_file, engine, host_version, \
     plan, created_ms, fuel, memory_bytes, wall_ms, log_dropped_bytes, log) SELECT f.run, 1, 'queued', \
     a.owner, a.caller, 0, a.policy_file, a.engine, a.host_version, a.plan, f.at_ms, 0, 0, 0, 0, '' \
     FROM fresh f, (SELECT * FROM attempts WHERE run = '{run}' LIMIT 1) a",
    "UPDATE attempts SET state = 'running', started_ms = created_ms WHERE run IN (SELECT run FROM fresh)",
    "INSERT INTO outputs (run, attempt, place, role, output_key, artifact, label) SELECT run, 1, 0, \
     'greeting', 'greeting', artifact, 'greeting.txt' FROM fresh",
    // One in a hundred failed, so that lists by state have something to find.
    "UPDATE attempts SET state = CASE WHEN f.number % 100 = 0 THEN 'failed' ELSE 'succeeded' END, \
     ended_ms = created_ms + 5, result = CASE WHEN f.number % 100 = 0 THEN NULL ELSE '{}' END, \
     summary = CASE WHEN f.number % 100 = 0 THEN NULL ELSE 'Greeted.' END, \
     failure_class = CASE WHEN f.number % 100 = 0 THEN 'tool' END, \
     failure_code = CASE WHEN f.number % 100 = 0 THEN 'tool_failed' END, \
     failure_message = CASE WHEN f.number % 100 = 0 THEN 'no' END, \
     failure_advice = CASE WHEN f.number % 100 = 0 THEN '' END, \
     failure_is_answer = CASE WHEN f.number % 100 = 0 THEN 1 END \
     FROM fresh f WHERE attempts.run = f.run",
];

/// One event of each run's chain; its text is as long as a real one's.
const EVENT: &str = "INSERT INTO events (chain, seq, at_ms, kind, prev, text, digest) \
     SELECT run, {seq}, at_ms, '{kind}', \
     CASE WHEN {seq} = 0 THEN NULL ELSE (SELECT digest FROM events WHERE chain = run AND seq = {seq} - 1) END, \
     '{{\"filled\":\"' || hex(zeroblob(150)) || '\"}}', digest || ':{seq}' FROM fresh";

const KINDS: [&str; 4] = ["run_identified", "attempt_queued", "attempt_running", "attempt_succeeded"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (path, runs) = (words.next().context("which ledger?")?, words.next().context("how many runs?")?);
    let runs: u64 = runs.parse().context("how many runs?")?;
    let options = SqliteConnectOptions::new().filename(Path::new(&path)).pragma("cache_size", "-262144");
    let mut ledger = options.pragma("synchronous", "OFF").connect().await?;
    let like: Option<String> = sqlx::query_scalar("SELECT id FROM runs ORDER BY created_ms LIMIT 1")
        .fetch_optional(&mut ledger)
        .await?;
    let like = like.context("the ledger holds no run that others could be made like")?;
    let mut from = 0;
    while from < runs {
        let to = runs.min(from + BATCH);
        fill(&mut ledger, &like, from, to).await?;
        from = to;
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut ledger).await?;
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM runs").fetch_one(&mut ledger).await?;
    ensure!(u64::try_from(count)? > runs, "only {count} runs were made");
    ledger.close().await?;
    Ok(())
}

async fn fill(ledger: &mut SqliteConnection, like: &str, from: u64, to: u64) -> Result<()> {
    let mut transaction = ledger.begin().await?;
    let statements = STATEMENTS.iter().map(|sql| {
        sql.replace("{from}", &from.to_string()).replace("{to}", &to.to_string()).replace("{run}", like)
    });
    let events = (0..).zip(KINDS).map(|(seq, kind): (u32, _)| {
        EVENT.replace("{seq}", &seq.to_string()).replace("{kind}", kind).replace("{{", "{").replace("}}", "}")
    });
    for sql in statements.chain(events) {
        sqlx::query(AssertSqlSafe(sql.clone())).execute(&mut *transaction).await.with_context(|| sql)?;
    }
    transaction.commit().await?;
    Ok(())
}
