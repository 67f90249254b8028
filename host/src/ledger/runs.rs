//! What is read of runs.

use std::collections::HashMap;

use helix_ids::{Digest, OutputKey, ProjectId, Role, RunId, ToolName};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::artifacts::artifact_row;
use super::column::{count, maybe_millis, maybe_parsed, maybe_text, millis, parsed, text, text_end};
use super::error::database;
use super::{
    ArtifactRow, AttemptId, AttemptRow, AttemptState, Failure, Ledger, LedgerError, Millis, NewRun, RunInput,
    RunRow, RunSummary, Used,
};

/// Most attempts of a run that are read for a caller, the newest, and the success that answers it. What a caller may make of a run is
/// bounded by the minute alone, so what one read gives may not be all of it (invariant I-9).
pub const ATTEMPTS_READ_MAX: u32 = 20;

/// How much of each log is read with a run, its end: a little more than any record shows of it.
const LOG_READ_BYTES: u32 = 4 * 1024 + 16;

macro_rules! attempt_columns {
    ($plan:literal, $result:literal, $summary:literal, $log:literal) => {
        concat!(
            "a.run, a.ordinal, a.state, a.owner, a.caller, a.takeovers, a.policy_file, a.engine,
             a.host_version, a.created_ms, a.started_ms, a.ended_ms, a.failure_class, a.failure_code,
             a.failure_message, a.failure_advice, a.failure_is_answer, a.fuel, a.memory_bytes, a.wall_ms,
             a.log_dropped_bytes, ",
            $plan,
            " AS plan, ",
            $result,
            " AS result, ",
            $summary,
            " AS summary, ",
            $log,
            " AS log"
        )
    };
}

/// One attempt without its log: a row for each output, or one; the long texts stand in the first
/// row only.
macro_rules! select_one {
    ($which:literal) => {
        concat!(
            "SELECT ",
            attempt_columns!(
                "CASE WHEN u.place > 0 THEN '' ELSE a.plan END",
                "CASE WHEN u.place > 0 THEN '' ELSE a.result END",
                "CASE WHEN u.place > 0 THEN '' ELSE a.summary END",
                "''"
            ),
            ", u.role, u.output_key, u.label, f.id, f.project, f.digest, f.type, o.size_bytes,
               f.created_ms AS artifact_ms, f.created_by
             FROM attempts a
             LEFT JOIN outputs u ON u.run = a.run AND u.attempt = a.ordinal
             LEFT JOIN artifacts f ON f.id = u.artifact
             LEFT JOIN objects o ON o.digest = f.digest
             WHERE a.run = $1 AND a.ordinal = (
                 SELECT n.ordinal FROM attempts n JOIN runs r ON r.id = n.run
                 WHERE n.run = $1 AND ",
            $which,
            " ORDER BY n.state = 'succeeded' DESC, n.ordinal DESC LIMIT 1)
             ORDER BY u.place"
        )
    };
}

const ANSWER: &str = select_one!(
    "r.digest = $2 AND (n.state = 'succeeded' OR (n.state = 'failed' AND n.failure_is_answer = 1))"
);

const STANDING: &str = select_one!("r.project = $2");

/// The ordinals of a run are counted one by one, so the newest are those from a number on; beside them
/// the success that the run is answered by, however many others came after it. Of a log
/// the end, in bytes: a text would end at a NUL that a guest wrote.
const ATTEMPTS: &str = concat!(
    "SELECT substr(CAST(a.log AS BLOB), -$3) AS log_end, ",
    attempt_columns!("a.plan", "a.result", "a.summary", "''"),
    " FROM attempts a
     WHERE a.run = $1 AND (a.ordinal > (SELECT MAX(n.ordinal) FROM attempts n WHERE n.run = $1) - $2
         OR a.ordinal = (SELECT MAX(s.ordinal) FROM attempts s WHERE s.run = $1 AND s.state = 'succeeded'))
     ORDER BY a.ordinal"
);

/// Outputs with the label under which the attempt made each.
const OUTPUTS: &str = "SELECT u.attempt, u.role, u.output_key, u.label, f.id, f.project, f.digest, f.type,
         o.size_bytes, f.created_ms AS artifact_ms, f.created_by
     FROM outputs u JOIN artifacts f ON f.id = u.artifact JOIN objects o ON o.digest = f.digest
     WHERE u.run = $1 AND (u.attempt > (SELECT MAX(n.ordinal) FROM attempts n WHERE n.run = $1) - $2
         OR u.attempt = (SELECT MAX(s.ordinal) FROM attempts s WHERE s.run = $1 AND s.state = 'succeeded'))
     ORDER BY u.attempt, u.place";

/// A page of a list, newest first: each run with its newest attempt. An index is walked from the
/// newest or from the cursor, so that a page costs the same however many runs there are; CROSS JOIN
/// fixes that order.
macro_rules! list {
    (from $from:literal, $created:literal, $run:literal $(, $filter:literal)*) => {
        concat!(
            "SELECT s.run AS id, s.tool, s.created_ms, s.state, s.ordinal, a.ended_ms FROM ",
            $from,
            " CROSS JOIN attempts a ON a.run = s.run AND a.ordinal = s.ordinal WHERE ",
            $($filter, " AND ",)*
            "(", $created, ", ", $run, ") < (CASE WHEN $4 IS NULL THEN 9223372036854775807
                 ELSE (SELECT b.created_ms FROM runs b WHERE b.id = $4 AND b.project = $1) END,
                 COALESCE($4, ''))
             ORDER BY ", $created, " DESC, ", $run, " DESC LIMIT $5"
        )
    };
    (runs $(, $filter:literal)*) => {
        list!(from "runs r CROSS JOIN standings s ON s.run = r.id", "r.created_ms", "r.id" $(, $filter)*)
    };
    (standings $(, $filter:literal)*) => {
        list!(from "standings s", "s.created_ms", "s.run" $(, $filter)*)
    };
}

