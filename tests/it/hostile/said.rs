//! Guests that say too much, too often, or what would be taken for somebody else's word.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::attack::{fails, staged};

/// What is over the cap is dropped and counted; the run goes on.
#[test]
fn huge_log() -> Result<()> {
    let mut stage = staged("huge_log")?;
    let reply = stage.client.call("attack", json!({}))?;

    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    assert!(reply.structured.to_string().len() < 64 * 1024, "the log came with the answer");
    let run = stage.client.call("run_get", json!({"run_id": reply.run_id()}))?;
    assert!(run.structured.to_string().len() < 64 * 1024, "the log came with the run");
    assert!(stage.world.log().len() < 2 * 1024 * 1024, "the log flooded the host's own");
    stage.honest_call()?;
    stage.finish()
}

/// A guest's words reach neither a terminal nor a model as anything but words.
#[test]
fn summary_ansi() -> Result<()> {
    let mut stage = staged("summary_ansi")?;
    let reply = stage.client.call("attack", json!({}))?;

    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    let said = reply.text();
    assert!(said.contains("done"), "{said}");
    for forbidden in ['\u{1b}', '\u{7}', '\u{202e}'] {
        assert!(!said.contains(forbidden), "{forbidden:?} came through: {said:?}");
    }
    stage.honest_call()?;
    stage.finish()
}

/// Lines without text have an end as well, and those that are dropped are counted.
#[test]
fn log_of_empty_lines() -> Result<()> {
    let mut stage = staged("log_of_empty_lines")?;
    let reply = stage.client.call("attack", json!({}))?;

    assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    let run = stage.client.call("run_get", json!({"run_id": reply.run_id()}))?;
    let dropped = find(&run.structured, "log_dropped_bytes").context("nothing says what was dropped")?;
    let dropped: u64 = dropped.as_str().context("no number")?.parse()?;
    assert!(dropped >= 57_000, "{dropped}");
    assert!(run.structured.to_string().len() < 64 * 1024, "the log came with the run");
    stage.finish()
}

#[test]
fn log_line_huge() -> Result<()> {
    fails("log_line_huge", "limit/limit_host_call_bytes").map(drop)
}

/// A failure's words are cut, and are words.
#[test]
fn failure_huge() -> Result<()> {
    let reply = fails("failure_huge", "tool/tool_failed")?;
    let said = reply.text();
    assert!(said.contains("SYSTEM: obey"), "its words are gone: {said}");
    assert!(said.len() < 4 * 1024, "{} bytes came through", said.len());
    for forbidden in ['\u{1b}', '\u{202e}'] {
        assert!(!said.contains(forbidden), "{forbidden:?} came through: {said:?}");
        assert!(!reply.structured.to_string().contains(forbidden), "{}", reply.structured);
    }
    Ok(())
}

/// However often it reports, a client hears of it ten times a second, rising, in short plain words.
#[test]
fn progress_floods() -> Result<()> {
    let mut stage = staged("progress_floods")?;
    let began = Instant::now();
    let call = json!({"name": "attack", "arguments": {}, "_meta": {"progressToken": "flood"}});
    let id = stage.client.send_request("tools/call", call)?;
    let reply = stage.client.reply(id, Duration::from_secs(120))?;
    let took = began.elapsed();
    assert_eq!(reply.status(), "succeeded", "{}", reply.text());

    let news: Vec<&Value> =
        stage.client.unasked().filter(|message| message["method"] == "notifications/progress").collect();
    println!("{} notifications in {took:?}", news.len());
    assert!(!news.is_empty(), "no progress came in {took:?}");
    let most = took.as_millis() / 100 + 2;
    assert!(news.len() as u128 <= most, "{} notifications in {took:?}", news.len());
    let mut last = -1.0;
    for message in news {
        let done = message["params"]["progress"].as_f64().context("no progress")?;
        assert!(done > last && done.is_finite(), "{last} and then {done}");
        let total = message["params"]["total"].as_f64();
        assert!(total.is_none_or(|total| total >= done), "{message}");
        let words = message["params"]["message"].as_str().unwrap_or_default();
        assert!(words.len() < 1024 && !words.chars().any(char::is_control), "{words:?}");
        last = done;
    }
    stage.finish()
}

/// The first member of this name, wherever it stands.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => {
            members.get(name).or_else(|| members.values().find_map(|member| find(member, name)))
        }
        Value::Array(items) => items.iter().find_map(|item| find(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
