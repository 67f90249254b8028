//! What the ledger keeps of container steps, as the rest of the host sees it, and how it is read.

use helix_ids::{ArtifactType, Digest, RunId};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::column::{count, maybe_millis, maybe_parsed, maybe_text, millis, parsed, text, text_end};
use super::error::{damaged, database};
use super::runs::failure_of;
use super::{AttemptId, Failure, LedgerError, Millis, Seal, StepState};

/// Most that is kept of what a step printed beside the whole of it: what a guest gets to see.
pub const STEP_TAIL_BYTES_MAX: usize = 64 * 1024;

/// (attempt, ordinal): names one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StepId {
    pub attempt: AttemptId,
    pub ordinal: u32,
}

/// What a guest asks of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAsk {
    /// `start`.
    pub kind: &'static str,
    /// Canonical JSON, with symbolic sources: the same ask has the same text.
    pub text: String,
    /// Of the step that it asks for.
    pub name: String,
    pub image: String,
    pub backend: String,
}

/// What became of an ask.
#[derive(Clone, Debug)]
pub enum Asked {
    /// It is written now, and its step is `intended`.
    New,
    /// It was written by an earlier pass.
    Known(Box<StepRow>),
    /// Another was written at this ordinal: the guest does not repeat itself.
    Different { expected: String, came: String },
}

/// What a step used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepUsage {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub peak_memory_bytes: u64,
    /// From its submission until it ran.
    pub queue_ms: u64,
}

/// How a step ended, with what it left: everything is committed at once.
#[derive(Clone, Debug)]
pub struct StepOutcome {
    /// A terminal one. What is reused is recorded by [`super::Ledger::step_reused`].
    pub state: StepState,
    /// Of one that is `done`, and maybe of one that failed.
    pub exit_code: Option<i32>,
    /// Of more than [`STEP_TAIL_BYTES_MAX`] the end is kept.
    pub stdout_tail: String,
    pub stderr_tail: String,
    /// Of one that failed or was lost.
    pub failure: Option<Failure>,
    pub usage: StepUsage,
    pub files: Vec<NewStepFile>,
    /// The whole of what it printed, where it is kept.
    pub stdout: Option<NewStepLog>,
    pub stderr: Option<NewStepLog>,
}

/// A captured file that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStepFile {
    pub name: String,
    pub artifact_type: ArtifactType,
    pub digest: Digest,
    pub size_bytes: u64,
    pub seal: Seal,
}

/// A whole log that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStepLog {
    pub digest: Digest,
    pub size_bytes: u64,
    pub seal: Seal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFile {
    pub name: String,
    pub artifact_type: ArtifactType,
    pub digest: Digest,
    pub size_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLog {
    pub digest: Digest,
    pub size_bytes: u64,
}

/// What is stored of a step's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEndRow {
    pub exit_code: Option<i32>,
    pub stdout_tail: String,
    pub stderr_tail: String,
    pub failure: Option<Failure>,
    pub usage: StepUsage,
}

/// One step as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    pub id: StepId,
    pub name: String,
    pub image: String,
    pub backend: String,
    pub state: StepState,
    /// The ask's kind and the digest of its text.
    pub ask_kind: String,
    pub ask: Digest,
    /// Which submission it is; 0 before the first, and of one that was never submitted.
    pub try_: u32,
    pub key: Option<Digest>,
    pub reused_from: Option<StepId>,
    pub container: Option<String>,
    /// Of one that has ended.
    pub outcome: Option<StepEndRow>,
    pub outcome_seq: Option<u32>,
    pub files: Vec<StepFile>,
    pub stdout: Option<StepLog>,
    pub stderr: Option<StepLog>,
    pub intended_ms: Millis,
    pub submitted_ms: Option<Millis>,
    pub running_ms: Option<Millis>,
    pub ended_ms: Option<Millis>,
}

/// Of a text the end, in bytes: it may hold a NUL that a container wrote.
macro_rules! select_step {
    ($rest:literal) => {
        concat!(
            "SELECT s.run, s.attempt, s.ordinal, s.state, s.name, s.image, s.backend, s.step_key, s.try,
                    s.container, s.intended_ms, s.submitted_ms, s.running_ms, s.ended_ms, s.outcome_seq,
                    s.exit_code, s.failure_class, s.failure_code, s.failure_message, s.failure_advice,
                    s.failure_is_answer, s.wall_ms, s.cpu_ms, s.peak_memory_bytes, s.queue_ms,
                    s.reused_run, s.reused_attempt, s.reused_ordinal, k.kind, k.digest AS ask,
                    substr(CAST(s.stdout_tail AS BLOB), -$1) AS stdout_end,
                    substr(CAST(s.stderr_tail AS BLOB), -$1) AS stderr_end
             FROM steps s JOIN asks k ON k.run = s.run AND k.attempt = s.attempt AND k.ordinal = s.ordinal ",
            $rest
        )
    };
}

/// What one reading of steps is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// In their order.
    Attempt(AttemptId),
    One(StepId),
    /// Of all runs, those that have not ended.
    Open,
}