/// The list of a project's runs, of one tool or of all, in one state or in any.
pub(super) fn list_sql(of_tool: bool, in_state: bool) -> &'static str {
    match (of_tool, in_state) {
        (false, false) => list!(runs, "r.project = $1"),
        (true, false) => list!(runs, "r.project = $1", "r.tool = $2"),
        (false, true) => list!(standings, "s.project = $1", "s.state = $3"),
        (true, true) => list!(standings, "s.project = $1", "s.tool = $2", "s.state = $3"),
    }
}

impl Ledger {
    /// A run with its newest attempts, [`ATTEMPTS_READ_MAX`] of them, and the end of each log;
    /// `None` outside its project.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn run(&self, project: ProjectId, id: RunId) -> Result<Option<RunRow>, LedgerError> {
        // One transaction, so that what is read of one run is of one moment.
        let mut reading = self.reads().begin().await.map_err(database("read a run"))?;
        let run = load(&mut reading, id, ATTEMPTS_READ_MAX).await?;
        Ok(run.filter(|row| row.run.project == project))
    }

    /// What a run is, without what came of it; `None` outside its project.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn identified(&self, project: ProjectId, id: RunId) -> Result<Option<NewRun>, LedgerError> {
        let mut reading = self.reads().begin().await.map_err(database("read a run"))?;
        let found = load_identified(&mut reading, id).await?;
        Ok(found.map(|(run, _created)| run).filter(|run| run.project == project))
    }

    /// The attempt that speaks for a run, without its log: the newest success, else the newest;
    /// `None` outside the run's project.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn standing(&self, project: ProjectId, id: RunId) -> Result<Option<AttemptRow>, LedgerError> {
        self.one(STANDING, &[id.to_string(), project.to_string()]).await
    }

    async fn one(&self, sql: &'static str, texts: &[String]) -> Result<Option<AttemptRow>, LedgerError> {
        let rows = self.quick(sql, texts).await.map_err(database("look for an attempt"))?;
        let Some(first) = rows.first() else { return Ok(None) };
        let mut attempt = attempt_row(first)?;
        for row in &rows {
            // An attempt without outputs has one row, without an output.
            if maybe_text(row, "role")?.is_some() {
                attempt.outputs.push(output_of(row)?);
            }
        }
        Ok(Some(attempt))
    }

    /// The attempt that answers this run, if one does: the newest success, else the newest
    /// failure that is an answer. The hot path of a replay: one indexed read. The log, which may be
    /// long and which no answer shows, is left out; [`Self::run`] has it.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn answer(&self, id: RunId, digest: Digest) -> Result<Option<AttemptRow>, LedgerError> {
        self.one(ANSWER, &[id.to_string(), digest.to_string()]).await
    }

    /// Newest first, each with its newest attempt; `before` is the last id of the page before.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn runs(
        &self,
        project: ProjectId,
        tool: Option<&ToolName>,
        state: Option<AttemptState>,
        before: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<RunSummary>, LedgerError> {
        let rows = sqlx::query(list_sql(tool.is_some(), state.is_some()))
            .bind(project.to_string())
            .bind(tool.map(|tool| tool.as_str()))
            .bind(state.map(AttemptState::as_str))
            .bind(before.map(|id| id.to_string()))
            .bind(i64::from(limit))
            .fetch_all(self.reads())
            .await
            .map_err(database("list runs"))?;
        rows.iter().map(summary).collect()
    }

    /// When the attempt began that is the `count`-th from the newest, if there are so many.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn begun_ago(&self, id: RunId, count: u32) -> Result<Option<Millis>, LedgerError> {
        let sql = "SELECT created_ms FROM attempts WHERE run = $1 ORDER BY ordinal DESC
                   LIMIT 1 OFFSET CAST($2 AS INTEGER)";
        let texts = [id.to_string(), count.saturating_sub(1).to_string()];
        let rows = self.quick(sql, &texts).await.map_err(database("look for an older attempt"))?;
        rows.first().map(|row| millis(row, "created_ms")).transpose()
    }

    /// Ends of class `limit` or `fault` of this run since `since_ms`: how often it was tried.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn recent_failures(&self, id: RunId, since_ms: Millis) -> Result<u32, LedgerError> {
        let sql = "SELECT CAST(COUNT(*) AS BIGINT) AS failures FROM attempts
                   WHERE run = $1 AND state = 'failed' AND failure_class IN ('limit', 'fault')
                     AND ended_ms >= CAST($2 AS INTEGER)";
        let texts = [id.to_string(), since_ms.to_string()];
        let rows = self.quick(sql, &texts).await.map_err(database("count recent failures"))?;
        rows.first().map_or(Ok(0), |row| count(row, "failures"))
    }
}

