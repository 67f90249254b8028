//! Artifacts, their labels and the seals of their bytes.

use helix_ids::{ArtifactId, ArtifactType, Digest, ProjectId, ProjectName, RunId, identity};
use sqlx::sqlite::SqliteRow;

use super::batch::Batch;
use super::chain::Chain;
use super::column::{count, maybe_parsed, maybe_text, millis, parsed, stored};
use super::error::{damaged, database};
use super::{ArtifactRow, Ledger, LedgerError, Millis, NewArtifact, NewEvent, Seal};

/// What every query of artifacts selects; the newest label is found by index.
macro_rules! select_artifact {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.project, a.digest, a.type, o.size_bytes, a.created_ms AS artifact_ms, a.created_by,
                (SELECT l.label FROM labels l WHERE l.artifact = a.id ORDER BY l.seq DESC LIMIT 1) AS label
             FROM artifacts a JOIN objects o ON o.digest = a.digest ",
            $rest
        )
    };
}

impl Ledger {
    /// Makes a project known; a second time is a no-op.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] when the id does not follow from the name.
    pub async fn ensure_project(&self, id: ProjectId, name: &ProjectName) -> Result<(), LedgerError> {
        if identity::project_id(name) != id {
            return Err(damaged(format!("project {name} cannot have the id {id}")));
        }
        let name = name.to_string();
        self.write(move |connection| {
            Box::pin(async move {
                let sql = "INSERT INTO projects (id, name, created_ms, store_bytes) VALUES ($1, $2, $3, 0)
                           ON CONFLICT (id) DO NOTHING";
                sqlx::query(sql)
                    .bind(id.to_string())
                    .bind(name)
                    .bind(Self::now_ms())
                    .execute(connection)
                    .await
                    .map_err(database("add a project"))?;
                Ok(())
            })
        })
        .await
    }

    /// Adds an artifact (or finds that it is there), its label and an event, in one transaction.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] when the id does not follow from project, digest and type.
    pub async fn add_artifact(&self, new: NewArtifact, event: NewEvent) -> Result<ArtifactRow, LedgerError> {
        self.write(move |connection| {
            Box::pin(async move {
                let now_ms = Self::now_ms();
                let mut batch = Batch::default();
                insert_artifact(&mut batch, &new, None, &event.caller, now_ms)?;
                let mut chain = Chain::find(connection, event.project.to_string()).await?;
                let mut body = super::records::event_body(&event);
                // `fsck` asks for it of every artifact that is no run's output.
                if let Some(members) = body.as_object_mut() {
                    members.insert("artifact".to_owned(), new.id.to_string().into());
                }
                chain.append(&mut batch, now_ms, event.kind, &body)?;
                batch.run(connection).await?;
                let row = sqlx::query(select_artifact!("WHERE a.id = $1"))
                    .bind(new.id.to_string())
                    .fetch_one(connection)
                    .await
                    .map_err(database("read the new artifact"))?;
                artifact_row(&row)
            })
        })
        .await
    }

    /// One artifact, only if it is in this project: foreign and unknown give the same `None`.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn artifact(
        &self,
        project: ProjectId,
        id: ArtifactId,
    ) -> Result<Option<ArtifactRow>, LedgerError> {
        let sql = select_artifact!("WHERE a.id = $1 AND a.project = $2");
        let rows = self
            .quick(sql, &[id.to_string(), project.to_string()])
            .await
            .map_err(database("read an artifact"))?;
        rows.first().map(artifact_row).transpose()
    }

    /// Newest first; `before` is the last id of the page before.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn artifacts(
        &self,
        project: ProjectId,
        artifact_type: Option<ArtifactType>,
        before: Option<ArtifactId>,
        limit: u32,
    ) -> Result<Vec<ArtifactRow>, LedgerError> {
        // An unknown `before` compares with NULL and gives an empty page.
        let sql = match (artifact_type, before) {
            (None, None) => {
                select_artifact!("WHERE a.project = $1 ORDER BY a.created_ms DESC, a.id DESC LIMIT $4")
            }
            (Some(_), None) => select_artifact!(
                "WHERE a.project = $1 AND a.type = $2 ORDER BY a.created_ms DESC, a.id DESC LIMIT $4"
            ),
            (None, Some(_)) => select_artifact!(
                "WHERE a.project = $1 AND (a.created_ms, a.id)
                       < ((SELECT created_ms FROM artifacts WHERE id = $3 AND project = $1), $3)
                 ORDER BY a.created_ms DESC, a.id DESC LIMIT $4"
            ),
            (Some(_), Some(_)) => select_artifact!(
                "WHERE a.project = $1 AND a.type = $2 AND (a.created_ms, a.id)
                       < ((SELECT created_ms FROM artifacts WHERE id = $3 AND project = $1), $3)
                 ORDER BY a.created_ms DESC, a.id DESC LIMIT $4"
            ),
        };
        let rows = sqlx::query(sql)
            .bind(project.to_string())
            .bind(artifact_type.map(ArtifactType::as_str))
            .bind(before.map(|id| id.to_string()))
            .bind(i64::from(limit))
            .fetch_all(self.reads())
            .await
            .map_err(database("list artifacts"))?;
        rows.iter().map(artifact_row).collect()
    }

    /// The seal under which an object's bytes were last proved.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn seal(&self, digest: Digest) -> Result<Option<Seal>, LedgerError> {
        let rows = self
            .quick("SELECT seal FROM objects WHERE digest = $1", &[digest.to_string()])
            .await
            .map_err(database("read a seal"))?;
        let seal = rows.first().map(|row| maybe_text(row, "seal")).transpose()?.flatten();
        let parse = |text: String| {
            serde_json::from_str(&text).map_err(|error| damaged(format!("the seal of {digest}: {error}")))
        };
        seal.map(parse).transpose()
    }

    /// Keeps a seal, for an object that is known or (a component) is not.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] when the object is known with another size.
    pub async fn remember_seal(&self, digest: Digest, seal: Seal) -> Result<(), LedgerError> {
        self.write(move |connection| {
            Box::pin(async move {
                let mut batch = Batch::default();
                insert_object(&mut batch, digest, &seal)?;
                batch.run(connection).await
            })
        })
        .await
    }

    /// Bytes of a project's artifacts, each digest counted once.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn store_bytes(&self, project: ProjectId) -> Result<u64, LedgerError> {
        let rows = self
            .quick("SELECT store_bytes FROM projects WHERE id = $1", &[project.to_string()])
            .await
            .map_err(database("read a project's bytes"))?;
        rows.first().map_or(Ok(0), |row| count(row, "store_bytes"))
    }

    /// Every (digest, size) that must have its bytes.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Damaged`].
    pub async fn objects(&self) -> Result<Vec<(Digest, u64)>, LedgerError> {
        let sql = "SELECT digest, size_bytes FROM objects
                   WHERE digest IN (SELECT digest FROM artifacts) ORDER BY digest";
        let rows = sqlx::query(sql).fetch_all(self.reads()).await.map_err(database("list the objects"))?;
        rows.iter().map(|row| Ok((parsed(row, "digest")?, count(row, "size_bytes")?))).collect()
    }
}

