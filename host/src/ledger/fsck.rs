//! Checks what the ledger says against itself. It reads one moment of the database, so it works
//! beside a host that writes.

use std::collections::HashSet;

use helix_ids::{ArtifactId, Digest, ProjectName, RunId, identity};
use serde_json::Value;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::attempts::{identity_break, output_said};
use super::bodies::{self, End};
use super::chain::{break_of, event_row};
use super::column::{maybe_text, parsed, text};
use super::error::database;
use super::runs::{Loaded, load_between, log_of};
use super::{AttemptRow, AttemptState, EventRow, Finding, Ledger, LedgerError, NewAttempt, RunRow};

/// Rows read at once.
const PAGE_ROWS: i64 = 500;

/// After so many findings the rest would tell nothing new.
const FINDINGS_MAX: usize = 1000;

impl Ledger {
    /// Checks states, chains, outputs and identities.
    ///
    /// # Errors
    /// [`LedgerError::Database`]; what is found is not an error.
    pub async fn fsck(&self) -> Result<Vec<Finding>, LedgerError> {
        self.fsck_telling(&mut |_checked| ()).await
    }

    /// The same; `told` hears how far it is, since a large ledger takes minutes.
    ///
    /// # Errors
    /// As [`Self::fsck`].
    pub async fn fsck_telling(
        &self,
        told: &mut (dyn FnMut(Checked) + Send),
    ) -> Result<Vec<Finding>, LedgerError> {
        let mut reading = self.reads().begin().await.map_err(database("read the ledger"))?;
        let (findings, brought) = (Vec::new(), HashSet::new());
        let mut check = Check { connection: &mut reading, findings, brought, told, done: 0, of: 0 };
        match check.all().await {
            Err(LedgerError::Database { source, .. }) if is_corrupt(source.as_ref()) => {
                check.found("database_damaged", "SQLite cannot read the rest of it");
            }
            other => other?,
        }
        let mut findings = check.findings;
        if findings.len() >= FINDINGS_MAX {
            findings.truncate(FINDINGS_MAX);
            let what = format!("the first {FINDINGS_MAX} findings are shown");
            findings.push(Finding { code: "too_many_findings", what });
        }
        Ok(findings)
    }
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Rows that are looked at now.
    pub what: &'static str,
    /// Rows so far, of all kinds.
    pub done: u64,
    pub of: u64,
}

struct Check<'c> {
    connection: &'c mut SqliteConnection,
    told: &'c mut (dyn FnMut(Checked) + Send),
    done: u64,
    of: u64,
    findings: Vec<Finding>,
    /// Artifacts of which a project's chain says that they were brought in.
    brought: HashSet<ArtifactId>,
}

/// Whether `SQLite` met a page that cannot be what it should be.
fn is_corrupt(error: &(dyn std::error::Error + 'static)) -> bool {
    const SQLITE_CORRUPT: u32 = 11;
    const SQLITE_NOTADB: u32 = 26;
    let database = error.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error());
    let code = database.and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    code.is_some_and(|extended| matches!(extended & 0xff, SQLITE_CORRUPT | SQLITE_NOTADB))
}