/// What a run is, and when it was first seen.
async fn load_identified(
    connection: &mut SqliteConnection,
    id: RunId,
) -> Result<Option<(NewRun, Millis)>, LedgerError> {
    let row = sqlx::query("SELECT * FROM runs WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .map_err(database("read a run"))?;
    let Some(row) = row else { return Ok(None) };
    let inputs =
        sqlx::query("SELECT role, position, sample, artifact FROM inputs WHERE run = $1 ORDER BY place")
            .bind(id.to_string())
            .fetch_all(&mut *connection)
            .await
            .map_err(database("read a run's inputs"))?;
    let inputs = inputs.iter().map(run_input).collect::<Result<_, _>>()?;
    Ok(Some((run_of(&row, inputs)?, millis(&row, "created_ms")?)))
}

/// A run with its inputs and its newest attempts, with the end of each log and all outputs.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    id: RunId,
    newest: u32,
) -> Result<Option<RunRow>, LedgerError> {
    let Some((run, created_ms)) = load_identified(connection, id).await? else { return Ok(None) };
    let rows = sqlx::query(ATTEMPTS)
        .bind(id.to_string())
        .bind(i64::from(newest))
        .bind(i64::from(LOG_READ_BYTES))
        .fetch_all(&mut *connection)
        .await
        .map_err(database("read a run's attempts"))?;
    let outputs = sqlx::query(OUTPUTS)
        .bind(id.to_string())
        .bind(i64::from(newest))
        .fetch_all(&mut *connection)
        .await
        .map_err(database("read a run's outputs"))?;
    let mut attempts = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut attempt = attempt_row(row)?;
        attempt.used.log = text_end(row, "log_end")?;
        attempts.push(attempt);
    }
    for output in &outputs {
        put_output(&mut attempts, output)?;
    }
    Ok(Some(RunRow { run, created_ms, attempts }))
}

