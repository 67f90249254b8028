//! Cancellations: early, late, twice, of nothing, and of what is somebody else's.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::Duration;

use anyhow::{Context, Result};
use helix_tests::wait;
use serde_json::{Value, json};

use super::raw::Raw;
use crate::crash::{begun, busy_runners, patient};
use crate::guests;
use crate::stage::{Stage, failure, imported};

const SOON: Duration = Duration::from_secs(60);

fn cancel(raw: &mut Raw, id: Value) -> Result<()> {
    let params = json!({"requestId": id, "reason": "\u{1b}[2J a test"});
    let line = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
    raw.say(format!("{line}\n").as_bytes())
}

/// A cancellation of a request that nobody made, was answered, or is another's ends nothing.
#[test]
fn a_cancellation_of_nothing_does_nothing() -> Result<()> {
    let mut stage = patient()?;
    let mut raw = Raw::greeted(&stage.world)?;
    for id in [json!(99), json!("x"), json!(null), json!({"a": 1}), json!(-1)] {
        cancel(&mut raw, id)?;
    }
    raw.call(json!(1), "echo", json!({"text": "first"}))?;
    assert_eq!(raw.hear()?["id"], 1);
    cancel(&mut raw, json!(1))?;
    cancel(&mut raw, json!(1))?;

    // The other connection has an open request of the same id.
    let mine = stage.client.send_call("patient", json!({"rounds": 2000}))?;
    cancel(&mut raw, json!(mine))?;
    raw.call(json!(2), "echo", json!({"text": "second"}))?;
    assert_eq!(raw.hear()?["id"], 2);
    assert_eq!(stage.client.reply(mine, SOON)?.status(), "succeeded");
    stage.honest_call()?;
    stage.finish()
}

/// Cancelled before it began, while it runs, and twice: the guest ends, no answer comes, the
/// connection goes on, and what nobody else waits for does not.
#[test]
fn a_cancelled_call_ends_its_guest() -> Result<()> {
    let mut stage = patient()?;
    let mut raw = Raw::greeted(&stage.world)?;
    raw.call(json!("early"), "patient", json!({"rounds": 999_999}))?;
    cancel(&mut raw, json!("early"))?;
    raw.call(json!("late"), "patient", json!({"rounds": 999_998}))?;
    wait::until(SOON, || busy_runners(&stage).ok().filter(|runners| !runners.is_empty()))
        .context("the guest never began")?;
    cancel(&mut raw, json!("late"))?;
    cancel(&mut raw, json!("late"))?;

    wait::until(SOON, || busy_runners(&stage).ok().filter(Vec::is_empty)).context("a guest goes on")?;
    raw.request(json!("after"), "ping", json!({}))?;
    assert_eq!(raw.hear()?["id"], "after", "a cancelled request was answered");
    wait::until(SOON, || stage.runs().ok().filter(|runs| runs.iter().all(|run| run == "patient cancelled")))
        .context("a run was not cancelled")?;
    stage.honest_call()?;
    stage.finish()
}

/// Who asks for much and cancels it at once has no more at work than one who waits for it.
#[test]
fn cancelled_reads_cost_no_more_than_open_ones() -> Result<()> {
    const READS: u64 = 300;
    let mut stage = Stage::honest()?;
    // As for a peer that does not read: what one connection may hold, twice.
    stage.world.growth_bytes_max = 128 << 20;
    fs::write(stage.world.data().join("large.txt"), "x".repeat(4 << 20))?;
    let large = json!({"root": "data", "path": "large.txt"});
    let id = imported(&stage.client.call("artifact_import", large)?)?;
    let uri = format!("helix://artifact/{id}");
    stage.world.look()?;

    let mut raw = Raw::greeted(&stage.world)?;
    for read in 0..READS {
        raw.request(json!(read), "resources/read", json!({"uri": uri}))?;
        cancel(&mut raw, json!(read))?;
    }
    raw.request(json!("after"), "ping", json!({}))?;
    while raw.hear()?["id"] != "after" {}
    raw.request(json!("read"), "resources/read", json!({"uri": uri}))?;
    assert_eq!(raw.hear()?["result"]["contents"][0]["text"].as_str().map(str::len), Some(4 << 20));
    stage.honest_call()?;
    stage.finish()
}

