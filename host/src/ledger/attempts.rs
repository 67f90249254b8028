//! How attempts begin, move and end. Every change of state is one guarded `UPDATE` built from
//! `AttemptState::predecessors`, with its event in the same transaction (invariant I-7).

use helix_ids::{Digest, RunId, RunIdentity};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::artifacts::insert_artifact;
use super::bodies::{self, End};
use super::chain::Chain;
use super::column::{count, parsed, stored, text};
use super::error::{damaged, database};
use super::{
    AttemptId, AttemptRow, AttemptState, Failure, Ledger, LedgerError, Millis, NewAttempt, NewRun, Outcome,
    OutputRow, RunRow, Used,
};

impl Ledger {
    /// Writes a run (if new) and an attempt in state `queued`.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when another attempt of this run is not terminal;
    /// [`LedgerError::Damaged`] when the run's id does not follow from its parts (I-6).
    pub async fn begin(&self, run: &NewRun, attempt: &NewAttempt) -> Result<AttemptId, LedgerError> {
        let (run, attempt, owner) = (run.clone(), attempt.clone(), self.owner().to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                let (id, _chain) = begin(connection, &owner, &run, &attempt).await?;
                Ok(id)
            })
        })
        .await
    }

    /// Moves an attempt that this owner holds; [`LedgerError::Lost`] if it cannot go there. An
    /// end is entered by [`Self::conclude`], which brings what the end promises.
    ///
    /// # Errors
    /// [`LedgerError::Lost`], [`LedgerError::Database`].
    pub async fn advance(&self, attempt: AttemptId, to: AttemptState) -> Result<(), LedgerError> {
        if to.is_terminal() || to.predecessors().is_empty() {
            return Err(LedgerError::Lost);
        }
        let owner = self.owner().to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                let mut chain = Chain::find(connection, attempt.run.to_string()).await?;
                advance(connection, &mut chain, &owner, attempt, to, Self::now_ms()).await
            })
        })
        .await
    }

    /// Ends an attempt that was begun: state, outputs, artifacts, events, all in one transaction.
    ///
    /// # Errors
    /// [`LedgerError::Lost`] when it is not this owner's or cannot end so.
    pub async fn conclude(
        &self,
        attempt: AttemptId,
        used: &Used,
        outcome: &Outcome,
    ) -> Result<(), LedgerError> {
        let (used, outcome, owner) = (used.clone(), outcome.clone(), self.owner().to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                if matches!(outcome, Outcome::Succeeded { .. }) {
                    refuse_lost(connection, &owner, attempt, AttemptState::Succeeded).await?;
                }
                let mut chain = Chain::find(connection, attempt.run.to_string()).await?;
                conclude(connection, &mut chain, &owner, attempt, &used, &outcome).await
            })
        })
        .await
    }

    /// `begin`, `advance` and `conclude` of a short run, in one commit.
    ///
    /// # Errors
    /// As of the three.
    pub async fn record(
        &self,
        run: &NewRun,
        attempt: &NewAttempt,
        used: &Used,
        outcome: &Outcome,
    ) -> Result<AttemptId, LedgerError> {
        let (run, attempt) = (run.clone(), attempt.clone());
        let (used, outcome, owner) = (used.clone(), outcome.clone(), self.owner().to_owned());
        self.write(move |connection| {
            Box::pin(async move {
                let (id, mut chain) = begin(connection, &owner, &run, &attempt).await?;
                let started_ms = attempt.created_ms;
                advance(connection, &mut chain, &owner, id, AttemptState::Running, started_ms).await?;
                conclude(connection, &mut chain, &owner, id, &used, &outcome).await?;
                Ok(id)
            })
        })
        .await
    }

    /// Ends an attempt of this run that is this owner's own and not terminal. Its end could not be
    /// written when it came, e.g. on a full disk; whoever calls this carries the run now, so nobody
    /// else does.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn close_stale(&self, run: RunId) -> Result<(), LedgerError> {
        let owner = self.owner().to_owned();
        self.write(move |connection| Box::pin(async move { close_stale(connection, &owner, run).await }))
            .await
    }

    /// Attempts that are not terminal and that another owner left, with their runs; each is
    /// taken over: this owner's name is put in and `takeovers` counted up.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn take_over(&self) -> Result<Vec<(RunRow, AttemptRow)>, LedgerError> {
        let owner = self.owner().to_owned();
        self.write(move |connection| Box::pin(async move { take_over(connection, &owner).await })).await
    }
}

