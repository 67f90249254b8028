//! What is asked of a run before something is written of it, in one question.

use helix_ids::{Digest, RunId};
use sqlx::SqliteConnection;

use super::LedgerError;
use super::chain::Chain;
use super::column::{count, maybe_parsed, maybe_text};
use super::error::database;

/// A run as it is before a write. It stays so until then: nobody else writes in the same transaction.
pub(super) struct Before {
    /// Digest and project, if the run stands in the ledger.
    pub known: Option<(String, String)>,
    /// The ordinal of its next attempt.
    pub next: u32,
    /// Its events.
    pub chain: Chain,
}

impl Before {
    pub(super) async fn read(connection: &mut SqliteConnection, run: RunId) -> Result<Self, LedgerError> {
        let sql = "SELECT (SELECT digest FROM runs WHERE id = $1) AS digest,
                          (SELECT project FROM runs WHERE id = $1) AS project,
                          (SELECT COALESCE(MAX(ordinal), 0) + 1 FROM attempts WHERE run = $1) AS next,
                          (SELECT MAX(seq) FROM events WHERE chain = $1) AS seq,
                          (SELECT digest FROM events WHERE chain = $1 ORDER BY seq DESC LIMIT 1) AS tip";
        let name = run.to_string();
        let row = sqlx::query(sql)
            .bind(&name)
            .fetch_one(connection)
            .await
            .map_err(database("read where a run stands"))?;
        let known = maybe_text(&row, "digest")?.zip(maybe_text(&row, "project")?);
        let tip: Option<Digest> = maybe_parsed(&row, "tip")?;
        let tip = tip.map(|digest| Ok::<_, LedgerError>((count(&row, "seq")?, digest))).transpose()?;
        Ok(Self { known, next: count(&row, "next")?, chain: Chain::of(name, tip) })
    }
}
