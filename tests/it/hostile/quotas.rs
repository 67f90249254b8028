//! What one caller may take: requests, runs, denials and room. Others go on as before.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::wait;
use serde_json::{Value, json};

use super::attack::staged;
use super::raw::Raw;
use crate::crash::busy_runners;
use crate::guests;
use crate::stage::{Stage, failure};

const SOON: Duration = Duration::from_secs(60);

/// Of many calls at once as many go on as policy says, with a few for connections that have less
/// than their part; the others are told to come later, and what is known already is answered all
/// the while.
#[test]
fn a_caller_has_so_many_runs_and_no_more() -> Result<()> {
    let component = guests::honest("patient")?;
    let mut stage = Stage::prepared(|world| {
        world.policy.limit("caller", "concurrent_runs", "2").limit("caller", "queued", "3");
        world.allow("patient", &component).map(drop)
    })?;
    stage.honest_call()?;
    let mut crowd: Vec<Raw> = (0..10).map(|_| Raw::greeted(&stage.world)).collect::<Result<_>>()?;
    for (number, raw) in crowd.iter_mut().enumerate() {
        for call in 0..5 {
            let rounds = 900_000 + number * 10 + call;
            raw.call(json!(call), "patient", json!({"rounds": rounds, "wait_seconds": 0}))?;
        }
    }
    let (mut admitted, mut refused) = (0, 0);
    let mut runs = Vec::new();
    for raw in &mut crowd {
        for _call in 0..5 {
            let answer = raw.hear()?["result"]["structuredContent"].clone();
            if answer["failure"]["code"] == "too_many_runs" {
                refused += 1;
                assert!(answer["failure"]["retry_after_ms"].as_u64().is_some(), "{answer}");
            } else {
                admitted += 1;
                runs.push(answer["run_id"].as_str().context("no run")?.to_owned());
            }
        }
    }
    // Five, and for each connection that comes later its even part of them: 2, 1, 1 and 1 at most.
    assert!(
        (5..=10).contains(&admitted) && admitted + refused == 50,
        "{admitted} admitted, {refused} refused"
    );
    assert!(busy_runners(&stage)?.len() <= 2, "more guests run than policy lets one caller have");
    let again = stage.client.call("echo", json!({"text": "still here"}))?;
    assert!(again.replayed(), "{}", again.structured);
    for run in &runs {
        stage.client.call("run_cancel", json!({"run_id": run}))?;
    }
    wait::until(SOON, || busy_runners(&stage).ok().filter(Vec::is_empty)).context("a guest goes on")?;
    drop(crowd);
    stage.honest_call()?;
    stage.finish()
}

/// A replay is a request like any other, on whichever connection it comes.
#[test]
fn replays_are_counted_too() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        world.policy.limit("caller", "requests_per_minute", "60");
        Ok(())
    })?;
    stage.honest_call()?;
    let mut other = stage.world.client()?;
    let (mut answered, mut limited) = (0, 0);
    for turn in 0..400 {
        let client = if turn % 2 == 0 { &mut stage.client } else { &mut other };
        let reply = client.call("echo", json!({"text": "still here"}))?;
        match failure(&reply).as_str() {
            "busy/rate_limited" => limited += 1,
            _ => answered += 1,
        }
    }
    // Some of the sixty went before; one flows in each second, and how many that are depends on this
    // machine.
    ensure!((50..200).contains(&answered) && limited > 200, "{answered} answered, {limited} limited");
    assert!(stage.client.tools()?.len() > 1, "a caller that is limited cannot even look");
    other.close()?;
    stage.client.close()?;
    stage.world.finish()
}

/// Who cancels each attempt makes no more of them than one who asks for them by name.
#[test]
fn cancelled_attempts_are_bounded_too() -> Result<()> {
    let mut stage = crate::crash::patient()?;
    let call = json!({"rounds": 900_000, "wait_seconds": 0});
    let mut refused = None;
    for _attempt in 0..120 {
        let reply = stage.client.call("patient", call.clone())?;
        if failure(&reply) == "busy/retried_too_often" {
            refused = Some(reply);
            break;
        }
        let run = reply.run_id().to_owned();
        ensure!(!run.is_empty(), "{}", reply.structured);
        stage.client.call("run_cancel", json!({"run_id": run}))?;
        stage.client.call("run_wait", json!({"run_id": run, "wait_seconds": 60}))?;
    }
    refused.context("attempts without end")?;
    stage.honest_call()?;
    stage.finish()
}

