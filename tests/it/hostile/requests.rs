//! Lines that no honest client would send.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use helix_tests::wait;
use serde_json::{Value, json};

use super::raw::Raw;
use crate::guests;
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

/// Each of a million values would take many times its two bytes.
#[test]
fn values_are_counted_before_they_are_built() -> Result<()> {
    answered(&call(&format!(r#"{{"text":[{}0]}}"#, "0,".repeat(400_000))), -32700)?;
    let members: Vec<String> = (0..60_000).map(|number| format!(r#""k{number}":0"#)).collect();
    answered(&call(&format!("{{{}}}", members.join(","))), -32700)
}

/// Another spelling of a member that is read would else be a call without it.
#[test]
fn members_in_another_case_are_refused() -> Result<()> {
    answered(br#"{"jsonrpc":"2.0","id":"x","Method":"ping"}"#, -32600)?;
    answered(
        br#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"Name":"echo","arguments":{}}}"#,
        -32602,
    )?;
    answered(
        br#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"echo","Arguments":{"text":"a"}}}"#,
        -32602,
    )
}

#[test]
fn text_in_another_encoding_is_refused() -> Result<()> {
    let ping = r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#;
    answered(format!("\u{feff}{ping}").as_bytes(), -32700)?;
    let utf16: Vec<u8> = ping.encode_utf16().flat_map(u16::to_le_bytes).collect();
    answered(&utf16, -32700)
}

#[test]
fn an_unknown_method_is_an_error_of_the_protocol() -> Result<()> {
    answered(br#"{"jsonrpc":"2.0","id":"x","method":"files/read","params":{"path":"/etc/passwd"}}"#, -32601)?;
    answered(br#"{"jsonrpc":"2.0","id":"x","method":"helixmcp/reload"}"#, -32601)
}

/// A tool that policy does not list and one that nobody wrote look alike.
#[test]
fn a_tool_that_is_not_offered_looks_like_one_that_is_not_there() -> Result<()> {
    let component = guests::honest("copies")?;
    let mut stage = Stage::prepared(|world| {
        let digest = world.place(&component)?;
        world.policy.raw(&format!(
            "\n[[component]]\ndigest = \"{digest}\"\nname = \"copies\"\nserve = \"replay\"\ntools = \"all\"\n"
        ));
        Ok(())
    })?;
    let said = |stage: &mut Stage, tool: &str| -> Result<String> {
        let refused = stage.client.call(tool, json!({})).err().context("it was called")?;
        Ok(refused.to_string().replace(tool, "TOOL"))
    };
    assert_eq!(said(&mut stage, "copies")?, said(&mut stage, "nobody")?);
    assert_eq!(said(&mut stage, "copies")?, "Unknown tool: TOOL (JSON-RPC -32602)");
    stage.honest_call()?;
    stage.finish()
}

/// Two texts that look alike are two texts: nothing is normalised behind a caller's back.
#[test]
fn texts_that_look_alike_are_not_the_same_call() -> Result<()> {
    let mut stage = Stage::honest()?;
    let [composed, decomposed] = ["caf\u{e9}", "cafe\u{301}"]
        .map(|text| stage.client.call("echo", json!({"text": text})).map(|reply| (text, reply)));
    let ((one, first), (two, second)) = (composed?, decomposed?);
    assert_ne!(first.run_id(), second.run_id());
    assert_eq!(
        (&first.structured["result"]["text"], &second.structured["result"]["text"]),
        (&json!(one), &json!(two))
    );
    stage.finish()
}

/// It would stand in every one of many notifications.
#[test]
fn a_long_progress_token_is_refused() -> Result<()> {
    let token = "t".repeat(257);
    let params = json!({"name": "echo", "arguments": {"text": "a"}, "_meta": {"progressToken": token}});
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    answered(line.to_string().as_bytes(), -32602)
}

/// Newlines of another system, words that come byte by byte, and blank lines.
#[test]
fn how_a_line_arrives_does_not_matter() -> Result<()> {
    let stage = Stage::honest()?;
    let mut raw = Raw::greeted(&stage.world)?;
    let line = "\r\n \n{\"jsonrpc\":\"2.0\",\"id\":\"\u{e9}\u{1f9ec}\",\"method\":\"ping\"}\r\n";
    for byte in line.as_bytes() {
        raw.say(&[*byte])?;
    }
    assert_eq!(raw.hear()?, json!({"jsonrpc": "2.0", "id": "\u{e9}\u{1f9ec}", "result": {}}));
    stage.finish()
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
    for id in [r#"{"a":1}"#, "null", "1.5", "true", "[1]", &format!("\"{}\"", "x".repeat(1_000_000))] {
        answered(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#).as_bytes(), -32600)?;
    }
    Ok(())
}

/// The second of two requests of one id gets no answer that could pass for the first one's.
#[test]
fn an_id_in_use_is_not_used_again() -> Result<()> {
    let component = guests::honest("patient")?;
    let mut stage = Stage::with(&[("patient", &component)])?;
    let mut raw = Raw::greeted(&stage.world)?;
    raw.call(json!(7), "patient", json!({"rounds": 2000}))?;
    raw.call(json!(7), "echo", json!({"text": "second"}))?;
    let refused = raw.hear()?;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&Value::Null, &json!(-32600)), "{refused}");
    let answer = raw.hear()?;
    assert_eq!(
        (&answer["id"], &answer["result"]["structuredContent"]["status"]),
        (&json!(7), &json!("succeeded"))
    );
    stage.honest_call()?;
    stage.finish()
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
        (json!({"text": null}), "/text"),
        (json!({"text": ["a"]}), "/text"),
        (json!({"text": "x".repeat(900_000)}), "/text"),
        (json!({"times": "1"}), "/times"),
        (json!({"wait_seconds": -1}), "/wait_seconds"),
        (json!({"wait_seconds": 3601}), "/wait_seconds"),
        (json!({"x".repeat(500_000): 1}), "/x"),
    ] {
        let reply = stage.client.call("echo", arguments.clone())?;
        let shown: String = arguments.to_string().chars().take(100).collect();
        assert!(reply.is_error, "{shown} was taken");
        assert!(reply.structured.to_string().len() < 4096, "{shown}: the answer repeats it");
        assert!(reply.structured["failure"].to_string().contains(field), "{shown}: {}", reply.structured);
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

/// Thirty-two clients use the same ids at the same time, each with many requests open.
#[test]
fn answers_do_not_cross_between_clients() -> Result<()> {
    const CLIENTS: usize = 32;
    const CALLS: usize = 4;
    let stage = Stage::prepared(|world| {
        world.policy.limit("caller", "queued", "1000");
        Ok(())
    })?;
    let mut clients: Vec<Raw> = (0..CLIENTS).map(|_| Raw::greeted(&stage.world)).collect::<Result<_>>()?;
    for call in 0..CALLS {
        for (number, client) in clients.iter_mut().enumerate() {
            client.call(json!(call), "echo", json!({"text": format!("{number} asks {call}")}))?;
        }
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut seen = BTreeSet::new();
        for _answer in 0..CALLS {
            let answer = client.hear()?;
            let call = answer["id"].as_u64().context("no id")?;
            let said = &answer["result"]["structuredContent"]["result"]["text"];
            assert_eq!(said, &json!(format!("{number} asks {call}")), "{answer}");
            seen.insert(call);
        }
        assert_eq!(seen.len(), CALLS);
    }
    drop(clients);
    stage.finish()
}

/// Pings and lists have a number in a minute as well; a connection that passed it is told so, goes
/// on, and holds up nobody else. One that keeps alive has room for more than it will ever need.
#[test]
fn pings_and_lists_are_counted() -> Result<()> {
    const AT_ONCE: u64 = 50;
    let mut stage = Stage::honest()?;
    let mut raw = Raw::greeted(&stage.world)?;
    let (mut answered, mut refused) = (0, Value::Null);
    // Some flow in while they are sent, as many as this machine is slow.
    while refused.is_null() && answered < 60_000 {
        for ping in 0..AT_ONCE {
            let method = if ping == 0 { "resources/templates/list" } else { "ping" };
            raw.request(json!(format!("{answered} {ping}")), method, json!({}))?;
        }
        for _ping in 0..AT_ONCE {
            let answer = raw.hear()?;
            if answer["result"].is_object() {
                answered += 1;
            } else {
                refused = answer["error"].clone();
            }
        }
    }
    assert!(answered >= 6_000, "{answered} were answered: {refused}");
    assert_eq!(
        (&refused["code"], &refused["data"]["code"]),
        (&json!(-32000), &json!("rate_limited")),
        "{refused}"
    );
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms < 1_000), "{refused}");

    raw.call(json!("work"), "echo", json!({"text": "still here"}))?;
    assert_eq!(raw.hear()?["result"]["structuredContent"]["status"], "succeeded");
    stage.client.request("ping", json!({}))?;
    let mut tries = 0;
    let again = wait::until(SOON, || {
        tries += 1;
        raw.request(json!(tries), "ping", json!({})).ok()?;
        raw.hear().ok().filter(|answer| answer["result"].is_object())
    });
    again.context("it is never answered again")?;
    stage.finish()
}

/// What a caller sends is kept in its run's record and nowhere else: not in a log at any level.
#[test]
fn what_a_caller_sends_is_in_no_log() -> Result<()> {
    // In pieces, so that no scanner of this repository takes them for what they imitate.
    let secrets = [
        ["AKIA", "IOSFODNN7EXAMPLE"].concat(),
        ["ghp_", "16C7e42F292c6912E7710c838347Ae178B4a"].concat(),
        ["-----BEGIN ", "PRIVATE KEY-----"].concat(),
    ];
    let mut stage = Stage::prepared(|world| {
        world.log_level("trace");
        Ok(())
    })?;
    for secret in &secrets {
        stage.client.call("echo", json!({"text": secret}))?;
        for wrong in [json!({"text": 1, "key": secret}), json!({"data": secret}), json!({"times": secret})] {
            assert!(stage.client.call("echo", wrong)?.is_error);
        }
        stage.import_text(secret)?;
        let place = json!({"root": "data", "path": format!("../{secret}")});
        assert!(stage.client.call("artifact_import", place)?.is_error);
        assert!(stage.client.call(secret, json!({})).is_err());
        stage.client.send_line(format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"text\":\"{secret}\"").as_bytes())?;
        stage.client.send_line(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{secret}\"}}").as_bytes())?;
    }
    stage.honest_call()?;
    let log = stage.world.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is not chatty, so it proves nothing");
    for secret in &secrets {
        assert!(!log.contains(secret.as_str()), "the log has {secret}");
    }
    stage.finish()
}
