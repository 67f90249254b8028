//! What has to hold after a kill.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use helix_ids::Digest;
use serde_json::{Value, json};

use super::journal::{Journal, Told, outputs_of};
use super::random::Random;
use crate::{StdioClient, World, wait};

/// Older runs and artifacts that are looked at after every kill; at the end of a home all are.
const OLDER: u64 = 3;

/// How long what was carried on may take to its end.
const TERMINAL_WITHIN: Duration = Duration::from_secs(120);

/// `fsck` beside the host.
pub(super) fn fsck(world: &World, deep: bool) -> Result<()> {
    let arguments: &[&str] = if deep { &["fsck", "--deep"] } else { &["fsck"] };
    let output = world.cli(arguments)?;
    ensure!(output.code == Some(0), "fsck found something:\n{}{}", output.stdout, output.stderr);
    Ok(())
}

/// Everything acknowledged since the last kill, and a few things from before.
pub(super) fn fresh(client: &mut StdioClient, journal: &mut Journal, random: &mut Random) -> Result<()> {
    let fresh_runs: BTreeSet<String> = journal.fresh_runs.drain(..).collect();
    let older: Vec<&String> = journal.runs.keys().collect();
    let mut runs: BTreeSet<&String> = fresh_runs.iter().collect();
    runs.extend((0..OLDER).filter_map(|_| random.one_of(&older).copied()));
    for id in runs {
        run(client, journal.runs.get(id).context("a run that was never told")?)?;
    }
    let from = journal.artifacts.len().saturating_sub(journal.fresh_artifacts);
    journal.fresh_artifacts = 0;
    let older = (0..OLDER).filter_map(|_| random.one_of(&journal.artifacts));
    for kept in journal.artifacts.iter().skip(from).chain(older) {
        artifact(client, &kept.id, &kept.checksum, Some(&kept.label))?;
    }
    Ok(())
}

/// Everything that this home ever acknowledged, and nothing that does not end.
pub(super) fn all(world: &World, client: &mut StdioClient, journal: &Journal) -> Result<()> {
    wait::until(TERMINAL_WITHIN, || open_runs(client).ok().filter(Vec::is_empty))
        .with_context(|| format!("runs do not come to an end: {:?}", open_runs(client)))?;
    for told in journal.runs.values() {
        run(client, told)?;
    }
    for kept in &journal.artifacts {
        artifact(client, &kept.id, &kept.checksum, None)?;
    }
    for (path, digest) in &journal.exports {
        let bytes = fs::read(path).with_context(|| format!("the export {} is gone", path.display()))?;
        ensure!(Digest::of(&bytes) == *digest, "the export {} is damaged", path.display());
    }
    // Once all has ended, nothing is being written.
    let left = wait::until(TERMINAL_WITHIN, || world.temporaries().ok().filter(BTreeSet::is_empty));
    ensure!(left.is_some(), "temporaries stay: {:?}", world.temporaries()?);
    Ok(())
}

/// Runs that are not terminal.
fn open_runs(client: &mut StdioClient) -> Result<Vec<Value>> {
    let mut open = Vec::new();
    for state in ["queued", "running", "waiting"] {
        let list = client.call("run_list", json!({"state": state}))?;
        let rows = list.structured["runs"].as_array().context("no runs in the list")?;
        open.extend(rows.iter().cloned());
    }
    Ok(open)
}

/// A run that was told is there; one that succeeded is the answer of the same call.
fn run(client: &mut StdioClient, told: &Told) -> Result<()> {
    let found = client.call("run_get", json!({"run_id": told.id}))?;
    ensure!(!found.is_error, "the acknowledged run {} is gone: {}", told.id, found.text());
    let Some(outputs) = &told.outputs else { return Ok(()) };
    let attempts = found.structured["attempts"].as_array().context("a run without attempts")?;
    let kept = attempts
        .iter()
        .any(|attempt| attempt["state"] == "succeeded" && outputs_of(&attempt["outputs"]) == *outputs);
    ensure!(kept, "{} succeeded with {outputs:?}, and is {}", told.id, found.structured);
    let again = client.call(told.tool, told.arguments.clone())?;
    ensure!(
        again.replayed() && again.run_id() == told.id && outputs_of(&again.structured["outputs"]) == *outputs,
        "{} is not its own answer: {}",
        told.id,
        again.structured
    );
    Ok(())
}

fn artifact(client: &mut StdioClient, id: &str, checksum: &str, label: Option<&str>) -> Result<()> {
    let found = client.call("artifact_get", json!({"artifact_id": id}))?;
    if found.is_error {
        bail!("the acknowledged artifact {id} is gone: {}", found.text());
    }
    let said = &found.structured["artifact"];
    ensure!(said["checksum_sha256"] == checksum, "{id} has another checksum: {said}");
    ensure!(label.is_none_or(|label| said["label"] == label), "{id} is not called {label:?}: {said}");
    Ok(())
}
