//! How attempts begin, move and end. Every change of state is one guarded `UPDATE` built from
//! `AttemptState::predecessors`, with its event in the same transaction (invariant I-7).

use helix_ids::{Digest, RunId, RunIdentity};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::artifacts::insert_artifact;
use super::batch::Batch;
use super::before::Before;
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
                let mut before = Before::read(connection, run.id).await?;
                let mut batch = Batch::default();
                let id = begin(&mut batch, &mut before, &owner, &run, &attempt)?;
                batch.run(connection).await?;
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
                let mut before = Before::read(connection, attempt.run).await?;
                let mut batch = Batch::default();
                advance(&mut batch, &mut before.chain, &owner, attempt, to, Self::now_ms())?;
                batch.run(connection).await
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
                let mut before = Before::read(connection, attempt.run).await?;
                let mut batch = Batch::default();
                conclude(&mut batch, &mut before, &owner, attempt, &used, &outcome)?;
                batch.run(connection).await
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
                let mut before = Before::read(connection, run.id).await?;
                let mut batch = Batch::default();
                let id = begin(&mut batch, &mut before, &owner, &run, &attempt)?;
                let started_ms = attempt.created_ms;
                advance(&mut batch, &mut before.chain, &owner, id, AttemptState::Running, started_ms)?;
                conclude(&mut batch, &mut before, &owner, id, &used, &outcome)?;
                batch.run(connection).await?;
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

fn begin(
    batch: &mut Batch,
    before: &mut Before,
    owner: &str,
    run: &NewRun,
    attempt: &NewAttempt,
) -> Result<AttemptId, LedgerError> {
    if let Some(what) = identity_break(run) {
        return Err(damaged(what));
    }
    // A short run is written when it has ended, so its time is the attempt's and not that of the commit.
    let begun_ms = attempt.created_ms;
    match &before.known {
        None => {
            insert_run(batch, run, begun_ms);
            before.chain.append(batch, begun_ms, bodies::IDENTIFIED, &bodies::identified(run))?;
            before.known = Some((run.digest.to_string(), run.project.to_string()));
        }
        Some((digest, _project)) if *digest == run.digest.to_string() => {}
        // The id is half of the digest; the whole is compared before a stored run is used.
        Some(_) => return Err(damaged(format!("{} stands for two digests", run.id))),
    }
    batch
        .add(
            "keep the policy's text",
            "INSERT INTO policies (digest, text) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING",
        )
        .bind(attempt.policy_file.to_string())
        .bind(&attempt.policy_text);
    let id = AttemptId { run: run.id, ordinal: before.next };
    insert_attempt(batch, owner, id, attempt);
    let body = bodies::queued(id.ordinal, attempt, owner);
    before.chain.append(batch, begun_ms, &event_kind(AttemptState::Queued), &body)?;
    Ok(id)
}

fn insert_run(batch: &mut Batch, run: &NewRun, now_ms: Millis) {
    let sql = "INSERT INTO runs (id, digest, project, tool, contract, component, params_hash, policy_hash,
                                 envelope, slice, created_ms)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    batch
        .add("add a run", sql)
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
        .bind(now_ms);
    let sql = "INSERT INTO inputs (run, place, role, position, sample, artifact)
               VALUES ($1, $2, $3, $4, $5, $6)";
    for (place, input) in (0_i64..).zip(&run.inputs) {
        batch
            .add("add a run's input", sql)
            .bind(run.id.to_string())
            .bind(place)
            .bind(input.role.as_str())
            .bind(i64::from(input.index))
            .bind(input.sample.as_ref().map(|sample| sample.as_str()))
            .bind(input.artifact.to_string());
    }
}

fn insert_attempt(batch: &mut Batch, owner: &str, id: AttemptId, attempt: &NewAttempt) {
    // The partial unique index: somebody else's attempt is not terminal yet.
    let sql = "INSERT INTO attempts (run, ordinal, state, owner, caller, takeovers, policy_file, engine,
                                     host_version, plan, created_ms, fuel, memory_bytes, wall_ms,
                                     log_dropped_bytes, log)
               VALUES ($1, $2, 'queued', $3, $4, 0, $5, $6, $7, $8, $9, 0, 0, 0, 0, '')
               ON CONFLICT (run) WHERE state IN ('queued', 'running', 'waiting') DO NOTHING";
    batch
        .add("begin an attempt", sql)
        .bind(id.run.to_string())
        .bind(i64::from(id.ordinal))
        .bind(owner)
        .bind(&attempt.caller)
        .bind(attempt.policy_file.to_string())
        .bind(&attempt.engine)
        .bind(&attempt.host_version)
        .bind(&attempt.plan)
        .bind(attempt.created_ms)
        .or(LedgerError::Lost);
}

