//! How steps are asked for, move and end. Every change of state is one guarded `UPDATE` built from
//! `StepState::predecessors`, with its event in the run's chain in the same transaction (invariants
//! I-7 and I-8). A step belongs to whoever owns its attempt.

use helix_ids::{ArtifactType, Digest, ProjectId};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

use super::artifacts::insert_object;
use super::bodies;
use super::chain::Chain;
use super::column::{parsed, stored};
use super::error::{damaged, database};
use super::step_rows::{Which, read_step, read_steps};
use super::{
    Asked, AttemptId, Failure, Ledger, LedgerError, Millis, NewAsk, STEP_TAIL_BYTES_MAX, Seal, StepEndRow,
    StepId, StepOutcome, StepRow, StepState, StepUsage,
};

impl Ledger {
    /// Commits an ask with its step, `intended`, before any effect. One that stands at that ordinal
    /// already is compared with it, by kind and text. The attempt is `running` or `waiting`, and
    /// stays so.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when the attempt is not this owner's or has ended;
    /// [`LedgerError::Database`] also when an ordinal is left out.
    pub async fn ask(&self, step: StepId, ask: &NewAsk) -> Result<Asked, LedgerError> {
        let (ask, owner) = (ask.clone(), self.owner().to_owned());
        self.write(move |connection| Box::pin(async move { ask_once(connection, &owner, step, &ask).await }))
            .await
    }