pub(super) fn artifact_row(row: &SqliteRow) -> Result<ArtifactRow, LedgerError> {
    Ok(ArtifactRow {
        id: parsed(row, "id")?,
        project: parsed(row, "project")?,
        digest: parsed(row, "digest")?,
        artifact_type: parsed(row, "type")?,
        size_bytes: count(row, "size_bytes")?,
        created_ms: millis(row, "artifact_ms")?,
        label: maybe_text(row, "label")?,
        created_by: maybe_parsed(row, "created_by")?,
    })
}

/// The object with its seal, the artifact unless it is there, and its label unless that is the newest
/// already. `by` is the run whose output it is.
pub(super) fn insert_artifact(
    batch: &mut Batch,
    new: &NewArtifact,
    by: Option<RunId>,
    given_by: &str,
    now_ms: Millis,
) -> Result<(), LedgerError> {
    if identity::artifact_id(new.project, new.digest, new.artifact_type) != new.id {
        return Err(damaged(format!("{} does not follow from its digest, type and project", new.id)));
    }
    if new.size_bytes != new.seal.size_bytes {
        return Err(damaged(format!("{} has another size than its bytes", new.id)));
    }
    insert_object(batch, new.digest, &new.seal)?;
    count_bytes(batch, new);
    let sql = "INSERT INTO artifacts (id, project, digest, type, created_ms, created_by)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
    batch
        .add("add an artifact", sql)
        .bind(new.id.to_string())
        .bind(new.project.to_string())
        .bind(new.digest.to_string())
        .bind(new.artifact_type.as_str())
        .bind(now_ms)
        .bind(by.map(|run| run.to_string()));
    if let Some(run) = by {
        made_by(batch, new, run);
    }
    add_label(batch, new, given_by, now_ms);
    Ok(())
}

/// Counts an artifact's bytes before it is added, unless the project has them already, maybe under
/// another type.
fn count_bytes(batch: &mut Batch, new: &NewArtifact) {
    let sql = "UPDATE projects SET store_bytes = store_bytes + $1 WHERE id = $2
               AND NOT EXISTS (SELECT 1 FROM artifacts WHERE digest = $3 AND project = $2)";
    batch
        .add("count a project's bytes", sql)
        .bind(stored(new.size_bytes))
        .bind(new.project.to_string())
        .bind(new.digest.to_string());
}

/// An artifact that was imported first may be some run's output later.
fn made_by(batch: &mut Batch, new: &NewArtifact, run: RunId) {
    batch
        .add(
            "say which run made an artifact",
            "UPDATE artifacts SET created_by = $1 WHERE id = $2 AND created_by IS NULL",
        )
        .bind(run.to_string())
        .bind(new.id.to_string());
}

fn add_label(batch: &mut Batch, new: &NewArtifact, given_by: &str, now_ms: Millis) {
    let Some(label) = &new.label else { return };
    let sql = "INSERT INTO labels (artifact, seq, label, given_by, at_ms)
               SELECT $1, COALESCE(MAX(seq) + 1, 0), $2, $3, $4 FROM labels WHERE artifact = $1
               HAVING $2 IS NOT (SELECT label FROM labels WHERE artifact = $1 ORDER BY seq DESC LIMIT 1)";
    batch.add("label an artifact", sql).bind(new.id.to_string()).bind(label).bind(given_by).bind(now_ms);
}

fn insert_object(batch: &mut Batch, digest: Digest, seal: &Seal) -> Result<(), LedgerError> {
    let text = serde_json::to_string(seal).map_err(database("write a seal"))?;
    // The size follows from the digest: another one leaves the row as it is.
    let sql = "INSERT INTO objects (digest, size_bytes, seal) VALUES ($1, $2, $3)
               ON CONFLICT (digest) DO UPDATE SET seal = excluded.seal
               WHERE objects.size_bytes = excluded.size_bytes";
    batch
        .add("add an object", sql)
        .bind(digest.to_string())
        .bind(stored(seal.size_bytes))
        .bind(text)
        .or(damaged(format!("{digest} is known with another size")));
    Ok(())
}
