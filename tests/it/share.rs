//! One home, three assistants and a shell: a run goes on when the chat that started it is closed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use helix_tests::{StdioClient, wait};
use serde_json::json;

use crate::guests;
use crate::stage::Stage;

/// A run that is younger than this when its last waiter leaves is cancelled.
const MINUTE: Duration = Duration::from_secs(60);

fn patient() -> Result<Stage> {
    let component = guests::honest("patient")?;
    Stage::prepared(|world| {
        world.policy.limit("guest", "fuel", "100_000_000_000_000");
        world.allow("patient", &component).map(drop)
    })
}

/// How many rounds take about this long on this machine as it is now.
fn rounds_for(stage: &mut Stage, long: Duration) -> Result<u64> {
    let start = Instant::now();
    stage.client.call("patient", json!({"rounds": 3000, "wait_seconds": 600}))?;
    let each = start.elapsed() / 3000;
    Ok(u64::try_from(long.as_nanos() / each.as_nanos().max(1))?.clamp(3000, 400_000))
}

fn running(client: &mut StdioClient) -> Option<String> {
    let list = client.call("run_list", json!({"state": "running"})).ok()?;
    list.structured["runs"][0]["run_id"].as_str().map(str::to_owned)
}

#[test]
fn a_run_outlives_the_chat_that_started_it() -> Result<()> {
    let mut stage = patient()?;
    let (mut second, mut third) = (stage.world.client()?, stage.world.client()?);
    let mut rounds = rounds_for(&mut stage, MINUTE * 2)?;
    let run = loop {
        let mut first = stage.world.client()?;
        first.send_call("patient", json!({"rounds": rounds, "wait_seconds": 3600}))?;
        let run =
            wait::until(MINUTE, || running(&mut second)).context("another client does not see the run")?;
        // Nobody leaves within the first minute; a run that did not last so long proves nothing.
        let watched = second.call("run_wait", json!({"run_id": run, "wait_seconds": 62}))?;
        first.close()?;
        if watched.status() == "running" {
            break run;
        }
        rounds *= 2;
        ensure!(rounds < 900_000, "this machine is too fast for the guest that takes its time");
    };

    let shell = stage.world.cli(&["runs", "show", &run])?.ok()?;
    assert!(shell.stdout.contains("running"), "it did not go on: {}", shell.stdout);
    let reply = third.call("run_wait", json!({"run_id": run, "wait_seconds": 600}))?;
    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    let shell = stage.world.cli(&["runs", "show", &run, "--json"])?.ok()?;
    assert!(shell.stdout.contains("succeeded"), "{}", shell.stdout);
    for client in [second, third] {
        client.close()?;
    }
    stage.finish()
}

#[test]
fn a_young_run_ends_with_its_last_waiter() -> Result<()> {
    let mut stage = patient()?;
    let mut first = stage.world.client()?;
    first.send_call("patient", json!({"rounds": 900_000, "wait_seconds": 3600}))?;
    let run = wait::until(MINUTE, || running(&mut stage.client)).context("the run was never seen")?;
    first.close()?;

    let ended = wait::until(MINUTE, || {
        let run = stage.client.call("run_get", json!({"run_id": run})).ok()?;
        (run.structured["state"] != "running").then_some(run.structured["state"].clone())
    });
    assert_eq!(ended, Some(json!("cancelled")));
    stage.finish()
}

/// `serve` starts a host where there is none, and it stays for the next.
#[test]
fn an_attachment_starts_a_host_in_the_background() -> Result<()> {
    let mut world = helix_tests::World::new()?;
    world.allow("echo", &guests::honest("echo")?)?;
    world.write_policy()?;
    let mut first = world.client()?;
    assert_eq!(first.call("echo", json!({"text": "a"}))?.status(), "succeeded");
    first.close()?;

    let mut second = world.client()?;
    let again = second.call("echo", json!({"text": "a"}))?;
    assert!(again.replayed(), "{}", again.structured);
    let shell = world.cli(&["run", "echo", "text=a", "--json"])?.ok()?;
    assert!(shell.stdout.contains(again.run_id()), "the shell has another record: {}", shell.stdout);
    second.close()?;
    world.finish()
}