    /// All steps of an attempt, in the order in which they were asked for.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn steps(&self, attempt: AttemptId) -> Result<Vec<StepRow>, LedgerError> {
        self.steps_with_tails(attempt, STEP_TAIL_BYTES_MAX).await
    }

    /// One step, if it was asked for.
    ///
    /// # Errors
    /// As [`Self::steps`].
    pub async fn step(&self, step: StepId) -> Result<Option<StepRow>, LedgerError> {
        let mut reading = self.reads().begin().await.map_err(database("read a step"))?;
        read_step(&mut reading, step).await
    }

    /// The same with so much at most of what each printed, its end.
    ///
    /// # Errors
    /// As [`Self::steps`].
    pub async fn steps_with_tails(
        &self,
        attempt: AttemptId,
        tail_bytes: usize,
    ) -> Result<Vec<StepRow>, LedgerError> {
        self.read(Which::Attempt(attempt), tail_bytes).await
    }

    /// The steps of all runs that have not ended.
    ///
    /// # Errors
    /// As [`Self::steps`].
    pub async fn open_steps(&self) -> Result<Vec<StepRow>, LedgerError> {
        self.read(Which::Open, 0).await
    }

    /// The whole log of an attempt's tool.
    ///
    /// # Errors
    /// As [`Self::steps`].
    pub async fn log(&self, attempt: AttemptId) -> Result<String, LedgerError> {
        let mut reading = self.reads().begin().await.map_err(database("read a log"))?;
        super::runs::log_of(&mut reading, attempt).await
    }

    async fn read(&self, which: Which, tail_bytes: usize) -> Result<Vec<StepRow>, LedgerError> {
        // One transaction, so that steps and their files are of one moment.
        let mut reading = self.reads().begin().await.map_err(database("read steps"))?;
        read_steps(&mut reading, which, tail_bytes).await
    }

    /// The newest step of this project that is `done` under this key and ran itself: its outcome is
    /// what another with the same key would come to.
    ///
    /// # Errors
    /// As [`Self::steps`].
    pub async fn step_with_key(
        &self,
        project: ProjectId,
        key: Digest,
    ) -> Result<Option<StepRow>, LedgerError> {
        let mut reading = self.reads().begin().await.map_err(database("look for a step"))?;
        let sql = "SELECT s.run, s.attempt, s.ordinal FROM steps s CROSS JOIN runs r ON r.id = s.run
                   WHERE s.step_key = $1 AND s.state = 'done' AND s.reused_run IS NULL AND r.project = $2
                   ORDER BY s.ended_ms DESC LIMIT 1";
        let found = sqlx::query(sql)
            .bind(key.to_string())
            .bind(project.to_string())
            .fetch_optional(&mut *reading)
            .await
            .map_err(database("look for a step"))?;
        let Some(row) = found else { return Ok(None) };
        let attempt =
            AttemptId { run: parsed(&row, "run")?, ordinal: super::column::count(&row, "attempt")? };
        read_step(&mut reading, StepId { attempt, ordinal: super::column::count(&row, "ordinal")? }).await
    }

    /// Says under which key the step's outcome will stand. The same key again is a no-op.
    ///
    /// # Errors
    /// [`LedgerError::Lost`]; [`LedgerError::Damaged`] when it has another key already.
    pub async fn step_keyed(&self, step: StepId, key: Digest) -> Result<(), LedgerError> {
        let owner = self.owner().to_owned();
        self.write(move |connection| Box::pin(async move { set_key(connection, &owner, step, key).await }))
            .await
    }

    /// Counts a submission, before the backend is called (invariant I-8).
    ///
    /// # Errors
    /// [`LedgerError::Lost`] unless the step is `intended`; [`LedgerError::Database`] also when it
    /// has no key yet.
    pub async fn step_submitted(&self, step: StepId, try_: u32) -> Result<(), LedgerError> {
        let owner = self.owner().to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                let sql =
                    guarded("state = $5, try = $6, submitted_ms = $7", StepState::Submitted.predecessors());
                let now_ms = Self::now_ms();
                let query = of_step(&sql, step, &owner).bind(StepState::Submitted.as_str());
                moved(connection, query.bind(i64::from(try_)).bind(now_ms)).await?;
                tell(connection, step, StepState::Submitted, now_ms).await
            })
        })
        .await
    }

    /// The backend runs the step in this container.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] unless the step is `submitted`.
    pub async fn step_running(&self, step: StepId, container: &str) -> Result<(), LedgerError> {
        let (owner, container) = (self.owner().to_owned(), container.to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                let sql =
                    guarded("state = $5, container = $6, running_ms = $7", StepState::Running.predecessors());
                let now_ms = Self::now_ms();
                let query = of_step(&sql, step, &owner).bind(StepState::Running.as_str());
                moved(connection, query.bind(container).bind(now_ms)).await?;
                tell(connection, step, StepState::Running, now_ms).await
            })
        })
        .await
    }

    /// Ends a step: state, outcome, files, objects, all in one transaction. Returns its place in the
    /// order in which the outcomes of its attempt became known, from 0.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when it is not this owner's or cannot end so; what was never submitted
    /// cannot be `done` here. [`LedgerError::Damaged`] for a file whose size is not its seal's.
    pub async fn step_ended(&self, step: StepId, outcome: &StepOutcome) -> Result<u32, LedgerError> {
        let (outcome, owner) = (outcome.clone(), self.owner().to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                let from: Vec<StepState> = predecessors_by_itself(outcome.state);
                let end = StepEndRow {
                    exit_code: outcome.exit_code,
                    stdout_tail: outcome.stdout_tail.clone(),
                    stderr_tail: outcome.stderr_tail.clone(),
                    failure: outcome.failure.clone(),
                    usage: outcome.usage,
                };
                refuse_lost(connection, &owner, step, &from).await?;
                insert_files(connection, step, &outcome).await?;
                end_step(connection, &owner, step, outcome.state, &from, &end, None).await
            })
        })
        .await
    }

    /// Ends a step that is `intended` with the outcome of one that is done: its exit code, tails and
    /// files. It used nothing itself.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when it is not this owner's or was submitted; [`LedgerError::Damaged`]
    /// when the other did not run itself to its end, has another key or is of another project.
    pub async fn step_reused(&self, step: StepId, from: StepId) -> Result<u32, LedgerError> {
        let owner = self.owner().to_owned();
        self.write(move |connection| Box::pin(async move { reuse(connection, &owner, step, from).await }))
            .await
    }
}

const IN_STEP: &str = "run = $1 AND attempt = $2 AND ordinal = $3";

/// The attempt is this owner's and open.
const OWNED: &str = "EXISTS (SELECT 1 FROM attempts a WHERE a.run = $1 AND a.ordinal = $2 AND a.owner = $4
                             AND a.state IN ('queued', 'running', 'waiting'))";

/// An `UPDATE` of one step out of some states, built from constants only.
fn guarded(set: &str, from: &[StepState]) -> String {
    format!("UPDATE steps SET {set} WHERE {IN_STEP} AND {} AND {OWNED}", in_states(from))
}

fn in_states(from: &[StepState]) -> String {
    let states: Vec<String> = from.iter().map(|state| format!("'{state}'")).collect();
    format!("state IN ({})", states.join(", "))
}

/// Where a step may come from when nothing is reused: what is done was submitted.
fn predecessors_by_itself(to: StepState) -> Vec<StepState> {
    let from = to.predecessors().iter().copied();
    from.filter(|from| to.is_terminal() && (to != StepState::Done || *from != StepState::Intended)).collect()
}

