//! The same call is the same run, and what makes it another.

use std::time::Duration;

use anyhow::Result;
use helix_ids::Digest;
use serde_json::json;

use crate::guests;
use crate::stage::{Stage, failure, imported, text};

const LONG: Duration = Duration::from_secs(120);

#[test]
fn the_same_call_is_answered_from_the_record() -> Result<()> {
    let mut stage = Stage::honest()?;
    let first = stage.client.call("echo", json!({"text": "hi"}))?;
    let again = stage.client.call("echo", json!({"text": "hi"}))?;
    // The default spelled out, and other spellings of the same JSON, are the same call.
    let spelled = stage.client.call("echo", json!({"times": 1, "text": "hi"}))?;

    assert!(!first.replayed(), "{}", first.structured);
    for reply in [&again, &spelled] {
        assert!(reply.replayed(), "{}", reply.structured);
        assert_eq!(reply.run_id(), first.run_id());
        assert_eq!(reply.structured["outputs"], first.structured["outputs"]);
        assert_eq!(reply.structured["result"], first.structured["result"]);
    }
    assert_eq!(stage.runs()?, ["echo succeeded"]);
    stage.finish()
}

#[test]
fn a_changed_param_is_another_run_and_the_explanation_names_it() -> Result<()> {
    let mut stage = Stage::honest()?;
    let first = stage.client.call("echo", json!({"text": "hi"}))?;
    let other = stage.client.call("echo", json!({"text": "ho"}))?;
    assert_ne!(first.run_id(), other.run_id());

    let explained = stage.client.call("run_explain", json!({"a": first.run_id(), "b": other.run_id()}))?;
    let difference = explained.structured["first"].to_string();
    assert!(difference.contains("params") && difference.contains("text"), "{difference}");
    assert_eq!(explained.structured["differences"].as_array().map(Vec::len), Some(1));
    stage.finish()
}

/// I-6. Anyone can recompute the id from what the explanation prints.
#[test]
fn i6_the_run_id_follows_from_its_preimage() -> Result<()> {
    let mut stage = Stage::honest()?;
    let reply = stage.client.call("echo", json!({"text": "hi"}))?;
    let explained = stage.client.call("run_explain", json!({"a": reply.run_id()}))?;
    let origin = &explained.structured["a"];

    let preimage = text(&origin["preimage"]);
    let (policy, params) = (text(&origin["policy_hash"]), text(&origin["params_hash"]));
    assert_eq!(preimage, format!("tool=echo|contract=v1|policy={policy}|params={params}|"));
    assert_eq!(Digest::of(preimage.as_bytes()).to_string(), text(&origin["run_digest"]));
    stage.finish()
}

/// I-6. What the guest cannot observe is not in the id: labels, names and times of files.
#[test]
fn i6_a_label_does_not_change_the_run() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        world.allow("plan-then-reads-nothing", &guests::hostile("plan_then_reads_nothing")?).map(drop)
    })?;
    let import = |stage: &mut Stage, label: &str| {
        let arguments = json!({"text": "same\n", "type_hint": "TEXT", "label": label});
        stage.client.call("artifact_import", arguments).and_then(|reply| imported(&reply))
    };
    let (one, two) = (import(&mut stage, "one.txt")?, import(&mut stage, "two.txt")?);
    assert_eq!(one, two);

    let first = stage.client.call("attack", json!({"data": one, "dry_run": true}))?;
    let second = stage.client.call("attack", json!({"data": two, "dry_run": true, "wait_seconds": 1}))?;
    assert_eq!(first.run_id(), second.run_id());
    assert!(!first.run_id().is_empty(), "{}", first.structured);
    stage.finish()
}

/// A failure that follows from the identity is an answer; one that met a limit is not.
#[test]
fn a_failure_of_the_tool_is_an_answer_and_a_limit_is_none() -> Result<()> {
    let mut stage = Stage::prepared(|world| {
        world.policy.limit("guest", "fuel", "500_000_000");
        world.allow("output-undeclared", &guests::hostile("output_undeclared")?)?;
        world.allow("patient", &guests::honest("patient")?).map(drop)
    })?;
    let first = stage.client.call("attack", json!({}))?;
    let again = stage.client.call("attack", json!({}))?;
    assert_eq!(failure(&first), "tool/tool_failed");
    assert!(again.replayed(), "{}", again.structured);
    assert_eq!(again.run_id(), first.run_id());

    let retried = stage.client.call("attack", json!({"retry": true}))?;
    assert!(!retried.replayed(), "{}", retried.structured);

    let limited = stage.client.call("patient", json!({"rounds": 100_000}))?;
    let limited_again = stage.client.call("patient", json!({"rounds": 100_000}))?;
    assert_eq!(failure(&limited), "limit/limit_fuel", "{}", limited.structured);
    assert!(!limited_again.replayed(), "{}", limited_again.structured);
    stage.finish()
}

#[test]
fn a_new_host_answers_from_the_same_record() -> Result<()> {
    let mut stage = Stage::honest()?;
    let first = stage.client.call("echo", json!({"text": "hi"}))?;
    stage.world.kill_host()?;
    stage.world.start_host()?;
    stage.client = stage.world.client()?;

    let again = stage.client.call("echo", json!({"text": "hi"}))?;
    assert!(again.replayed(), "{}", again.structured);
    assert_eq!(again.run_id(), first.run_id());
    stage.finish()
}

/// One execution, many waiters.
#[test]
fn equal_calls_at_once_are_one_run() -> Result<()> {
    let patient = guests::honest("patient")?;
    let mut stage = Stage::with(&[("patient", &patient)])?;
    let mut other = stage.world.client()?;
    let arguments = json!({"rounds": 3000, "wait_seconds": 100});
    let (one, two) =
        (stage.client.send_call("patient", arguments.clone())?, other.send_call("patient", arguments)?);
    let (one, two) = (stage.client.reply(one, LONG)?, other.reply(two, LONG)?);

    assert_eq!(one.status(), "succeeded", "{}", one.text());
    assert_eq!(one.run_id(), two.run_id());
    assert_eq!(one.structured["outputs"], two.structured["outputs"]);
    let run = stage.client.call("run_get", json!({"run_id": one.run_id()}))?;
    assert_eq!(run.structured["attempts"].as_array().map(Vec::len), Some(1));
    stage.finish()
}

/// I-11. Two homes, two hosts: equal bytes and equal fuel.
#[test]
fn i11_a_run_is_the_same_on_another_home() -> Result<()> {
    let mut seen = Vec::new();
    for _home in 0..2 {
        let mut stage = Stage::honest()?;
        let reply = stage.client.call("echo", json!({"text": "the same"}))?;
        let run = stage.client.call("run_get", json!({"run_id": reply.run_id()}))?;
        let fuel = run.structured["attempts"][0].to_string();
        let fuel = fuel.split("\"fuel").nth(1).and_then(|rest| rest.split(',').next()).map(str::to_owned);
        seen.push((reply.run_id().to_owned(), reply.structured["outputs"].clone(), fuel));
        stage.finish()?;
    }
    assert_eq!(seen.first(), seen.last());
    Ok(())
}