fn assemble(
    row: &SqliteRow,
    inputs: &[SqliteRow],
    attempts: &[SqliteRow],
    outputs: &[SqliteRow],
) -> Result<RunRow, LedgerError> {
    let inputs = inputs.iter().map(run_input).collect::<Result<_, _>>()?;
    let mut attempts = attempts.iter().map(attempt_row).collect::<Result<Vec<_>, _>>()?;
    for output in outputs {
        put_output(&mut attempts, output)?;
    }
    Ok(RunRow { run: run_of(row, inputs)?, created_ms: millis(row, "created_ms")?, attempts })
}

/// The runs whose ids lie from one text to another, each with its id and its events: five
/// queries, however many runs. A row that does not parse is that run's error alone. Logs of more
/// than 4 KiB are left out; [`log_of`] has them.
pub(super) async fn load_between(
    connection: &mut SqliteConnection,
    first: &str,
    last: &str,
) -> Result<Vec<Loaded>, LedgerError> {
    const RUNS: &str = "SELECT * FROM runs WHERE id >= $1 AND id <= $2 ORDER BY id";
    const INPUTS: &str = "SELECT run, role, position, sample, artifact FROM inputs
                          WHERE run >= $1 AND run <= $2 ORDER BY run, place";
    const ATTEMPTS: &str = concat!(
        "SELECT a.cancelled_by, octet_length(a.log) > 4096 AS log_is_long, ",
        attempt_columns!(
            "a.plan",
            "a.result",
            "a.summary",
            "CASE WHEN octet_length(a.log) > 4096 THEN '' ELSE a.log END"
        ),
        " FROM attempts a WHERE a.run >= $1 AND a.run <= $2 ORDER BY a.run, a.ordinal"
    );
    const OUTPUTS: &str = "SELECT u.run, u.attempt, u.role, u.output_key, u.label, f.id, f.project, f.digest,
             f.type, o.size_bytes, f.created_ms AS artifact_ms, f.created_by
         FROM outputs u JOIN artifacts f ON f.id = u.artifact JOIN objects o ON o.digest = f.digest
         WHERE u.run >= $1 AND u.run <= $2 ORDER BY u.run, u.attempt, u.place";
    const EVENTS: &str = "SELECT chain AS run, chain, seq, at_ms, kind, prev, text, digest FROM events
                          WHERE chain >= $1 AND chain <= $2 ORDER BY chain, seq";
    let mut children = Vec::with_capacity(4);
    for sql in [INPUTS, ATTEMPTS, OUTPUTS, EVENTS] {
        children.push(by_run(connection, sql, first, last).await?);
    }
    let runs = between(connection, RUNS, first, last).await?;
    let mut loaded = Vec::with_capacity(runs.len());
    for row in &runs {
        let id = text(row, "id")?;
        let mut of_run = children.iter_mut().map(|rows| rows.remove(&id).unwrap_or_default());
        let mut next = || of_run.next().unwrap_or_default();
        let [inputs, attempts, outputs, events] = [next(), next(), next(), next()];
        let run = assemble(row, &inputs, &attempts, &outputs);
        loaded.push(Loaded { id, run, attempts, events });
    }
    Ok(loaded)
}

/// The whole log of an attempt.
pub(super) async fn log_of(
    connection: &mut SqliteConnection,
    attempt: AttemptId,
) -> Result<String, LedgerError> {
    let row = sqlx::query("SELECT log FROM attempts WHERE run = $1 AND ordinal = $2")
        .bind(attempt.run.to_string())
        .bind(i64::from(attempt.ordinal))
        .fetch_one(connection)
        .await
        .map_err(database("read a log"))?;
    text(&row, "log")
}

/// One of many runs.
pub(super) struct Loaded {
    pub id: String,
    pub run: Result<RunRow, LedgerError>,
    /// As they stand, in the order of [`RunRow::attempts`].
    pub attempts: Vec<SqliteRow>,
    pub events: Vec<SqliteRow>,
}

