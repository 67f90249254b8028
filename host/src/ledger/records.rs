//! What is only written down: components' manifests, denials, events.

use helix_ids::{DenialId, Digest, ProjectId};
use serde_json::{Value, json};
use sqlx::SqliteConnection;

use super::batch::Batch;
use super::chain::{Chain, event_row};
use super::error::database;
use super::{EventRow, Ledger, LedgerError, NewDenial, NewEvent};

/// Most characters of a caller's text that one row keeps: a caller chooses them, and every denial
/// is kept for ever.
const TEXT_CHARS_MAX: usize = 1024;

impl Ledger {
    /// A component's manifest as JSON of `contract::raw::Manifest`, once described.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn manifest(&self, component: Digest) -> Result<Option<String>, LedgerError> {
        sqlx::query_scalar("SELECT manifest FROM components WHERE digest = $1")
            .bind(component.to_string())
            .fetch_optional(self.reads())
            .await
            .map_err(database("read a manifest"))
    }

    /// Keeps what a component says of itself; another host version may have read more of it.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn remember_manifest(&self, component: Digest, manifest: &str) -> Result<(), LedgerError> {
        let manifest = manifest.to_owned();
        self.write(move |connection| {
            Box::pin(async move {
                let sql = "INSERT INTO components (digest, manifest) VALUES ($1, $2)
                           ON CONFLICT (digest) DO UPDATE SET manifest = excluded.manifest";
                sqlx::query(sql)
                    .bind(component.to_string())
                    .bind(manifest)
                    .execute(connection)
                    .await
                    .map_err(database("keep a manifest"))?;
                Ok(())
            })
        })
        .await
    }

    /// Records a denial (invariant I-10), in its project's chain too.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn deny(&self, denial: NewDenial) -> Result<DenialId, LedgerError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| database("draw a denial's id")(error.to_string()))?;
        let id = DenialId::from_digest(&Digest::of(&random));
        self.write(move |connection| {
            Box::pin(async move {
                let now_ms = Self::now_ms();
                let [caller, rule, message] =
                    [&denial.caller, &denial.rule, &denial.message].map(|text| capped(text));
                let tool = denial.tool.as_deref().map(capped);
                let sql = "INSERT INTO denials (id, at_ms, project, caller, tool, rule, line, code, message)
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
                let mut batch = Batch::default();
                batch
                    .add("record a denial", sql)
                    .bind(id.to_string())
                    .bind(now_ms)
                    .bind(denial.project.map(|project| project.to_string()))
                    .bind(&caller)
                    .bind(&tool)
                    .bind(&rule)
                    .bind(denial.line.map(i64::from))
                    .bind(&denial.code)
                    .bind(&message);
                if let Some(project) = known_project(connection, denial.project).await? {
                    let body = json!({
                        "caller": caller, "code": denial.code, "denial": id, "line": denial.line,
                        "message": message, "rule": rule, "tool": tool,
                    });
                    let mut chain = Chain::find(connection, project.to_string()).await?;
                    chain.append(&mut batch, now_ms, "denied", &body)?;
                }
                batch.run(connection).await?;
                Ok(id)
            })
        })
        .await
    }

    /// Appends to a project's chain.
    ///
    /// # Errors
    /// [`LedgerError::Database`], also for a body that is no canonical JSON.
    pub async fn event(&self, event: NewEvent) -> Result<(), LedgerError> {
        self.write(move |connection| {
            Box::pin(async move {
                let mut chain = Chain::find(connection, event.project.to_string()).await?;
                let mut batch = Batch::default();
                chain.append(&mut batch, Self::now_ms(), event.kind, &event_body(&event))?;
                batch.run(connection).await
            })
        })
        .await
    }

    /// The newest events of a run's chain (`run_…`) or a project's (`proj_…`), oldest first. They
    /// are numbered from 0, so the first one's number is how many are left out.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn events(&self, chain: &str, newest: u32) -> Result<Vec<EventRow>, LedgerError> {
        let sql = "SELECT chain, seq, at_ms, kind, prev, text, digest FROM events
                   WHERE chain = $1 AND seq > (SELECT MAX(n.seq) FROM events n WHERE n.chain = $1) - $2
                   ORDER BY seq";
        let rows = sqlx::query(sql)
            .bind(chain)
            .bind(i64::from(newest))
            .fetch_all(self.reads())
            .await
            .map_err(database("read a chain"))?;
        rows.iter().map(event_row).collect()
    }
}

/// The event's own body with who caused it.
pub(super) fn event_body(event: &NewEvent) -> Value {
    let caller = Value::from(capped(&event.caller));
    match event.body.clone() {
        Value::Object(mut members) => {
            members.insert("caller".to_owned(), caller);
            Value::Object(members)
        }
        other => json!({ "caller": caller, "what": other }),
    }
}

/// A denied caller may have named a project that does not exist; such a one has no chain.
async fn known_project(
    connection: &mut SqliteConnection,
    project: Option<ProjectId>,
) -> Result<Option<ProjectId>, LedgerError> {
    let found = sqlx::query("SELECT 1 FROM projects WHERE id = $1")
        .bind(project.map(|project| project.to_string()))
        .fetch_optional(connection)
        .await
        .map_err(database("look for a project"))?;
    Ok(project.filter(|_| found.is_some()))
}

fn capped(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}
