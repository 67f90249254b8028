//! Peers that do not read, do not end their lines, come in crowds, or go away; and a host that is
//! told to leave.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::{StdioClient, vitals, wait};
use serde_json::{Value, json};

use super::raw::Raw;
use crate::crash::{begun, busy_runners, patient};
use crate::stage::{Stage, imported};

const SOON: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// By how much a host may grow whose peers fill one connection's share of what waits, and as much
/// again for what is on its way there.
const SHARE_BYTES_MAX: u64 = 2 * 64 * 1024 * 1024;

/// And one whose peers fill what all connections may hold together.
const POOL_BYTES_MAX: u64 = 300 * 1024 * 1024;

/// A peer that asks for much and reads nothing, or one byte at a time, costs what one connection
/// may hold, and nobody else notices.
#[test]
fn a_peer_that_does_not_read_is_bounded() -> Result<()> {
    const READS: u64 = 60;
    let mut stage = Stage::honest()?;
    stage.world.growth_bytes_max = SHARE_BYTES_MAX;
    fs::write(stage.world.data().join("large.txt"), "x".repeat(4 * MIB))?;
    let id = imported(&stage.client.call("artifact_import", json!({"root": "data", "path": "large.txt"}))?)?;
    let uri = format!("helix://artifact/{id}");
    stage.client.request("resources/read", json!({"uri": uri}))?;
    let host = stage.world.host_pid().context("no host")?;
    let before = vitals::status(host, "VmRSS")?;

    let mut raw = Raw::greeted(&stage.world)?;
    for read in 0..READS {
        raw.request(json!(read), "resources/read", json!({"uri": uri}))?;
    }
    for byte in 0..10 {
        ensure!(raw.stream.read(&mut [0])? == 1, "byte {byte} does not come");
        stage.honest_call()?;
    }
    let grown = vitals::status(host, "VmRSS")?.saturating_sub(before);
    assert!(grown < SHARE_BYTES_MAX / 1024, "{grown} KiB for a peer that does not read");

    drop(raw);
    stage.honest_call()?;
    stage.finish()
}

/// Every request of a peer that reads late is answered once: with what it asked for, or with the
/// word that there was no room to keep it.
#[test]
fn a_peer_that_reads_late_hears_of_every_request() -> Result<()> {
    const READS: u64 = 40;
    let mut stage = Stage::honest()?;
    stage.world.growth_bytes_max = SHARE_BYTES_MAX;
    fs::write(stage.world.data().join("large.txt"), "x".repeat(4 * MIB))?;
    let id = imported(&stage.client.call("artifact_import", json!({"root": "data", "path": "large.txt"}))?)?;
    let uri = format!("helix://artifact/{id}");

    let mut raw = Raw::greeted(&stage.world)?;
    for read in 0..READS {
        raw.request(json!(read), "resources/read", json!({"uri": uri}))?;
    }
    // Every read has left its event before its answer waits.
    stage.honest_call()?;
    let (mut whole, mut refused) = (0, 0);
    let mut open: Vec<u64> = (0..READS).collect();
    while !open.is_empty() {
        let answer = raw.hear()?;
        let id = answer["id"].as_u64().context("no id")?;
        open.retain(|other| *other != id);
        match answer["result"]["contents"][0]["text"].as_str() {
            Some(text) => {
                assert_eq!(text.len(), 4 * MIB);
                whole += 1;
            }
            None => {
                assert_eq!(answer["error"]["code"], -32000, "{answer}");
                refused += 1;
            }
        }
    }
    assert!(whole > 0 && whole + refused == READS, "{whole} whole, {refused} refused");
    raw.request(json!("after"), "ping", json!({}))?;
    assert_eq!(raw.hear()?["id"], "after");
    stage.finish()
}

/// A request that waits for a run that lasts, and that is a megabyte long for no reason.
fn heavy(run: &str, id: u64) -> Vec<u8> {
    let call = json!({
        "name": "run_wait", "arguments": {"run_id": run, "wait_seconds": 3600},
        "_meta": {"padding": "x".repeat(MIB - 4000)},
    });
    let line = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call});
    format!("{line}\n").into_bytes()
}