/// A run that logs all it may, made again and again: it is refused in the end, and whoever reads
/// it gets its newest attempts, in memory that does not grow with their number.
#[test]
fn retries_are_bounded_and_a_run_of_many_attempts_is_read_cheaply() -> Result<()> {
    /// Together they find each of the ledger's four reading connections at work. `SQLite` reads a
    /// log whole to give its end, and this one takes 5.2 MB: a line is escaped before it is kept. So
    /// the reads need 21 MB at once, and what threads hold of freed memory comes to that: 22 to 38
    /// MB have been seen. Were the logs kept until the answer, it would be hundreds.
    const READERS: usize = 8;
    const GROWTH_BYTES_MAX: u64 = 64 << 20;
    let mut stage = staged("huge_log")?;
    let mut tried = |tool: &str, arguments: Value, times: u32| -> Result<String> {
        let first = stage.client.call(tool, arguments.clone())?;
        let mut again = arguments;
        again["retry"] = json!(true);
        for attempt in 1..times {
            let reply = stage.client.call(tool, again.clone())?;
            let is_same = !reply.is_error && reply.run_id() == first.run_id();
            ensure!(is_same, "attempt {attempt}: {}", reply.structured);
        }
        Ok(first.run_id().to_owned())
    };
    tried("echo", json!({"text": "again"}), 100)?;
    // A megabyte of log each time.
    let run = tried("attack", json!({}), 30)?;
    let refused = stage.client.call("echo", json!({"text": "again", "retry": true}))?;
    assert_eq!(failure(&refused), "busy/retried_too_often", "{}", refused.structured);
    assert!(
        refused.structured["failure"]["retry_after_ms"].as_u64() > Some(60_000),
        "{}",
        refused.structured
    );
    assert!(stage.client.call("echo", json!({"text": "again"}))?.replayed(), "it is no longer answered");

    // From here on: what the reads cost.
    stage.world.look()?;
    stage.world.growth_bytes_max = GROWTH_BYTES_MAX;
    let mut readers: Vec<Raw> = (0..READERS).map(|_| Raw::greeted(&stage.world)).collect::<Result<_>>()?;
    for reader in &mut readers {
        reader.call(json!("get"), "run_get", json!({"run_id": run, "events": true}))?;
        reader.call(json!("explain"), "run_explain", json!({"a": run, "b": run}))?;
        reader.call(json!("wait"), "run_wait", json!({"run_id": run}))?;
    }
    for reader in &mut readers {
        for _answer in 0..3 {
            let answer = reader.hear()?;
            let got = &answer["result"]["structuredContent"];
            match answer["id"].as_str() {
                Some("get") => {
                    let attempts = got["attempts"].as_array().context("no attempts")?;
                    let ordinals: Vec<_> =
                        attempts.iter().filter_map(|row| row["ordinal"].as_u64()).collect();
                    assert_eq!(ordinals, (11..=30).collect::<Vec<_>>());
                    assert_eq!(got["attempts_left_out"], 10, "{answer}");
                    assert_eq!(attempts[0]["log_tail"].as_str().map(str::len), Some(4096));
                }
                Some("explain") => assert!(got["summary"].is_string(), "{answer}"),
                _ => assert_eq!(got["status"], "succeeded", "{answer}"),
            }
        }
    }
    drop(readers);
    stage.finish()
}