impl Check<'_> {
    async fn all(&mut self) -> Result<(), LedgerError> {
        self.tell("the database's own pages", 0);
        self.database().await?;
        let sql = "SELECT CAST((SELECT COUNT(*) FROM events) + (SELECT COUNT(*) FROM runs)
                       + (SELECT COUNT(*) FROM artifacts) AS BIGINT) AS rows_in_all";
        let row = sqlx::query(sql).fetch_one(&mut *self.connection).await;
        self.of = super::column::count(&row.map_err(database("count the rows"))?, "rows_in_all")?;
        self.chains().await?;
        self.names().await?;
        self.runs().await?;
        self.standings().await?;
        self.artifacts().await
    }

    fn tell(&mut self, what: &'static str, rows: usize) {
        self.done += rows as u64;
        (self.told)(Checked { what, done: self.done, of: self.of });
    }

    fn found(&mut self, code: &'static str, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { code, what: what.into() });
        }
    }

    /// A row that does not parse is a finding; a database that does not answer is an error.
    fn readable<T>(&mut self, read: Result<T, LedgerError>) -> Result<Option<T>, LedgerError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(LedgerError::Damaged { what }) => {
                self.found("row_unreadable", what);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// `SQLite`'s own checks.
    async fn database(&mut self) -> Result<(), LedgerError> {
        let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(20)")
            .fetch_all(&mut *self.connection)
            .await
            .map_err(database("check the database"))?;
        for line in said.into_iter().filter(|line| line != "ok") {
            self.found("database_damaged", line);
        }
        let dangling = sqlx::query("SELECT \"table\", parent FROM pragma_foreign_key_check LIMIT 20")
            .fetch_all(&mut *self.connection)
            .await
            .map_err(database("check the references"))?;
        for row in &dangling {
            let (table, parent) = (text(row, "table")?, text(row, "parent")?);
            self.found(
                "reference_dangling",
                format!("a row of {table} names a row of {parent} that is gone"),
            );
        }
        Ok(())
    }

    /// Every chain, link by link.
    async fn chains(&mut self) -> Result<(), LedgerError> {
        let sql = "SELECT chain, seq, at_ms, kind, prev, text, digest FROM events
                   WHERE (chain, seq) > ($1, $2) ORDER BY chain, seq LIMIT $3";
        let mut before: Option<EventRow> = None;
        loop {
            let (chain, seq) = before.as_ref().map_or(("", 0), |event| (event.chain.as_str(), event.seq));
            let page = sqlx::query(sql)
                .bind(chain)
                .bind(super::column::stored(seq))
                .bind(PAGE_ROWS)
                .fetch_all(&mut *self.connection)
                .await
                .map_err(database("read the chains"))?;
            if page.is_empty() {
                break;
            }
            self.tell("events", page.len());
            for row in &page {
                let Some(event) = self.readable(event_row(row))? else { return Ok(()) };
                let in_chain = before.as_ref().filter(|before| before.chain == event.chain);
                let prev: Option<Option<Digest>> = super::column::maybe_parsed(row, "prev").ok();
                let column_fits = prev == Some(in_chain.map(|before| before.digest));
                if let Some(what) = break_of(&event, in_chain) {
                    self.found("chain_broken", format!("{} at {}: {what}", event.chain, event.seq));
                } else if !column_fits {
                    self.found("chain_broken", format!("{} at {}: its link differs", event.chain, event.seq));
                }
                self.brought.extend(brought_by(&event));
                before = Some(event);
            }
        }
        let sql = "SELECT DISTINCT chain FROM events WHERE chain NOT IN (SELECT id FROM runs)
                   AND chain NOT IN (SELECT id FROM projects)";
        let orphans: Vec<String> = sqlx::query_scalar(sql)
            .fetch_all(&mut *self.connection)
            .await
            .map_err(database("look for chains of nothing"))?;
        for chain in orphans {
            self.found("chain_of_nothing", format!("{chain} is no run and no project here"));
        }
        Ok(())
    }

    /// Projects and policies: what follows from their text.
    async fn names(&mut self) -> Result<(), LedgerError> {
        let projects = self.rows("SELECT id, name FROM projects").await?;
        for row in &projects {
            let name: Option<ProjectName> = parsed(row, "name").ok();
            let id = parsed(row, "id").ok();
            if name.is_none() || name.map(|name| identity::project_id(&name)) != id {
                self.found("project_identity", format!("{} does not follow from its name", text(row, "id")?));
            }
        }
        let counted = "SELECT p.id FROM projects p WHERE p.store_bytes <> (
                           SELECT COALESCE(SUM(o.size_bytes), 0) FROM objects o
                           WHERE o.digest IN (SELECT a.digest FROM artifacts a WHERE a.project = p.id)
                              OR o.digest IN (SELECT f.digest FROM step_files f JOIN runs r ON r.id = f.run
                                              WHERE r.project = p.id))";
        for row in &self.rows(counted).await? {
            self.found("project_bytes", format!("the bytes of {} are counted wrong", text(row, "id")?));
        }
        let policies = self.rows("SELECT digest, text FROM policies").await?;
        for row in &policies {
            let digest = text(row, "digest")?;
            if Digest::of(text(row, "text")?.as_bytes()).to_string() != digest {
                self.found("policy_text", format!("the policy {digest} has another text"));
            }
        }
        Ok(())
    }

    async fn rows(&mut self, sql: &'static str) -> Result<Vec<SqliteRow>, LedgerError> {
        sqlx::query(sql).fetch_all(&mut *self.connection).await.map_err(database("read the ledger"))
    }

    async fn runs(&mut self) -> Result<(), LedgerError> {
        let mut after = String::new();
        loop {
            let ids = self.page_of_runs(&after).await?;
            let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(()) };
            self.tell("runs", ids.len());
            // A page at a time: queries for each single run were most of what a check took.
            for run in load_between(self.connection, first, last).await? {
                self.run(run).await?;
            }
            after.clone_from(last);
        }
    }

    /// The next runs, at least one: as many as have so many attempts together.
    async fn page_of_runs(&mut self, after: &str) -> Result<Vec<String>, LedgerError> {
        let sql =
            "SELECT r.id, CAST((SELECT COUNT(*) FROM attempts a WHERE a.run = r.id) AS BIGINT) AS attempts
                   FROM runs r WHERE r.id > $1 ORDER BY r.id LIMIT $2";
        let rows = sqlx::query(sql)
            .bind(after)
            .bind(PAGE_ROWS)
            .fetch_all(&mut *self.connection)
            .await
            .map_err(database("read the runs"))?;
        let (mut ids, mut attempts) = (Vec::with_capacity(rows.len()), 0);
        for row in &rows {
            attempts += super::column::count::<i64>(row, "attempts")?;
            if attempts > PAGE_ROWS && !ids.is_empty() {
                break;
            }
            ids.push(text(row, "id")?);
        }
        Ok(ids)
    }

    /// One run: its identity (I-6), and each attempt against the run's chain (I-7).
    async fn run(&mut self, loaded: Loaded) -> Result<(), LedgerError> {
        let Loaded { id, run, attempts, asks, events } = loaded;
        if id.parse::<RunId>().is_err() {
            self.found("run_identity", format!("{id:?} is no run id"));
            return Ok(());
        }
        let Some(mut row) = self.readable(run)? else { return Ok(()) };
        if let Some(what) = identity_break(&row.run) {
            self.found("run_identity", what);
        }
        let open = row.attempts.iter().filter(|attempt| !attempt.state.is_terminal()).count();
        if open > 1 {
            self.found("run_two_open", format!("{id} has {open} attempts that are not terminal"));
        }
        if row.attempts.is_empty() {
            self.found("run_without_attempt", format!("{id} has none"));
        }
        let events = events.iter().map(event_row).collect::<Result<Vec<_>, _>>();
        let Some(events) = self.readable(events)? else { return Ok(()) };
        for what in disagreements(&row, &events) {
            self.found("run_and_chain_disagree", format!("{id}: {what}"));
        }
        for (attempt, end) in row.attempts.iter_mut().zip(&attempts) {
            let cancelled_by = maybe_text(end, "cancelled_by")?;
            // One long log at a time: those of a whole page would take hundreds of megabytes.
            if super::column::count::<u8>(end, "log_is_long")? == 1 {
                let log = log_of(self.connection, attempt.id).await;
                let Some(log) = self.readable(log)? else { return Ok(()) };
                attempt.used.log = log;
            }
            if let Some(what) = attempt_break(attempt, &events, cancelled_by.as_deref()) {
                let ordinal = attempt.id.ordinal;
                self.found("attempt_and_chain_disagree", format!("{id} attempt {ordinal}: {what}"));
            }
            attempt.used.log = String::new();
        }
        let of_steps = super::fsck_steps::check(self.connection, &row, &asks, &events).await;
        for finding in self.readable(of_steps)?.unwrap_or_default() {
            self.found(finding.code, finding.what);
        }
        Ok(())
    }

    /// What lists are made from follows from runs and attempts.
    async fn standings(&mut self) -> Result<(), LedgerError> {
        // The newest attempt is the last: there is one of the run's standing, and none after it.
        let wrong = "SELECT r.id FROM runs r LEFT JOIN standings s ON s.run = r.id
                     LEFT JOIN attempts a ON a.run = s.run AND a.ordinal = s.ordinal
                     WHERE (s.run IS NULL AND EXISTS (SELECT 1 FROM attempts n WHERE n.run = r.id))
                        OR (s.run IS NOT NULL AND ((s.project, s.tool, s.created_ms, s.state)
                                IS NOT (r.project, r.tool, r.created_ms, a.state)
                            OR EXISTS (SELECT 1 FROM attempts n WHERE n.run = r.id AND n.ordinal > s.ordinal)))
                     LIMIT 20";
        for row in &self.rows(wrong).await? {
            self.found("standing_wrong", format!("{} is listed as what it is not", text(row, "id")?));
        }
        Ok(())
    }

    async fn artifacts(&mut self) -> Result<(), LedgerError> {
        let sql = "SELECT a.id, a.project, a.digest, a.type, a.created_by, o.digest AS object
                   FROM artifacts a LEFT JOIN objects o ON o.digest = a.digest
                   WHERE a.id > $1 ORDER BY a.id LIMIT $2";
        let mut after = String::new();
        loop {
            let page = sqlx::query(sql)
                .bind(&after)
                .bind(PAGE_ROWS)
                .fetch_all(&mut *self.connection)
                .await
                .map_err(database("read the artifacts"))?;
            let Some(last) = page.last() else { return Ok(()) };
            self.tell("artifacts", page.len());
            after = text(last, "id")?;
            for row in &page {
                self.artifact(row)?;
            }
        }
    }

    fn artifact(&mut self, row: &SqliteRow) -> Result<(), LedgerError> {
        let parts = || {
            Ok((parsed(row, "id")?, parsed(row, "project")?, parsed(row, "digest")?, parsed(row, "type")?))
        };
        let Some((id, project, digest, artifact_type)) = self.readable(parts())? else { return Ok(()) };
        if identity::artifact_id(project, digest, artifact_type) != id {
            self.found(
                "artifact_identity",
                format!("{id} does not follow from its project, digest and type"),
            );
        }
        if maybe_text(row, "object")?.is_none() {
            self.found("object_unknown", format!("{id} has no object"));
        }
        if maybe_text(row, "created_by")?.is_none() && !self.brought.contains(&id) {
            self.found(
                "artifact_without_event",
                format!("{id} is no run's output, and no event brought it in"),
            );
        }
        Ok(())
    }
}