/// I-6: the id follows from tool, contract version and the two hashes, the hashes from their texts.
pub(super) fn identity_break(run: &NewRun) -> Option<String> {
    let identity = RunIdentity {
        tool: run.tool.clone(),
        contract: run.contract.clone(),
        policy_hash: run.policy_hash,
        params_hash: run.params_hash,
    };
    let checks = [
        (identity.digest() == run.digest, "digest does not follow from its identity"),
        (identity.run_id() == run.id, "id does not follow from its identity"),
        (Digest::of(run.envelope.as_bytes()) == run.params_hash, "envelope does not hash to params_hash"),
        (Digest::of(run.slice.as_bytes()) == run.policy_hash, "policy slice does not hash to policy_hash"),
    ];
    checks.iter().find(|(holds, _)| !holds).map(|(_, what)| format!("{}: its {what}", run.id))
}

async fn begin(
    connection: &mut SqliteConnection,
    owner: &str,
    run: &NewRun,
    attempt: &NewAttempt,
) -> Result<(AttemptId, Chain), LedgerError> {
    if let Some(what) = identity_break(run) {
        return Err(damaged(what));
    }
    // A short run is written when it has ended, so its time is the attempt's and not that of the commit.
    let begun_ms = attempt.created_ms;
    let mut chain = Chain::find(connection, run.id.to_string()).await?;
    if insert_run(connection, run, begun_ms).await? {
        chain.append(connection, begun_ms, bodies::IDENTIFIED, &bodies::identified(run)).await?;
    }
    sqlx::query("INSERT INTO policies (digest, text) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
        .bind(attempt.policy_file.to_string())
        .bind(&attempt.policy_text)
        .execute(&mut *connection)
        .await
        .map_err(database("keep the policy's text"))?;
    let ordinal = insert_attempt(connection, owner, run, attempt).await?;
    let body = bodies::queued(ordinal, attempt, owner);
    chain.append(connection, attempt.created_ms, &event_kind(AttemptState::Queued), &body).await?;
    Ok((AttemptId { run: run.id, ordinal }, chain))
}

/// Whether the run is new.
async fn insert_run(
    connection: &mut SqliteConnection,
    run: &NewRun,
    now_ms: Millis,
) -> Result<bool, LedgerError> {
    let sql = "INSERT INTO runs (id, digest, project, tool, contract, component, params_hash, policy_hash,
                                 envelope, slice, created_ms)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(run.id.to_string())
        .bind(run.digest.to_string())
        .bind(run.project.to_string())
        .bind(run.tool.as_str())
        .bind(run.contract.as_str())
        .bind(run.component.to_string())
        .bind(run.params_hash.to_string())
        .bind(run.policy_hash.to_string())
        .bind(&run.envelope)
        .bind(&run.slice)
        .bind(now_ms)
        .execute(&mut *connection)
        .await
        .map_err(database("add a run"))?;
    if done.rows_affected() == 0 {
        let digest: String = sqlx::query_scalar("SELECT digest FROM runs WHERE id = $1")
            .bind(run.id.to_string())
            .fetch_one(connection)
            .await
            .map_err(database("read a run's digest"))?;
        // The id is half of the digest; the whole is compared before a stored run is used.
        let same = digest == run.digest.to_string();
        return if same { Ok(false) } else { Err(damaged(format!("{} stands for two digests", run.id))) };
    }
    let sql = "INSERT INTO inputs (run, place, role, position, sample, artifact)
               VALUES ($1, $2, $3, $4, $5, $6)";
    for (place, input) in (0_i64..).zip(&run.inputs) {
        sqlx::query(sql)
            .bind(run.id.to_string())
            .bind(place)
            .bind(input.role.as_str())
            .bind(i64::from(input.index))
            .bind(input.sample.as_ref().map(|sample| sample.as_str()))
            .bind(input.artifact.to_string())
            .execute(&mut *connection)
            .await
            .map_err(database("add a run's input"))?;
    }
    Ok(true)
}