/// A caller that is denied again and again fills no disk: the ledger keeps the first of them, and
/// the caller is told to slow down.
#[test]
fn denials_are_recorded_and_bounded() -> Result<()> {
    let mut stage = Stage::honest()?;
    let before = ledger_bytes(&stage)?;
    let (mut ids, mut limited) = (BTreeSet::new(), 0);
    for number in 0..1000 {
        let path = format!("../{number}/{}", "x".repeat(200));
        let reply = stage.client.call("artifact_import", json!({"root": "data", "path": path}))?;
        match failure(&reply).as_str() {
            "denied/import_path_denied" => {
                ids.insert(reply.structured["failure"]["denial_id"].to_string());
            }
            "busy/rate_limited" => limited += 1,
            other => ensure!(false, "{other}: {}", reply.structured),
        }
    }
    ensure!((60..200).contains(&ids.len()) && limited > 700, "{} recorded, {limited} limited", ids.len());
    let grown = ledger_bytes(&stage)? - before;
    assert!(grown < 2 << 20, "{} denials took {grown} bytes", ids.len());
    stage.honest_call()?;
    stage.finish()
}

/// Bytes of the ledger with what is not in it yet.
fn ledger_bytes(stage: &Stage) -> Result<u64> {
    let mut bytes = 0;
    for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
        bytes += fs::metadata(stage.world.home().join(name)).map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

/// Imports that come at once share what is left, and take no byte more.
#[test]
fn parallel_imports_stay_within_the_quota() -> Result<()> {
    const QUOTA: usize = 4 << 20;
    const EACH: usize = 700 << 10;
    let mut stage = Stage::prepared(|world| {
        world.policy.limit("caller", "store_bytes", "\"4MiB\"");
        Ok(())
    })?;
    let mut asked = Vec::new();
    for number in 0..20_u8 {
        let name = format!("{number}.txt");
        fs::write(stage.world.data().join(&name), vec![b'a' + number; EACH])?;
        asked.push(stage.client.send_call("artifact_import", json!({"root": "data", "path": name}))?);
    }
    let mut imported = 0;
    for id in asked {
        let reply = stage.client.reply(id, SOON)?;
        if reply.is_error {
            assert_eq!(failure(&reply), "busy/store_quota", "{}", reply.structured);
        } else {
            imported += 1;
        }
    }
    assert_eq!(imported, QUOTA / EACH, "of what fits, as many as fit");
    let info = stage.client.call("host_info", json!({}))?;
    let used =
        info.structured["projects"][0]["store_bytes_used"].as_str().context("no use")?.parse::<usize>()?;
    assert!(used <= QUOTA, "{used} of {QUOTA} bytes are used");

    // What is left is for whoever comes later.
    let reply = stage.client.call("artifact_import", json!({"text": "x".repeat(300 << 10)}))?;
    assert!(!reply.is_error, "{}", reply.structured);
    let reply = stage.client.call("artifact_import", json!({"text": "y".repeat(700 << 10)}))?;
    assert_eq!(failure(&reply), "busy/store_quota");
    stage.honest_call()?;
    stage.finish()
}

/// So do runs: what each made is kept whole or not at all.
#[test]
fn parallel_runs_stay_within_the_quota() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        world.policy.limit("caller", "store_bytes", "\"2KiB\"");
        Ok(())
    })?;
    let text = |number: usize| number.to_string().repeat(900);
    let asked: Vec<u64> = (0..6)
        .map(|number| stage.client.send_call("echo", json!({"text": text(number)})))
        .collect::<Result<_>>()?;
    let mut kept = 0;
    for id in asked {
        let reply = stage.client.reply(id, SOON)?;
        match failure(&reply).as_str() {
            "limit/store_quota" | "busy/store_quota" => {}
            _ => {
                assert_eq!(reply.status(), "succeeded", "{}", reply.structured);
                kept += 1;
            }
        }
    }
    assert_eq!((kept, stage.artifacts_made()?), (2, 2), "of what fits, as many as fit");

    // A limit is no answer: with more room the same call succeeds.
    stage.world.policy.limit("caller", "store_bytes", "\"20KiB\"");
    stage.world.write_policy()?;
    wait::until(SOON, || {
        let info = stage.client.call("host_info", json!({})).ok()?;
        (info.structured["projects"][0]["store_bytes_left"].as_str()?.parse::<u64>().ok()? > 10_000)
            .then_some(())
    })
    .context("the policy was not read")?;
    for number in 0..6 {
        let reply = stage.client.call("echo", json!({"text": text(number)}))?;
        assert_eq!(reply.status(), "succeeded", "{}", reply.structured);
    }
    stage.honest_call()?;
    stage.finish()
}