/// The artifact that an event of a project's chain brought in.
fn brought_by(event: &EventRow) -> Option<ArtifactId> {
    body_of(event).get("artifact")?.as_str()?.parse().ok()
}

pub(super) fn body_of(event: &EventRow) -> Value {
    let mut text: Value = serde_json::from_str(&event.text).unwrap_or(Value::Null);
    text.get_mut("body").map(Value::take).unwrap_or_default()
}

/// What is wrong with the run's own event and the numbering of its attempts.
fn disagreements(row: &RunRow, events: &[EventRow]) -> Vec<&'static str> {
    let first = events.first().filter(|event| event.kind == bodies::IDENTIFIED);
    let identified = first.is_some_and(|event| body_of(event) == bodies::identified(&row.run));
    let numbered = row.attempts.iter().zip(1..).all(|(attempt, ordinal)| attempt.id.ordinal == ordinal);
    let known = |event: &&EventRow| {
        let ordinal = body_of(event).get("attempt").and_then(Value::as_u64);
        event.kind == bodies::IDENTIFIED
            || row.attempts.iter().any(|attempt| Some(u64::from(attempt.id.ordinal)) == ordinal)
    };
    let mut found = Vec::new();
    if !identified {
        found.push("its identity is not the one of its first event");
    }
    if !numbered {
        found.push("its attempts are not numbered one by one");
    }
    if !events.iter().all(|event| known(&event)) {
        found.push("an event is of an attempt that is gone");
    }
    found
}