/// The new attempt's ordinal.
async fn insert_attempt(
    connection: &mut SqliteConnection,
    owner: &str,
    run: &NewRun,
    attempt: &NewAttempt,
) -> Result<u32, LedgerError> {
    let sql = "INSERT INTO attempts (run, ordinal, state, owner, caller, takeovers, policy_file, engine,
                                     host_version, plan, created_ms, fuel, memory_bytes, wall_ms,
                                     log_dropped_bytes, log)
               SELECT $1, COALESCE(MAX(ordinal), 0) + 1, 'queued', $2, $3, 0, $4, $5, $6, $7, $8, 0, 0, 0, 0, ''
               FROM attempts WHERE run = $1
               RETURNING ordinal";
    let row = sqlx::query(sql)
        .bind(run.id.to_string())
        .bind(owner)
        .bind(&attempt.caller)
        .bind(attempt.policy_file.to_string())
        .bind(&attempt.engine)
        .bind(&attempt.host_version)
        .bind(&attempt.plan)
        .bind(attempt.created_ms)
        .fetch_one(connection)
        .await
        .map_err(|error| {
            // The partial unique index: somebody else's attempt is not terminal yet.
            let taken = error.as_database_error().is_some_and(|error| error.is_unique_violation());
            if taken { LedgerError::Lost } else { database("begin an attempt")(error) }
        })?;
    count(&row, "ordinal")
}

/// `state IN (…)`, built from the one list and from constants only.
fn guard(to: AttemptState) -> String {
    let states: Vec<String> = to.predecessors().iter().map(|state| format!("'{state}'")).collect();
    format!("state IN ({})", states.join(", "))
}

fn event_kind(state: AttemptState) -> String {
    format!("{}{state}", bodies::STATE_PREFIX)
}

async fn advance(
    connection: &mut SqliteConnection,
    chain: &mut Chain,
    owner: &str,
    attempt: AttemptId,
    to: AttemptState,
    at_ms: Millis,
) -> Result<(), LedgerError> {
    let sql = format!(
        "UPDATE attempts SET state = $1, started_ms = COALESCE(started_ms, $2)
         WHERE run = $3 AND ordinal = $4 AND owner = $5 AND {}",
        guard(to)
    );
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(to.as_str())
        .bind(at_ms)
        .bind(attempt.run.to_string())
        .bind(i64::from(attempt.ordinal))
        .bind(owner)
        .execute(&mut *connection)
        .await
        .map_err(database("advance an attempt"))?;
    if done.rows_affected() == 0 {
        return Err(LedgerError::Lost);
    }
    chain.append(connection, at_ms, &event_kind(to), &bodies::moved(attempt.ordinal)).await
}

