//! Both eras of the protocol over one socket: with a handshake, and with a version in each request.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use helix_tests::{PolicyText, StdioClient};
use serde_json::{Value, json};

use crate::stage::Stage;

const SOON: Duration = Duration::from_secs(30);

/// What a client of 2026-07-28 says of itself in each request.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "helix-tests", "version": "1"},
    })
}

#[test]
fn clients_of_both_eras_call_the_same_tools() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut modern = StdioClient::start_silent(stage.world.serve()?)?;
    let found = modern.request("server/discover", json!({"_meta": meta()}))?;
    assert!(found["instructions"].as_str().is_some_and(|text| text.len() <= 2000), "{found}");

    let call = json!({"_meta": meta(), "name": "echo", "arguments": {"text": "same"}});
    let first = modern.request("tools/call", call)?;
    let again = stage.client.call("echo", json!({"text": "same"}))?;
    assert_eq!(first["structuredContent"]["run_id"], json!(again.run_id()));
    assert!(again.replayed(), "{}", again.structured);
    modern.close()?;
    stage.finish()
}

#[test]
fn clients_of_both_eras_hear_that_the_tools_changed() -> Result<()> {
    let mut stage = Stage::honest()?;
    let mut modern = StdioClient::start_silent(stage.world.serve()?)?;
    let wanted = json!({"_meta": meta(), "notifications": {"toolsListChanged": true}});
    modern.send_request("subscriptions/listen", wanted)?;
    modern.take(SOON, |message| message["method"] == "notifications/subscriptions/acknowledged")?;

    fs::write(stage.world.home().join("policy.toml"), PolicyText::default().render())?;
    for client in [&mut stage.client, &mut modern] {
        client.take(SOON, |message| message["method"] == "notifications/tools/list_changed")?;
    }
    assert!(!stage.tool_names()?.contains(&"echo".to_owned()), "it is still offered");
    modern.close()?;
    // The policy has no echo any more, so only what every end must show is looked at.
    stage.world.finish()
}