/// With the step as $1 to $3 and the owner as $4.
fn of_step(sql: &str, step: StepId, owner: &str) -> Query<'static, Sqlite, SqliteArguments> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .bind(step.attempt.run.to_string())
        .bind(i64::from(step.attempt.ordinal))
        .bind(i64::from(step.ordinal))
        .bind(owner.to_owned())
}

async fn moved(
    connection: &mut SqliteConnection,
    query: Query<'static, Sqlite, SqliteArguments>,
) -> Result<(), LedgerError> {
    let done = query.execute(connection).await.map_err(database("move a step"))?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(LedgerError::Lost) }
}

/// So that a lost race is told as one; the guarded update still decides.
async fn refuse_lost(
    connection: &mut SqliteConnection,
    owner: &str,
    step: StepId,
    from: &[StepState],
) -> Result<(), LedgerError> {
    let sql = format!("SELECT 1 FROM steps WHERE {IN_STEP} AND {} AND {OWNED}", in_states(from));
    let found =
        of_step(&sql, step, owner).fetch_optional(connection).await.map_err(database("read a step"))?;
    found.map(drop).ok_or(LedgerError::Lost)
}

/// Appends the event that says how the step stands now.
async fn tell(
    connection: &mut SqliteConnection,
    step: StepId,
    entered: StepState,
    at_ms: Millis,
) -> Result<(), LedgerError> {
    let row = read_step(connection, step).await?.ok_or_else(|| damaged("a step was lost while it moved"))?;
    let mut chain = Chain::find(connection, step.attempt.run.to_string()).await?;
    let kind = format!("{}{entered}", bodies::STEP_PREFIX);
    chain.append(connection, at_ms, &kind, &bodies::step(&row, entered)).await
}

async fn ask_once(
    connection: &mut SqliteConnection,
    owner: &str,
    step: StepId,
    ask: &NewAsk,
) -> Result<Asked, LedgerError> {
    // Also for one that only hears what stands there: who lost the attempt must do nothing more.
    let owned = format!("SELECT 1 WHERE {OWNED}");
    let owned = of_step(&owned, step, owner).fetch_optional(&mut *connection).await;
    owned.map_err(database("read an attempt"))?.ok_or(LedgerError::Lost)?;
    let found: Option<(String, String)> =
        sqlx::query_as(AssertSqlSafe(format!("SELECT kind, text FROM asks WHERE {IN_STEP}")))
            .bind(step.attempt.run.to_string())
            .bind(i64::from(step.attempt.ordinal))
            .bind(i64::from(step.ordinal))
            .fetch_optional(&mut *connection)
            .await
            .map_err(database("read an ask"))?;
    let Some((kind, text)) = found else {
        insert_ask(connection, owner, step, ask).await?;
        return Ok(Asked::New);
    };
    if kind != ask.kind || text != ask.text {
        return Ok(Asked::Different { expected: text, came: ask.text.clone() });
    }
    let row = read_step(connection, step).await?.ok_or_else(|| damaged("an ask without its step"))?;
    Ok(Asked::Known(Box::new(row)))
}

async fn insert_ask(
    connection: &mut SqliteConnection,
    owner: &str,
    step: StepId,
    ask: &NewAsk,
) -> Result<(), LedgerError> {
    let now_ms = Ledger::now_ms();
    let sql = format!(
        "INSERT INTO asks (run, attempt, ordinal, kind, text, digest, at_ms)
         SELECT $1, $2, $3, $5, $6, $7, $8 WHERE {OWNED}"
    );
    let query = of_step(&sql, step, owner)
        .bind(ask.kind)
        .bind(ask.text.clone())
        .bind(Digest::of(ask.text.as_bytes()).to_string())
        .bind(now_ms);
    moved(connection, query).await?;
    let sql = format!(
        "INSERT INTO steps (run, attempt, ordinal, state, name, image, backend, try, intended_ms,
                            stdout_tail, stderr_tail, wall_ms, cpu_ms, peak_memory_bytes, queue_ms)
         SELECT $1, $2, $3, $5, $6, $7, $8, 0, $9, '', '', 0, 0, 0, 0 WHERE {OWNED}"
    );
    let query = of_step(&sql, step, owner)
        .bind(StepState::Intended.as_str())
        .bind(ask.name.clone())
        .bind(ask.image.clone())
        .bind(ask.backend.clone())
        .bind(now_ms);
    moved(connection, query).await?;
    tell(connection, step, StepState::Intended, now_ms).await
}