async fn conclude(
    connection: &mut SqliteConnection,
    chain: &mut Chain,
    owner: &str,
    attempt: AttemptId,
    used: &Used,
    outcome: &Outcome,
) -> Result<(), LedgerError> {
    let now_ms = Ledger::now_ms();
    let (to, mut end) = match outcome {
        Outcome::Succeeded { result, summary, .. } => {
            (AttemptState::Succeeded, End { result: Some(result), summary: Some(summary), ..End::default() })
        }
        Outcome::Failed(failure) => (AttemptState::Failed, End { failure: Some(failure), ..End::default() }),
        Outcome::Cancelled { by } => {
            (AttemptState::Cancelled, End { cancelled_by: Some(by), ..End::default() })
        }
        Outcome::Blocked(failure) => {
            (AttemptState::Blocked, End { failure: Some(failure), ..End::default() })
        }
    };
    if let Outcome::Succeeded { outputs, .. } = outcome {
        end.outputs = insert_outputs(connection, attempt, outputs, now_ms).await?;
    }
    let sql = format!(
        "UPDATE attempts SET state = $1, ended_ms = $2, result = $3, summary = $4,
             failure_class = $5, failure_code = $6, failure_message = $7, failure_advice = $8,
             failure_is_answer = $9, cancelled_by = $10,
             fuel = $11, memory_bytes = $12, wall_ms = $13, log_dropped_bytes = $14, log = $15
         WHERE run = $16 AND ordinal = $17 AND owner = $18 AND {}",
        guard(to)
    );
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(to.as_str())
        .bind(now_ms)
        .bind(end.result)
        .bind(end.summary)
        .bind(end.failure.map(|failure| failure.class.as_str()))
        .bind(end.failure.map(|failure| failure.code.as_str()))
        .bind(end.failure.map(|failure| failure.message.as_str()))
        .bind(end.failure.map(|failure| failure.advice.as_str()))
        .bind(end.failure.map(|failure| i64::from(failure.is_answer)))
        .bind(end.cancelled_by)
        .bind(stored(used.fuel))
        .bind(stored(used.memory_bytes))
        .bind(stored(used.wall_ms))
        .bind(stored(used.log_dropped_bytes))
        .bind(used.log.as_str())
        .bind(attempt.run.to_string())
        .bind(i64::from(attempt.ordinal))
        .bind(owner)
        .execute(&mut *connection)
        .await
        .map_err(database("end an attempt"))?;
    if done.rows_affected() == 0 {
        return Err(LedgerError::Lost);
    }
    chain.append(connection, now_ms, &event_kind(to), &bodies::ended(attempt.ordinal, used, &end)).await
}

async fn close_stale(connection: &mut SqliteConnection, owner: &str, run: RunId) -> Result<(), LedgerError> {
    let sql = "SELECT ordinal FROM attempts WHERE run = $1 AND owner = $2
               AND state IN ('queued', 'running', 'waiting')";
    let stale = sqlx::query(sql)
        .bind(run.to_string())
        .bind(owner)
        .fetch_all(&mut *connection)
        .await
        .map_err(database("look for a stale attempt"))?;
    for row in &stale {
        let attempt = AttemptId { run, ordinal: count(row, "ordinal")? };
        super::steps::give_up(connection, owner, attempt).await?;
        let outcome = Outcome::Failed(Failure {
            class: "fault".to_owned(),
            code: "host_fault".to_owned(),
            message: "its end could not be written when it came".to_owned(),
            advice: "a later attempt follows".to_owned(),
            is_answer: false,
        });
        let mut chain = Chain::find(connection, run.to_string()).await?;
        conclude(connection, &mut chain, owner, attempt, &Used::default(), &outcome).await?;
    }
    Ok(())
}

/// So that a lost race is told as one, and not as a refusal of its outputs. The guarded update
/// still decides; nobody else writes inside this transaction.
async fn refuse_lost(
    connection: &mut SqliteConnection,
    owner: &str,
    attempt: AttemptId,
    to: AttemptState,
) -> Result<(), LedgerError> {
    let sql =
        format!("SELECT 1 FROM attempts WHERE run = $1 AND ordinal = $2 AND owner = $3 AND {}", guard(to));
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(attempt.run.to_string())
        .bind(i64::from(attempt.ordinal))
        .bind(owner)
        .fetch_optional(connection)
        .await
        .map_err(database("read an attempt"))?;
    found.map(drop).ok_or(LedgerError::Lost)
}