/// Steps with their files; of what each printed at most `tail_bytes`.
pub(super) async fn read_steps(
    connection: &mut SqliteConnection,
    which: Which,
    tail_bytes: usize,
) -> Result<Vec<StepRow>, LedgerError> {
    let (sql, run, attempt, ordinal) = match which {
        Which::Attempt(id) => (
            select_step!("WHERE s.run = $2 AND s.attempt = $3 ORDER BY s.ordinal"),
            Some(id.run),
            Some(id.ordinal),
            None,
        ),
        Which::One(id) => (
            select_step!("WHERE s.run = $2 AND s.attempt = $3 AND s.ordinal = $4"),
            Some(id.attempt.run),
            Some(id.attempt.ordinal),
            Some(id.ordinal),
        ),
        Which::Open => (
            select_step!(
                "WHERE s.state IN ('intended', 'submitted', 'running') ORDER BY s.run, s.attempt, s.ordinal"
            ),
            None,
            None,
            None,
        ),
    };
    let rows = sqlx::query(sql)
        .bind(i64::try_from(tail_bytes).unwrap_or(i64::MAX))
        .bind(run.map(|run| run.to_string()))
        .bind(attempt.map(i64::from))
        .bind(ordinal.map(i64::from))
        .fetch_all(&mut *connection)
        .await
        .map_err(database("read steps"))?;
    let mut steps = rows.iter().map(step_row).collect::<Result<Vec<_>, _>>()?;
    // An open step has no files.
    if steps.iter().any(|step| step.state.is_terminal()) {
        read_files(connection, which, &mut steps).await?;
    }
    Ok(steps)
}

pub(super) async fn read_step(
    connection: &mut SqliteConnection,
    step: StepId,
) -> Result<Option<StepRow>, LedgerError> {
    Ok(read_steps(connection, Which::One(step), STEP_TAIL_BYTES_MAX).await?.pop())
}

async fn read_files(
    connection: &mut SqliteConnection,
    which: Which,
    steps: &mut [StepRow],
) -> Result<(), LedgerError> {
    let (attempt, only) = match which {
        Which::Attempt(attempt) => (attempt, None),
        Which::One(step) => (step.attempt, Some(step.ordinal)),
        Which::Open => return Ok(()),
    };
    let sql = "SELECT f.ordinal, f.kind, f.name, f.type, f.digest, o.size_bytes
               FROM step_files f JOIN objects o ON o.digest = f.digest
               WHERE f.run = $1 AND f.attempt = $2 AND f.ordinal = COALESCE($3, f.ordinal)
               ORDER BY f.ordinal, f.place";
    let rows = sqlx::query(sql)
        .bind(attempt.run.to_string())
        .bind(i64::from(attempt.ordinal))
        .bind(only.map(i64::from))
        .fetch_all(connection)
        .await
        .map_err(database("read the files of steps"))?;
    for row in &rows {
        let ordinal: u32 = count(row, "ordinal")?;
        if let Some(step) = steps.iter_mut().find(|step| step.id.ordinal == ordinal) {
            put_file(step, row)?;
        }
    }
    Ok(())
}

fn put_file(step: &mut StepRow, row: &SqliteRow) -> Result<(), LedgerError> {
    let (digest, size_bytes) = (parsed(row, "digest")?, count(row, "size_bytes")?);
    match text(row, "kind")?.as_str() {
        "stdout" => step.stdout = Some(StepLog { digest, size_bytes }),
        "stderr" => step.stderr = Some(StepLog { digest, size_bytes }),
        _capture => {
            let (name, artifact_type) = (text(row, "name")?, parsed(row, "type")?);
            step.files.push(StepFile { name, artifact_type, digest, size_bytes });
        }
    }
    Ok(())
}

fn step_row(row: &SqliteRow) -> Result<StepRow, LedgerError> {
    let state: StepState = parsed(row, "state")?;
    let outcome = state.is_terminal().then(|| end_row(row)).transpose()?;
    let attempt = AttemptId { run: parsed(row, "run")?, ordinal: count(row, "attempt")? };
    Ok(StepRow {
        id: StepId { attempt, ordinal: count(row, "ordinal")? },
        name: text(row, "name")?,
        image: text(row, "image")?,
        backend: text(row, "backend")?,
        state,
        ask_kind: text(row, "kind")?,
        ask: parsed(row, "ask")?,
        try_: count(row, "try")?,
        key: maybe_parsed(row, "step_key")?,
        reused_from: reused_from(row)?,
        container: maybe_text(row, "container")?,
        outcome,
        outcome_seq: maybe_count(row, "outcome_seq")?,
        files: Vec::new(),
        stdout: None,
        stderr: None,
        intended_ms: millis(row, "intended_ms")?,
        submitted_ms: maybe_millis(row, "submitted_ms")?,
        running_ms: maybe_millis(row, "running_ms")?,
        ended_ms: maybe_millis(row, "ended_ms")?,
    })
}

fn end_row(row: &SqliteRow) -> Result<StepEndRow, LedgerError> {
    let exit_code = maybe_millis(row, "exit_code")?;
    let exit_code = exit_code
        .map(|code| i32::try_from(code).map_err(|_range| damaged(format!("column exit_code holds {code}"))));
    Ok(StepEndRow {
        exit_code: exit_code.transpose()?,
        stdout_tail: text_end(row, "stdout_end")?,
        stderr_tail: text_end(row, "stderr_end")?,
        failure: failure_of(row)?,
        usage: StepUsage {
            wall_ms: count(row, "wall_ms")?,
            cpu_ms: count(row, "cpu_ms")?,
            peak_memory_bytes: count(row, "peak_memory_bytes")?,
            queue_ms: count(row, "queue_ms")?,
        },
    })
}

fn reused_from(row: &SqliteRow) -> Result<Option<StepId>, LedgerError> {
    let Some(run) = maybe_parsed::<RunId>(row, "reused_run")? else { return Ok(None) };
    let attempt = AttemptId { run, ordinal: count(row, "reused_attempt")? };
    Ok(Some(StepId { attempt, ordinal: count(row, "reused_ordinal")? }))
}

fn maybe_count(row: &SqliteRow, column: &'static str) -> Result<Option<u32>, LedgerError> {
    if maybe_millis(row, column)?.is_some() { count(row, column).map(Some) } else { Ok(None) }
}