async fn between(
    connection: &mut SqliteConnection,
    sql: &'static str,
    first: &str,
    last: &str,
) -> Result<Vec<SqliteRow>, LedgerError> {
    let rows = sqlx::query(sql).bind(first).bind(last).fetch_all(connection).await;
    rows.map_err(database("read many runs"))
}

async fn by_run(
    connection: &mut SqliteConnection,
    sql: &'static str,
    first: &str,
    last: &str,
) -> Result<HashMap<String, Vec<SqliteRow>>, LedgerError> {
    let mut rows: HashMap<String, Vec<SqliteRow>> = HashMap::new();
    for row in between(connection, sql, first, last).await? {
        rows.entry(text(&row, "run")?).or_default().push(row);
    }
    Ok(rows)
}

fn run_of(row: &SqliteRow, inputs: Vec<RunInput>) -> Result<NewRun, LedgerError> {
    Ok(NewRun {
        id: parsed(row, "id")?,
        digest: parsed(row, "digest")?,
        project: parsed(row, "project")?,
        tool: parsed(row, "tool")?,
        contract: parsed(row, "contract")?,
        component: parsed(row, "component")?,
        params_hash: parsed(row, "params_hash")?,
        policy_hash: parsed(row, "policy_hash")?,
        envelope: text(row, "envelope")?,
        slice: text(row, "slice")?,
        inputs,
    })
}

fn run_input(row: &SqliteRow) -> Result<RunInput, LedgerError> {
    Ok(RunInput {
        role: parsed(row, "role")?,
        index: count(row, "position")?,
        sample: maybe_parsed(row, "sample")?,
        artifact: parsed(row, "artifact")?,
    })
}

fn attempt_row(row: &SqliteRow) -> Result<AttemptRow, LedgerError> {
    let failure = match maybe_text(row, "failure_class")? {
        None => None,
        Some(class) => Some(Failure {
            class,
            code: text(row, "failure_code")?,
            message: text(row, "failure_message")?,
            advice: text(row, "failure_advice")?,
            is_answer: count::<u8>(row, "failure_is_answer")? == 1,
        }),
    };
    let used = Used {
        fuel: count(row, "fuel")?,
        memory_bytes: count(row, "memory_bytes")?,
        wall_ms: count(row, "wall_ms")?,
        log: text(row, "log")?,
        log_dropped_bytes: count(row, "log_dropped_bytes")?,
    };
    Ok(AttemptRow {
        id: AttemptId { run: parsed(row, "run")?, ordinal: count(row, "ordinal")? },
        state: parsed(row, "state")?,
        owner: text(row, "owner")?,
        caller: text(row, "caller")?,
        takeovers: count(row, "takeovers")?,
        policy_file: parsed(row, "policy_file")?,
        engine: text(row, "engine")?,
        host_version: text(row, "host_version")?,
        plan: text(row, "plan")?,
        created_ms: millis(row, "created_ms")?,
        started_ms: maybe_millis(row, "started_ms")?,
        ended_ms: maybe_millis(row, "ended_ms")?,
        result: maybe_text(row, "result")?,
        summary: maybe_text(row, "summary")?,
        failure,
        used,
        outputs: Vec::new(),
    })
}

/// Puts an output with its attempt.
fn put_output(attempts: &mut [AttemptRow], row: &SqliteRow) -> Result<(), LedgerError> {
    let ordinal: u32 = count(row, "attempt")?;
    let output = output_of(row)?;
    if let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.id.ordinal == ordinal) {
        attempt.outputs.push(output);
    }
    Ok(())
}

fn output_of(row: &SqliteRow) -> Result<(Role, OutputKey, ArtifactRow), LedgerError> {
    Ok((parsed(row, "role")?, parsed(row, "output_key")?, artifact_row(row)?))
}

fn summary(row: &SqliteRow) -> Result<RunSummary, LedgerError> {
    Ok(RunSummary {
        id: parsed(row, "id")?,
        tool: parsed(row, "tool")?,
        state: parsed(row, "state")?,
        attempts: count(row, "ordinal")?,
        created_ms: millis(row, "created_ms")?,
        ended_ms: maybe_millis(row, "ended_ms")?,
    })
}