/// All of them or, with the transaction, none (I-4). Returns what the event says of them.
async fn insert_outputs(
    connection: &mut SqliteConnection,
    attempt: AttemptId,
    outputs: &[OutputRow],
    now_ms: Millis,
) -> Result<Vec<Value>, LedgerError> {
    let project: String = sqlx::query_scalar("SELECT project FROM runs WHERE id = $1")
        .bind(attempt.run.to_string())
        .fetch_one(&mut *connection)
        .await
        .map_err(database("read a run's project"))?;
    let sql = "INSERT INTO outputs (run, attempt, place, role, output_key, artifact, label)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let mut said = Vec::with_capacity(outputs.len());
    for (place, output) in (0_i64..).zip(outputs) {
        let new = &output.artifact;
        if new.project.to_string() != project {
            return Err(damaged(format!("an output of {} is of another project", attempt.run)));
        }
        insert_artifact(connection, new, Some(attempt.run), &attempt.run.to_string(), now_ms).await?;
        sqlx::query(sql)
            .bind(attempt.run.to_string())
            .bind(i64::from(attempt.ordinal))
            .bind(place)
            .bind(output.role.as_str())
            .bind(output.key.as_str())
            .bind(new.id.to_string())
            .bind(new.label.as_deref())
            .execute(&mut *connection)
            .await
            .map_err(database("add an output"))?;
        said.push(output_said(&output.role, &output.key, new.id, new.digest, new.label.as_deref()));
    }
    Ok(said)
}

pub(super) fn output_said(
    role: &helix_ids::Role,
    key: &helix_ids::OutputKey,
    artifact: helix_ids::ArtifactId,
    digest: Digest,
    label: Option<&str>,
) -> Value {
    json!({ "artifact": artifact, "digest": digest, "key": key, "label": label, "role": role })
}

async fn take_over(
    connection: &mut SqliteConnection,
    owner: &str,
) -> Result<Vec<(RunRow, AttemptRow)>, LedgerError> {
    let sql = "SELECT run, ordinal, owner, takeovers FROM attempts
               WHERE state IN ('queued', 'running', 'waiting') AND owner <> $1 ORDER BY created_ms, run";
    let left = sqlx::query(sql)
        .bind(owner)
        .fetch_all(&mut *connection)
        .await
        .map_err(database("look for attempts that were left"))?;
    let mut taken = Vec::with_capacity(left.len());
    for row in &left {
        let attempt = AttemptId { run: parsed(row, "run")?, ordinal: count(row, "ordinal")? };
        let (from, takeovers) = (text(row, "owner")?, count::<u32>(row, "takeovers")? + 1);
        let sql = "UPDATE attempts SET owner = $1, takeovers = $2 WHERE run = $3 AND ordinal = $4
                   AND owner = $5 AND state IN ('queued', 'running', 'waiting')";
        sqlx::query(sql)
            .bind(owner)
            .bind(i64::from(takeovers))
            .bind(attempt.run.to_string())
            .bind(i64::from(attempt.ordinal))
            .bind(&from)
            .execute(&mut *connection)
            .await
            .map_err(database("take an attempt over"))?;
        let mut chain = Chain::find(connection, attempt.run.to_string()).await?;
        let body = bodies::taken_over(attempt.ordinal, &from, owner, takeovers);
        chain.append(connection, Ledger::now_ms(), bodies::TAKEN_OVER, &body).await?;
        // The one attempt that is not terminal is the newest.
        let run = super::runs::load(connection, attempt.run, 1)
            .await?
            .ok_or_else(|| damaged(format!("an attempt without its run {}", attempt.run)))?;
        let mine = run.attempts.iter().find(|row| row.id == attempt).cloned();
        taken.push((run, mine.ok_or_else(|| damaged("an attempt was lost while it was taken over"))?));
    }
    Ok(taken)
}