/// What is wrong with an attempt, given the events of its run.
fn attempt_break(
    attempt: &AttemptRow,
    events: &[EventRow],
    cancelled_by: Option<&str>,
) -> Option<&'static str> {
    let ordinal = u64::from(attempt.id.ordinal);
    let mine: Vec<(&EventRow, Value)> = events
        .iter()
        .filter(|event| !event.kind.starts_with(bodies::STEP_PREFIX))
        .map(|event| (event, body_of(event)))
        .filter(|(_, body)| body.get("attempt").and_then(Value::as_u64) == Some(ordinal))
        .collect();
    let (takeovers, states): (Vec<_>, Vec<_>) =
        mine.iter().partition(|(event, _)| event.kind == bodies::TAKEN_OVER);
    if u32::try_from(takeovers.len()).ok() != Some(attempt.takeovers) {
        return Some("it was taken over as often as no event says");
    }
    let mut stands: Option<AttemptState> = None;
    for (event, _) in &states {
        let entered = event.kind.strip_prefix(bodies::STATE_PREFIX);
        let entered = entered.and_then(|state| state.parse::<AttemptState>().ok());
        let Some(entered) = entered else { return Some("an event of it has an unknown kind") };
        let legal =
            stands.map_or(entered == AttemptState::Queued, |from| entered.predecessors().contains(&from));
        if !legal {
            return Some("its events are in an order that no attempt can have");
        }
        stands = Some(entered);
    }
    if stands != Some(attempt.state) {
        return Some("its state is not the one that its last event says");
    }
    let (Some((_, began)), Some((last, end))) = (states.first(), states.last()) else {
        return Some("it has no events");
    };
    let owner = began.get("owner").and_then(Value::as_str).unwrap_or_default();
    if *began != bodies::queued(attempt.id.ordinal, &as_new(attempt), owner) {
        return Some("it did not begin as its first event says");
    }
    let ended = !attempt.state.is_terminal()
        || (attempt.ended_ms == Some(last.at_ms) && *end == expected_end(attempt, cancelled_by));
    (!ended).then_some("it did not end as its last event says")
}

fn as_new(attempt: &AttemptRow) -> NewAttempt {
    NewAttempt {
        caller: attempt.caller.clone(),
        policy_file: attempt.policy_file,
        policy_text: String::new(),
        engine: attempt.engine.clone(),
        host_version: attempt.host_version.clone(),
        plan: attempt.plan.clone(),
        created_ms: attempt.created_ms,
    }
}

fn expected_end(attempt: &AttemptRow, cancelled_by: Option<&str>) -> Value {
    let said = attempt.outputs.iter().map(|(role, key, artifact)| {
        output_said(role, key, artifact.id, artifact.digest, artifact.label.as_deref())
    });
    let end = End {
        result: attempt.result.as_deref(),
        summary: attempt.summary.as_deref(),
        failure: attempt.failure.as_ref(),
        cancelled_by,
        outputs: said.collect(),
    };
    bodies::ended(attempt.id.ordinal, &attempt.used, &end)
}
