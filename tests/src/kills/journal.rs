//! What the host acknowledged, on the driver's side: after a kill it has to be there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use helix_ids::Digest;
use serde_json::Value;

use crate::ToolReply;

/// An artifact that an import's answer named.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub id: String,
    pub label: String,
    pub checksum: String,
}

/// A run that an answer named.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub id: String,
    pub tool: &'static str,
    pub arguments: Value,
    /// (role, key, artifact id, checksum) once it succeeded; before, only its id was said.
    pub outputs: Option<Outputs>,
}

pub(super) type Outputs = Vec<[String; 4]>;

/// Everything acknowledged in one home.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub artifacts: Vec<Kept>,
    pub runs: BTreeMap<String, Told>,
    pub exports: Vec<(PathBuf, Digest)>,
    /// What is new since the last look.
    pub fresh_runs: Vec<String>,
    pub fresh_artifacts: usize,
    /// How many acknowledged runs ended otherwise than by success.
    pub ended_badly: u64,
    pub replayed: u64,
}

impl Journal {
    pub(super) fn keep(&mut self, kept: Kept) {
        self.artifacts.push(kept);
        self.fresh_artifacts += 1;
    }

    /// Notes what an answer says of a run. An answer that contradicts an earlier one is an error.
    pub(super) fn tell(&mut self, tool: &'static str, arguments: &Value, reply: &ToolReply) -> Result<()> {
        let id = reply.run_id().to_owned();
        ensure!(!id.is_empty(), "an answer without a run: {}", reply.structured);
        let outputs = (reply.status() == "succeeded").then(|| outputs_of(&reply.structured["outputs"]));
        if matches!(reply.status(), "failed" | "cancelled" | "blocked") {
            self.ended_badly += 1;
        }
        self.fresh_runs.push(id.clone());
        let told = self.runs.entry(id.clone()).or_insert_with(|| Told {
            id: id.clone(),
            tool,
            arguments: arguments.clone(),
            outputs: None,
        });
        match (&told.outputs, outputs) {
            (Some(before), Some(now)) if *before != now => {
                bail!("{id} had the outputs {before:?} and now has {now:?}")
            }
            (None, Some(now)) => told.outputs = Some(now),
            (Some(_), Some(_)) => self.replayed += u64::from(reply.replayed()),
            (_, None) => {}
        }
        Ok(())
    }
}

/// What an answer or a record says of outputs.
pub(super) fn outputs_of(rows: &Value) -> Outputs {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let of = |row| ["role", "key", "artifact_id", "checksum_sha256"].map(|name| text(row, name));
    rows.as_array().into_iter().flatten().map(of).collect()
}
