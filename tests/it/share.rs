//! One home, three assistants and a shell: a run goes on when the chat that started it is closed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use helix_tests::wait;
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

#[test]
fn a_run_outlives_the_chat_that_started_it() -> Result<()> {
    let mut stage = patient()?;
    let (mut second, mut third) = (stage.world.client()?, stage.world.client()?);
    // How fast this machine is, so that the run takes a little longer than the chat stays.
    let start = Instant::now();
    stage.client.call("patient", json!({"rounds": 3000, "wait_seconds": 600}))?;
    let each = start.elapsed() / 3000;
    let rounds = (MINUTE + MINUTE / 3).as_nanos() / each.as_nanos().max(1);

    let first = stage.world.client()?;
    let mut first = first;
    first.send_call("patient", json!({"rounds": u64::try_from(rounds)?, "wait_seconds": 3600}))?;
    let run = wait::until(MINUTE, || {
        let list = second.call("run_list", json!({"state": "running"})).ok()?;
        list.structured["runs"][0]["run_id"].as_str().map(str::to_owned)
    });
    let run = run.context("another client does not see the run")?;
    // Somebody else watches for the first minute, then everybody leaves.
    let started = Instant::now();
    wait::until(MINUTE * 2, || (started.elapsed() > MINUTE + Duration::from_secs(2)).then_some(()));
    first.close()?;

    let shell = stage.world.cli(&["runs", "show", &run])?.ok()?;
    assert!(shell.stdout.contains("running"), "it did not go on: {}", shell.stdout);
    let reply = third.call("run_wait", json!({"run_id": run, "wait_seconds": 100}))?;
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
    let run = wait::until(MINUTE, || {
        let list = stage.client.call("run_list", json!({"state": "running"})).ok()?;
        list.structured["runs"][0]["run_id"].as_str().map(str::to_owned)
    });
    let run = run.context("the run was never seen")?;
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