/// An import that nobody waits for stops, and leaves nothing.
#[test]
fn a_cancelled_import_stops_and_leaves_nothing() -> Result<()> {
    const BYTES: u64 = 3 << 30;
    let mut stage = Stage::honest()?;
    File::create(stage.world.data().join("large.txt"))?.set_len(BYTES)?;
    let mut raw = Raw::greeted(&stage.world)?;
    let large = json!({"root": "data", "path": "large.txt", "label": "large"});
    raw.call(json!(1), "artifact_import", large.clone())?;
    wait::until(SOON, || stage.world.temporaries().ok().filter(|names| !names.is_empty()))
        .context("it never began")?;
    cancel(&mut raw, json!(1))?;
    wait::until(SOON, || stage.world.temporaries().ok().filter(BTreeSet::is_empty)).context("it goes on")?;
    let list = stage.client.call("artifact_list", json!({}))?;
    assert_eq!(list.structured["artifacts"], json!([]), "it went on to its end");

    // One that leaves does the same; one that was told that it goes on leaves it to itself.
    raw.call(json!(2), "artifact_import", large)?;
    wait::until(SOON, || stage.world.temporaries().ok().filter(|names| !names.is_empty()))
        .context("it never began again")?;
    drop(raw);
    wait::until(SOON, || stage.world.temporaries().ok().filter(BTreeSet::is_empty)).context("it goes on")?;
    let list = stage.client.call("artifact_list", json!({}))?;
    assert_eq!(list.structured["artifacts"], json!([]), "it went on to its end");

    fs::write(stage.world.data().join("small.txt"), "small\n".repeat(1 << 20))?;
    let small = json!({"root": "data", "path": "small.txt", "wait_seconds": 0});
    let mut other = Raw::greeted(&stage.world)?;
    other.call(json!(1), "artifact_import", small)?;
    let told = other.hear()?;
    assert!(told["result"]["structuredContent"]["status"].is_string(), "{told}");
    drop(other);
    wait::until(SOON, || {
        let list = stage.client.call("artifact_list", json!({})).ok()?;
        (list.structured["artifacts"][0]["label"] == "small.txt").then_some(())
    })
    .context("what was promised did not come")?;
    stage.honest_call()?;
    stage.finish()
}

/// A run that two wait for is nobody's to end by leaving.
#[test]
fn a_shared_run_goes_on_without_one_of_its_waiters() -> Result<()> {
    let mut stage = patient()?;
    let mut raw = Raw::greeted(&stage.world)?;
    let arguments = json!({"rounds": 8000, "wait_seconds": 100});
    raw.call(json!(1), "patient", arguments.clone())?;
    wait::until(SOON, || busy_runners(&stage).ok().filter(|runners| !runners.is_empty()))
        .context("the guest never began")?;
    let mine = stage.client.send_call("patient", arguments)?;
    // The second waits by the time that it has seen progress.
    wait::until(SOON, || running(&mut stage)).context("the run is not seen")?;
    cancel(&mut raw, json!(1))?;
    drop(raw);
    assert_eq!(stage.client.reply(mine, SOON)?.status(), "succeeded");
    stage.finish()
}

fn running(stage: &mut Stage) -> Option<()> {
    let list = stage.client.call("run_list", json!({"state": "running"})).ok()?;
    (list.structured["runs"] != json!([])).then_some(())
}

/// `run_cancel` says what it did, however often it is asked, and stays within the project.
#[test]
fn run_cancel_says_what_it_did() -> Result<()> {
    let component = guests::honest("patient")?;
    let mut stage = Stage::with(&[("patient", &component)])?;
    let run = begun(&mut stage, 900_000)?;
    for reason in ["r".repeat(201), "r".repeat(900_000)] {
        let reply = stage.client.call("run_cancel", json!({"run_id": run, "reason": reason}))?;
        assert_eq!(failure(&reply), "arguments/argument_range");
    }
    let first = stage.client.call("run_cancel", json!({"run_id": run, "reason": "\u{1b}[31m</result>"}))?;
    assert_eq!(first.structured["outcome"], "requested", "{}", first.structured);
    let ended = stage.client.call("run_wait", json!({"run_id": run, "wait_seconds": 60}))?;
    assert_eq!(ended.status(), "cancelled");
    assert!(!format!("{}{}", ended.structured, ended.text()).contains('\u{1b}'), "{}", ended.structured);
    for _again in 0..2 {
        let again = stage.client.call("run_cancel", json!({"run_id": run}))?;
        assert_eq!(again.structured["outcome"], "already_ended", "{}", again.structured);
        assert_eq!(again.structured["state"], "cancelled");
    }
    for nothing in ["run_00000000000000000000000000", "run_x", "", "*"] {
        let reply = stage.client.call("run_cancel", json!({"run_id": nothing}))?;
        assert_eq!(failure(&reply), "arguments/run_unknown");
    }
    stage.honest_call()?;
    stage.finish()
}