/// `state IN (…)`, built from the one list and from constants only.
fn guard(to: AttemptState) -> String {
    let states: Vec<String> = to.predecessors().iter().map(|state| format!("'{state}'")).collect();
    format!("state IN ({})", states.join(", "))
}

fn event_kind(state: AttemptState) -> String {
    format!("{}{state}", bodies::STATE_PREFIX)
}

fn advance(
    batch: &mut Batch,
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
    batch
        .add("advance an attempt", &sql)
        .bind(to.as_str())
        .bind(at_ms)
        .bind(attempt.run.to_string())
        .bind(i64::from(attempt.ordinal))
        .bind(owner)
        .or(LedgerError::Lost);
    chain.append(batch, at_ms, &event_kind(to), &bodies::moved(attempt.ordinal))
}

fn conclude(
    batch: &mut Batch,
    before: &mut Before,
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
        end.outputs = insert_outputs(batch, before, attempt, outputs, now_ms)?;
    }
    let sql = format!(
        "UPDATE attempts SET state = $1, ended_ms = $2, result = $3, summary = $4,
             failure_class = $5, failure_code = $6, failure_message = $7, failure_advice = $8,
             failure_is_answer = $9, cancelled_by = $10,
             fuel = $11, memory_bytes = $12, wall_ms = $13, log_dropped_bytes = $14, log = $15
         WHERE run = $16 AND ordinal = $17 AND owner = $18 AND {}",
        guard(to)
    );
    batch
        .add("end an attempt", &sql)
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
        .or(LedgerError::Lost);
    before.chain.append(batch, now_ms, &event_kind(to), &bodies::ended(attempt.ordinal, used, &end))
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
        let outcome = Outcome::Failed(Failure {
            class: "fault".to_owned(),
            code: "host_fault".to_owned(),
            message: "its end could not be written when it came".to_owned(),
            advice: "a later attempt follows".to_owned(),
            is_answer: false,
        });
        let mut before = Before::read(connection, run).await?;
        let mut batch = Batch::default();
        conclude(&mut batch, &mut before, owner, attempt, &Used::default(), &outcome)?;
        batch.run(connection).await?;
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
fn insert_outputs(
    batch: &mut Batch,
    before: &Before,
    attempt: AttemptId,
    outputs: &[OutputRow],
    now_ms: Millis,
) -> Result<Vec<Value>, LedgerError> {
    let sql = "INSERT INTO outputs (run, attempt, place, role, output_key, artifact, label)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let project = before.known.as_ref().map(|(_digest, project)| project);
    let mut said = Vec::with_capacity(outputs.len());
    for (place, output) in (0_i64..).zip(outputs) {
        let new = &output.artifact;
        if project != Some(&new.project.to_string()) {
            return Err(damaged(format!("an output of {} is of another project", attempt.run)));
        }
        insert_artifact(batch, new, Some(attempt.run), &attempt.run.to_string(), now_ms)?;
        batch
            .add("add an output", sql)
            .bind(attempt.run.to_string())
            .bind(i64::from(attempt.ordinal))
            .bind(place)
            .bind(output.role.as_str())
            .bind(output.key.as_str())
            .bind(new.id.to_string())
            .bind(new.label.as_deref());
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
        let mut batch = Batch::default();
        batch
            .add("take an attempt over", sql)
            .bind(owner)
            .bind(i64::from(takeovers))
            .bind(attempt.run.to_string())
            .bind(i64::from(attempt.ordinal))
            .bind(&from);
        let mut chain = Chain::find(connection, attempt.run.to_string()).await?;
        let body = bodies::taken_over(attempt.ordinal, &from, owner, takeovers);
        chain.append(&mut batch, Ledger::now_ms(), bodies::TAKEN_OVER, &body)?;
        batch.run(connection).await?;
        // The one attempt that is not terminal is the newest.
        let run = super::runs::load(connection, attempt.run, 1)
            .await?
            .ok_or_else(|| damaged(format!("an attempt without its run {}", attempt.run)))?;
        let mine = run.attempts.iter().find(|row| row.id == attempt).cloned();
        taken.push((run, mine.ok_or_else(|| damaged("an attempt was lost while it was taken over"))?));
    }
    Ok(taken)
}