/// Requests that wait are counted in bytes: of each connection, and of all together; and an
/// ordinary request finds its way whatever others do.
#[test]
fn requests_that_wait_are_bounded_in_bytes() -> Result<()> {
    const CONNECTIONS: u64 = 20;
    const EACH: u64 = 5;
    let mut stage = patient()?;
    stage.world.growth_bytes_max = POOL_BYTES_MAX;
    let run = begun(&mut stage, 999_999)?;
    let host = stage.world.host_pid().context("no host")?;
    let before = vitals::status(host, "VmRSS")?;

    // One connection: most of what it says stays in its socket.
    let mut greedy = Raw::greeted(&stage.world)?;
    greedy.stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let line = heavy(&run, 1);
    let taken = (0..40).take_while(|id| greedy.stream.write_all(&heavy(&run, *id)).is_ok()).count();
    assert!((5..12).contains(&taken), "{taken} requests of {} bytes were taken", line.len());
    stage.honest_call()?;
    drop(greedy);

    // Many connections: what all may hold is given to some of them, and the rest is refused.
    let mut crowd: Vec<Raw> = (0..CONNECTIONS).map(|_| Raw::greeted(&stage.world)).collect::<Result<_>>()?;
    for raw in &mut crowd {
        for id in 0..EACH {
            raw.say(&heavy(&run, id))?;
        }
    }
    let mut refused = 0;
    for raw in &mut crowd {
        raw.request(json!("ordinary"), "ping", json!({}))?;
        loop {
            let answer = raw.hear()?;
            if answer["id"] == "ordinary" {
                break;
            }
            assert_eq!(answer["error"]["code"], -32000, "{answer}");
            refused += 1;
        }
    }
    // What the greedy one left may still be held for a moment.
    let over = CONNECTIONS * EACH - 64;
    let range = over - 4..over + 12;
    assert!(range.contains(&refused), "{refused} of {} were refused", CONNECTIONS * EACH);
    stage.honest_call()?;
    let grown = vitals::status(host, "VmRSS")?.saturating_sub(before);
    assert!(grown < POOL_BYTES_MAX / 1024, "{grown} KiB for requests that wait");

    drop(crowd);
    stage.client.call("run_cancel", json!({"run_id": run}))?;
    let reply = wait::until(SOON, || {
        let large = json!({"text": "x".repeat(900_000)});
        stage.client.call("artifact_import", large).ok().filter(|reply| !reply.is_error)
    });
    reply.context("what was given back is not there")?;
    stage.finish()
}

/// A line that is never ended holds nobody up.
#[test]
fn a_line_without_an_end_holds_nobody_up() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut raw = Raw::greeted(&stage.world)?;
    raw.say(br#"{"jsonrpc":"2.0","id":1,"#)?;
    raw.say(&vec![b' '; 900_000])?;
    stage.honest_call()?;
    let mut other = Raw::greeted(&stage.world)?;
    other.request(json!(1), "ping", json!({}))?;
    assert_eq!(other.hear()?["id"], 1);
    raw.say(b"\"method\":\"ping\"}\n")?;
    assert_eq!(raw.hear()?, json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    stage.finish()
}

/// An end of input in the middle of a message: what was whole is answered, and so is the rest.
#[test]
fn an_end_of_input_in_mid_message_is_an_end() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut raw = Raw::greeted(&stage.world)?;
    raw.call(json!(1), "echo", json!({"text": "whole"}))?;
    raw.say(br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"na"#)?;
    raw.stream.shutdown(Shutdown::Write)?;
    let mut answers = [raw.hear()?, raw.hear()?];
    answers.sort_by_key(|answer| answer["error"].is_object());
    assert_eq!(answers[0]["result"]["structuredContent"]["status"], "succeeded", "{}", answers[0]);
    assert_eq!(answers[1]["error"]["code"], -32700, "{}", answers[1]);
    assert!(raw.hear().is_err(), "the connection stays open");
    stage.honest_call()?;
    stage.finish()
}

/// A client that closes its end of stdout ends its attachment, quietly, and nothing else.
#[test]
fn a_client_that_no_longer_listens_ends_its_attachment() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut serve = stage.world.serve()?;
    let mut attachment = serve.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(attachment.stdout.take());
    let mut stdin = attachment.stdin.take().context("no stdin")?;
    let status = wait::until(SOON, || {
        // It may be gone by now, which is what is waited for.
        let _gone = writeln!(stdin, r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list"}}"#).is_err();
        attachment.try_wait().ok().flatten()
    });
    let status = status.context("the attachment stays")?;
    let mut said = String::new();
    attachment.stderr.take().context("no stderr")?.read_to_string(&mut said)?;
    assert!(status.success() && !said.contains("panicked"), "{status}: {said}");
    stage.honest_call()?;
    stage.finish()
}

/// More connections than are served are closed, and those that are served go on.
#[test]
fn a_crowd_of_connections_is_bounded() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut crowd = Vec::new();
    let turned_away = (0..300).find(|_| {
        let greeted = Raw::greeted(&stage.world);
        greeted.map(|raw| crowd.push(raw)).is_err()
    });
    let turned_away = turned_away.context("nobody was turned away")?;
    assert!((200..=256).contains(&turned_away), "{turned_away} were served");
    stage.honest_call()?;
    for raw in crowd.iter_mut().step_by(50) {
        raw.request(json!(1), "ping", json!({}))?;
        assert_eq!(raw.hear()?["id"], 1);
    }
    drop(crowd);
    wait::until(SOON, || Raw::greeted(&stage.world).ok()).context("nobody is served any more")?;
    stage.finish()
}