async fn set_key(
    connection: &mut SqliteConnection,
    owner: &str,
    step: StepId,
    key: Digest,
) -> Result<(), LedgerError> {
    let sql = guarded("step_key = COALESCE(step_key, $5)", &[StepState::Intended]);
    moved(connection, of_step(&sql, step, owner).bind(key.to_string())).await?;
    let kept = read_step(connection, step).await?.and_then(|row| row.key);
    // What is kept decides: another one means that it does not follow from what was asked.
    if kept == Some(key) { Ok(()) } else { Err(damaged(format!("step {} has two keys", step.ordinal))) }
}

async fn end_step(
    connection: &mut SqliteConnection,
    owner: &str,
    step: StepId,
    to: StepState,
    from: &[StepState],
    end: &StepEndRow,
    reused: Option<StepId>,
) -> Result<u32, LedgerError> {
    let now_ms = Ledger::now_ms();
    let sql = guarded(
        "state = $5, ended_ms = $6, exit_code = $7, stdout_tail = $8, stderr_tail = $9, failure_class = $10,
         failure_code = $11, failure_message = $12, failure_advice = $13, failure_is_answer = $14,
         wall_ms = $15, cpu_ms = $16, peak_memory_bytes = $17, queue_ms = $18, reused_run = $19,
         reused_attempt = $20, reused_ordinal = $21,
         outcome_seq = (SELECT COALESCE(MAX(m.outcome_seq) + 1, 0) FROM steps m
                        WHERE m.run = $1 AND m.attempt = $2)",
        from,
    );
    let failure = end.failure.as_ref();
    let of_failure = |part: fn(&Failure) -> &String| failure.map(|failure| part(failure).clone());
    let query = of_step(&sql, step, owner)
        .bind(to.as_str())
        .bind(now_ms)
        .bind(end.exit_code.map(i64::from))
        .bind(capped(&end.stdout_tail))
        .bind(capped(&end.stderr_tail))
        .bind(of_failure(|failure| &failure.class))
        .bind(of_failure(|failure| &failure.code))
        .bind(of_failure(|failure| &failure.message))
        .bind(of_failure(|failure| &failure.advice))
        .bind(failure.map(|failure| i64::from(failure.is_answer)))
        .bind(stored(end.usage.wall_ms))
        .bind(stored(end.usage.cpu_ms))
        .bind(stored(end.usage.peak_memory_bytes))
        .bind(stored(end.usage.queue_ms))
        .bind(reused.map(|from| from.attempt.run.to_string()))
        .bind(reused.map(|from| i64::from(from.attempt.ordinal)))
        .bind(reused.map(|from| i64::from(from.ordinal)));
    moved(connection, query).await?;
    tell(connection, step, to, now_ms).await?;
    let row = read_step(connection, step).await?;
    row.and_then(|row| row.outcome_seq).ok_or_else(|| damaged("a step ended without a place in the order"))
}

/// The end of what a step printed, whole characters.
fn capped(tail: &str) -> String {
    let start = tail.ceil_char_boundary(tail.len().saturating_sub(STEP_TAIL_BYTES_MAX));
    tail.get(start..).unwrap_or_default().to_owned()
}

async fn reuse(
    connection: &mut SqliteConnection,
    owner: &str,
    step: StepId,
    from: StepId,
) -> Result<u32, LedgerError> {
    let before = [StepState::Intended];
    refuse_lost(connection, owner, step, &before).await?;
    let made = read_step(connection, from).await?.filter(|made| made.state == StepState::Done);
    let mine = read_step(connection, step).await?;
    let (Some(made), Some(mine)) = (made, mine) else {
        return Err(damaged("a step that is not done would be used again"));
    };
    let same_project = project_of(connection, step).await? == project_of(connection, from).await?;
    if made.key.is_none() || made.key != mine.key || made.reused_from.is_some() || !same_project {
        return Err(damaged("a step would take the outcome of one that is not its own"));
    }
    let sql = "INSERT INTO step_files (run, attempt, ordinal, place, kind, name, type, digest)
               SELECT $1, $2, $3, f.place, f.kind, f.name, f.type, f.digest FROM step_files f
               WHERE f.run = $4 AND f.attempt = $5 AND f.ordinal = $6";
    sqlx::query(sql)
        .bind(step.attempt.run.to_string())
        .bind(i64::from(step.attempt.ordinal))
        .bind(i64::from(step.ordinal))
        .bind(from.attempt.run.to_string())
        .bind(i64::from(from.attempt.ordinal))
        .bind(i64::from(from.ordinal))
        .execute(&mut *connection)
        .await
        .map_err(database("take a step's files over"))?;
    let end = made.outcome.ok_or_else(|| damaged("a step is done without an outcome"))?;
    let end = StepEndRow { usage: StepUsage::default(), ..end };
    end_step(connection, owner, step, StepState::Done, &before, &end, Some(from)).await
}

