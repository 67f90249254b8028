//! Lines that no honest client would send.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::stage::Stage;

const SOON: Duration = Duration::from_secs(20);

/// Sends a line and expects a JSON-RPC error of this code; the connection stays of use.
#[track_caller]
fn answered(line: &[u8], code: i64) -> Result<()> {
    let mut stage = Stage::honest()?;
    stage.client.send_line(line)?;
    let answer = stage.client.take(SOON, |message| message.get("error").is_some())?;

    assert_eq!(answer["error"]["code"], code, "{answer}");
    let said = answer["error"]["message"].as_str().context("no message")?;
    assert!(said.len() <= 400, "it repeats what it was sent: {said}");
    stage.honest_call()?;
    stage.finish()
}

fn call(arguments: &str) -> Vec<u8> {
    let params = format!(r#"{{"name":"echo","arguments":{arguments}}}"#);
    format!(r#"{{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{params}}}"#).into_bytes()
}

#[test]
fn duplicate_key_at_the_top_is_refused() -> Result<()> {
    answered(br#"{"jsonrpc":"2.0","id":"x","method":"ping","method":"tools/list"}"#, -32700)
}

#[test]
fn duplicate_key_in_arguments_is_refused() -> Result<()> {
    answered(&call(r#"{"text":"a","text":"b"}"#), -32700)
}

#[test]
fn duplicate_key_behind_an_escape_is_refused() -> Result<()> {
    answered(&call(r#"{"text":"a","t\u0065xt":"b"}"#), -32700)
}

#[test]
fn lone_surrogate_is_refused() -> Result<()> {
    answered(&call(r#"{"text":"\ud800"}"#), -32700)
}

#[test]
fn invalid_utf8_is_refused() -> Result<()> {
    let mut line = call(r#"{"text":"?"}"#);
    line.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xff);
    answered(&line, -32700)
}

#[test]
fn integer_beyond_2_53_is_refused() -> Result<()> {
    answered(&call(r#"{"times":9007199254740993}"#), -32700)
}

#[test]
fn depth_is_capped() -> Result<()> {
    answered(&call(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), -32700)
}

#[test]
fn a_long_line_is_capped() -> Result<()> {
    answered(&call(&format!(r#"{{"text":"{}"}}"#, "x".repeat(20 * 1024 * 1024))), -32700)
}

#[test]
fn a_batch_is_refused() -> Result<()> {
    answered(br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600)
}

#[test]
fn garbage_is_answered() -> Result<()> {
    answered(b"\x00\x01 not json", -32700)
}

#[test]
fn an_id_that_is_no_id_is_refused() -> Result<()> {
    answered(br#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#, -32600)
}

#[test]
fn an_unknown_tool_is_an_error_of_the_protocol() -> Result<()> {
    answered(
        br#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"rm","arguments":{}}}"#,
        -32602,
    )
}

/// A wrong argument names its field, and does not become a run.
#[test]
fn wrong_arguments_name_their_field() -> Result<()> {
    let mut stage = Stage::honest()?;
    for (arguments, field) in [
        (json!({"text": 5}), "/text"),
        (json!({"text": "a", "extra": 1}), "/extra"),
        (json!({"times": 1.5}), "/times"),
        (json!({"data": "art_00000000000000000000000000"}), "/data"),
        (json!({"data": "../../etc/passwd"}), "/data"),
    ] {
        let reply = stage.client.call("echo", arguments.clone())?;
        assert!(reply.is_error, "{arguments} was taken");
        assert!(reply.structured["failure"].to_string().contains(field), "{arguments}: {}", reply.structured);
    }
    assert_eq!(stage.runs()?, Vec::<String>::new());
    stage.honest_call()?;
    stage.finish()
}

/// One that closes its input in the middle of a message harms nobody else.
#[test]
fn a_client_that_leaves_in_mid_message_harms_nobody() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut other = stage.world.client()?;
    other.send_line(br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ec"#)?;
    other.close()?;

    stage.honest_call()?;
    stage.finish()
}

/// Ids of requests that are open are their own.
#[test]
fn answers_do_not_cross_between_clients() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut other = stage.world.client()?;
    let (mine, theirs) = (
        stage.client.send_call("echo", json!({"text": "mine"}))?,
        other.send_call("echo", json!({"text": "theirs"}))?,
    );

    let of = |reply: &Value| reply["structuredContent"]["result"]["text"].clone();
    assert_eq!(of(&other.answer(theirs, SOON)?), "theirs");
    assert_eq!(of(&stage.client.answer(mine, SOON)?), "mine");
    stage.finish()
}