/// SIGTERM or Ctrl-C to an attachment ends it and nothing else.
#[test]
fn a_signal_to_an_attachment_ends_it_alone() -> Result<()> {
    let mut stage = patient()?;
    let run = begun(&mut stage, 900_000)?;
    for signal in ["TERM", "INT", "KILL"] {
        let mut attachment = stage.world.serve()?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut stdin = attachment.stdin.take().context("no stdin")?;
        let wait_for = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        writeln!(stdin, "{wait_for}")?;
        let pid = attachment.id().to_string();
        // What starts it gives a signal its meaning again that whoever tests may have ignored.
        let is_started =
            || fs::read_link(format!("/proc/{pid}/exe")).ok()?.ends_with("helixmcp").then_some(());
        wait::until(SOON, is_started).context("no attachment is started")?;
        ensure!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status()?.success(),
            "no attachment"
        );
        let ended = wait::until(SOON, || attachment.try_wait().ok().flatten());
        ended.with_context(|| format!("the attachment stays after {signal}"))?;
        let state = stage.client.call("run_get", json!({"run_id": run}))?;
        assert_eq!(state.structured["state"], "running", "after {signal}: {}", state.structured);
    }
    stage.client.call("run_cancel", json!({"run_id": run}))?;
    stage.honest_call()?;
    stage.finish()
}

/// Told to leave, a host takes nobody in, lets what is short end, and loses nothing.
#[test]
fn a_host_that_is_told_to_leave_loses_nothing() -> Result<()> {
    for signal in ["TERM", "INT"] {
        let mut stage = patient()?;
        let artifact = stage.import_text("kept\n")?;
        let run = begun(&mut stage, 8000)?;
        stage.world.signal_host(signal)?;
        wait::until(SOON, || Raw::connect(&stage.world).err()).context("somebody is still taken in")?;
        let status = stage.world.host_left(SOON)?;
        assert!(status.success(), "{signal}: {status}");

        again(&mut stage)?;
        let reply = stage.client.call("run_wait", json!({"run_id": run, "wait_seconds": 100}))?;
        assert_eq!(reply.status(), "succeeded", "{signal}: {}", reply.text());
        let kept = stage.client.call("artifact_get", json!({"artifact_id": artifact}))?;
        assert!(!kept.is_error, "{signal}: {}", kept.text());
        stage.honest_call()?;
        stage.finish()?;
    }
    Ok(())
}

/// Told twice, it leaves at once; what was under way is carried on by the next host.
#[test]
fn a_host_that_is_told_twice_leaves_at_once() -> Result<()> {
    let mut stage = patient()?;
    let run = begun(&mut stage, 999_999)?;
    stage.world.signal_host("INT")?;
    wait::until(SOON, || Raw::connect(&stage.world).err()).context("somebody is still taken in")?;
    stage.world.signal_host("INT")?;
    let status = stage.world.host_left(Duration::from_secs(5))?;
    assert!(status.success(), "{status}");

    again(&mut stage)?;
    let state = stage.client.call("run_get", json!({"run_id": run}))?;
    assert!(
        ["queued", "running"].contains(&state.structured["state"].as_str().unwrap_or_default()),
        "{}",
        state.structured
    );
    wait::until(SOON, || busy_runners(&stage).ok().filter(|runners| !runners.is_empty()))
        .context("it is not carried on")?;
    stage.client.call("run_cancel", json!({"run_id": run}))?;
    let ended = stage.client.call("run_wait", json!({"run_id": run}))?;
    assert_eq!(ended.status(), "cancelled", "{}", ended.structured);
    stage.honest_call()?;
    stage.finish()
}

fn again(stage: &mut Stage) -> Result<()> {
    stage.world.start_host()?;
    let gone: StdioClient = std::mem::replace(&mut stage.client, stage.world.client()?);
    gone.close()
}

/// Nothing is asked of a client, so what looks like an answer is none.
#[test]
fn an_answer_to_no_question_is_ignored() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut raw = Raw::greeted(&stage.world)?;
    for line in [
        json!({"jsonrpc": "2.0", "id": 1, "result": {"roots": [{"uri": "file:///"}]}}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 0, "message": "x"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "no/such", "params": {"x": Value::Null}}),
    ] {
        raw.say(format!("{line}\n").as_bytes())?;
    }
    raw.request(json!(2), "ping", json!({}))?;
    assert_eq!(raw.hear()?, json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    stage.honest_call()?;
    stage.finish()
}