async fn project_of(connection: &mut SqliteConnection, step: StepId) -> Result<ProjectId, LedgerError> {
    let row = sqlx::query("SELECT project FROM runs WHERE id = $1")
        .bind(step.attempt.run.to_string())
        .fetch_one(connection)
        .await
        .map_err(database("read a run's project"))?;
    parsed(&row, "project")
}

/// One that is put with a step.
struct Kept<'a> {
    kind: &'static str,
    name: &'a str,
    artifact_type: ArtifactType,
    digest: Digest,
    size_bytes: u64,
    seal: &'a Seal,
}

fn kept(outcome: &StepOutcome) -> impl Iterator<Item = Kept<'_>> {
    let captured = outcome.files.iter().map(|file| Kept {
        kind: "capture",
        name: &file.name,
        artifact_type: file.artifact_type,
        digest: file.digest,
        size_bytes: file.size_bytes,
        seal: &file.seal,
    });
    let logs = [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)].into_iter();
    captured.chain(logs.filter_map(|(kind, log)| {
        let log = log.as_ref()?;
        let (digest, size_bytes, seal) = (log.digest, log.size_bytes, &log.seal);
        Some(Kept { kind, name: kind, artifact_type: ArtifactType::Log, digest, size_bytes, seal })
    }))
}

async fn insert_files(
    connection: &mut SqliteConnection,
    step: StepId,
    outcome: &StepOutcome,
) -> Result<(), LedgerError> {
    let project = project_of(connection, step).await?;
    let sql = "INSERT INTO step_files (run, attempt, ordinal, place, kind, name, type, digest)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    for (place, file) in (0_i64..).zip(kept(outcome)) {
        if file.size_bytes != file.seal.size_bytes {
            return Err(damaged(format!("{} has another size than its bytes", file.digest)));
        }
        insert_object(connection, file.digest, file.seal).await?;
        count_bytes(connection, project, &file).await?;
        sqlx::query(sql)
            .bind(step.attempt.run.to_string())
            .bind(i64::from(step.attempt.ordinal))
            .bind(i64::from(step.ordinal))
            .bind(place)
            .bind(file.kind)
            .bind(file.name)
            .bind(file.artifact_type.as_str())
            .bind(file.digest.to_string())
            .execute(&mut *connection)
            .await
            .map_err(database("add a step's file"))?;
    }
    Ok(())
}

/// Counts bytes that the project does not have yet, as an artifact or as another step's file.
async fn count_bytes(
    connection: &mut SqliteConnection,
    project: ProjectId,
    file: &Kept<'_>,
) -> Result<(), LedgerError> {
    let sql = "UPDATE projects SET store_bytes = store_bytes + $1 WHERE id = $2
               AND NOT EXISTS (SELECT 1 FROM artifacts WHERE digest = $3 AND project = $2)
               AND NOT EXISTS (SELECT 1 FROM step_files f JOIN runs r ON r.id = f.run
                               WHERE f.digest = $3 AND r.project = $2)";
    sqlx::query(sql)
        .bind(stored(file.size_bytes))
        .bind(project.to_string())
        .bind(file.digest.to_string())
        .execute(connection)
        .await
        .map_err(database("count a project's bytes"))?;
    Ok(())
}

/// Ends the open steps of an attempt whose end could not be written when it came. What was
/// submitted may run still: its container belongs to nobody then, and is cleared as such.
pub(super) async fn give_up(
    connection: &mut SqliteConnection,
    owner: &str,
    attempt: AttemptId,
) -> Result<(), LedgerError> {
    for step in read_steps(connection, Which::Attempt(attempt), 0).await? {
        let (to, failure) = match step.state {
            StepState::Intended => (StepState::Cancelled, None),
            StepState::Submitted | StepState::Running => (StepState::Lost, Some(never_written())),
            _ended => continue,
        };
        let end = StepEndRow {
            exit_code: None,
            stdout_tail: String::new(),
            stderr_tail: String::new(),
            failure,
            usage: StepUsage::default(),
        };
        end_step(connection, owner, step.id, to, to.predecessors(), &end, None).await?;
    }
    Ok(())
}

fn never_written() -> Failure {
    Failure {
        class: "fault".to_owned(),
        code: "host_fault".to_owned(),
        message: "its end could not be written when it came".to_owned(),
        advice: "a later attempt follows".to_owned(),
        is_answer: false,
    }
}
