//! kill −9, of the host and of a runner, in the middle of a call.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::wait;
use serde_json::json;

use crate::guests;
use crate::stage::{Stage, text};

const SOON: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(180);

/// A world with the guest that takes its time.
pub fn patient() -> Result<Stage> {
    let component = guests::honest("patient")?;
    Stage::with(&[("patient", &component)])
}

/// Starts a run that takes some seconds, and waits until its guest reports progress.
pub fn begun(stage: &mut Stage, rounds: u32) -> Result<String> {
    let started = stage.client.call("patient", json!({"rounds": rounds, "wait_seconds": 0}))?;
    ensure!(!started.run_id().is_empty(), "no run: {}", started.structured);
    let run = started.run_id().to_owned();
    let mut last = started.structured;
    let seen = wait::until(SOON, || {
        last = stage.client.call("run_wait", json!({"run_id": run, "wait_seconds": 0})).ok()?.structured;
        last["progress"]["done"].as_u64().filter(|done| *done > 0)
    });
    seen.with_context(|| format!("the guest never reported progress: {last}"))?;
    Ok(run)
}

#[test]
fn a_killed_host_loses_no_run_that_it_acknowledged() -> Result<()> {
    let mut stage = patient()?;
    let artifact = stage.import_text("kept\n")?;
    let run = begun(&mut stage, 8000)?;

    stage.world.kill_host()?;
    stage.world.start_host()?;
    stage.client = stage.world.client()?;

    let reply = stage.client.call("run_wait", json!({"run_id": run, "wait_seconds": 150}))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    let kept = stage.client.call("artifact_get", json!({"artifact_id": artifact}))?;
    assert!(!kept.is_error, "an acknowledged artifact is gone: {}", kept.text());
    let again = stage.client.call("patient", json!({"rounds": 8000}))?;
    assert!(again.replayed() && again.run_id() == run, "{}", again.structured);
    stage.finish()
}

/// At any moment: whatever was acknowledged is there, and the home is consistent.
#[test]
fn a_host_killed_at_any_moment_leaves_a_consistent_home() -> Result<()> {
    let mut stage = patient()?;
    let mut acknowledged = Vec::new();
    for turn in 0..6_u64 {
        let text_id = stage.import_text(&format!("turn {turn}\n"))?;
        acknowledged.push(text_id);
        for call in 0..=turn {
            stage.client.send_call("echo", json!({"text": format!("{turn}.{call}")}))?;
        }
        // One answer of several: the others are somewhere on their way.
        stage.client.take(SOON, |message| message.get("result").is_some())?;
        stage.world.kill_host()?;
        stage.world.start_host()?;
        stage.client = stage.world.client()?;
        for id in &acknowledged {
            let kept = stage.client.call("artifact_get", json!({"artifact_id": id}))?;
            assert!(!kept.is_error, "turn {turn}: {id} is gone");
        }
        stage.world.fsck()?;
    }
    stage.honest_call()?;
    stage.finish()
}

#[test]
fn a_killed_runner_is_one_failed_attempt() -> Result<()> {
    let mut stage = patient()?;
    let run = begun(&mut stage, 500_000)?;
    let runner = busiest_runner(&stage)?;
    ensure!(Command::new("kill").args(["-9", &runner]).status()?.success(), "no runner to kill");

    let reply = stage.client.call("run_wait", json!({"run_id": run, "wait_seconds": 60}))?;
    assert_eq!(reply.status(), "failed", "{}", reply.structured);
    assert_eq!(reply.structured["failure"]["class"], "fault", "{}", reply.structured);

    stage.honest_call()?;
    let short = stage.client.call("patient", json!({"rounds": 10}))?;
    assert_eq!(short.status(), "succeeded", "{}", short.text());
    stage.finish()
}

#[test]
fn run_cancel_stops_the_guest() -> Result<()> {
    let mut stage = patient()?;
    let run = begun(&mut stage, 900_000)?;
    let mut other = stage.world.client()?;
    let waiting = other.send_call("run_wait", json!({"run_id": run, "wait_seconds": 100}))?;

    let cancelled = stage.client.call("run_cancel", json!({"run_id": run, "reason": "a test"}))?;
    assert!(!cancelled.is_error, "{}", cancelled.text());
    assert_eq!(other.reply(waiting, LONG)?.status(), "cancelled");
    wait::until(SOON, || busy_runners(&stage).ok().filter(Vec::is_empty)).context("the guest goes on")?;
    stage.honest_call()?;
    stage.finish()
}

pub fn busiest_runner(stage: &Stage) -> Result<String> {
    wait::until(SOON, || busy_runners(stage).ok()?.pop()).context("no runner is at work")
}

/// Children of the host that have used the processor for a while: those with a guest at work, the
/// busiest last.
pub fn busy_runners(stage: &Stage) -> Result<Vec<String>> {
    let host = stage.world.host_pid().context("no host")?.to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the command's name in brackets: state, parent, …, user ticks at the 12th place.
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks: u64 = fields.get(11).and_then(|ticks| ticks.parse().ok()).unwrap_or_default();
        if fields.get(1) == Some(&host.as_str()) && ticks > 20 && fields.first() != Some(&"Z") {
            found.push((ticks, entry.file_name().to_string_lossy().into_owned()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, pid)| pid).collect())
}

/// What a crash left half written is gone after the next start.
#[test]
fn what_was_half_written_is_cleared() -> Result<()> {
    let mut stage = Stage::honest()?;
    stage.world.kill_host()?;
    let incoming = stage.world.home().join("incoming");
    fs::write(incoming.join("half"), "half an artifact")?;
    stage.world.start_host()?;
    stage.client = stage.world.client()?;

    assert_eq!(fs::read_dir(&incoming)?.count(), 0, "{}", text(&stage.client.server["serverInfo"]["name"]));
    stage.finish()
}
