//! Guests that pass inspection and attack when they are called.

use anyhow::Result;
use helix_tests::ToolReply;
use serde_json::json;

use crate::guests;
use crate::stage::{Stage, failure};

/// Calls the attack without an input: it fails in this way, makes nothing, and an honest call
/// still works.
#[track_caller]
fn fails(name: &str, how: &str) -> Result<ToolReply> {
    attacked(name, how, Inputs::None)
}

/// The same with one input linked.
#[track_caller]
fn fails_with_input(name: &str, how: &str) -> Result<ToolReply> {
    attacked(name, how, Inputs::One)
}

enum Inputs {
    None,
    One,
}

#[track_caller]
fn attacked(name: &str, how: &str, inputs: Inputs) -> Result<ToolReply> {
    let mut stage = staged(name)?;
    let arguments = match inputs {
        Inputs::None => json!({}),
        Inputs::One => json!({"data": stage.import_text("some text\n")?}),
    };
    let reply = stage.client.call("attack", arguments)?;

    assert!(reply.is_error, "it did not fail: {}", reply.structured);
    assert_eq!(failure(&reply), how, "{}", reply.text());
    assert_eq!(stage.artifacts_made()?, 0, "it left an artifact");
    let runs = stage.runs()?;
    assert!(runs.iter().all(|run| run != "attack succeeded"), "{runs:?}");
    stage.honest_call()?;
    stage.finish()?;
    Ok(reply)
}

/// A world with one attack in it, and limits that it meets soon.
fn staged(name: &str) -> Result<Stage> {
    let component = guests::hostile(name)?;
    let toolpack = name.replace('_', "-");
    Stage::prepared(|world| {
        world.policy.limit("guest", "fuel", "2_000_000_000").limit("guest", "memory", "\"32MiB\"");
        world.policy.limit("guest", "host_calls", "100_000").limit("guest", "log_bytes", "\"1MiB\"");
        world.allow(&toolpack, &component)?;
        Ok(())
    })
}

#[test]
fn loops_forever() -> Result<()> {
    fails("loops_forever", "limit/limit_fuel").map(drop)
}

#[test]
fn loops_in_plan() -> Result<()> {
    fails("loops_in_plan", "limit/limit_fuel").map(drop)
}

#[test]
fn grows_memory() -> Result<()> {
    fails("grows_memory", "limit/limit_memory").map(drop)
}

#[test]
fn recursion() -> Result<()> {
    fails("recursion", "limit/limit_stack").map(drop)
}

#[test]
fn writes_past_memory() -> Result<()> {
    fails("writes_past_memory", "trap/guest_abi").map(drop)
}

#[test]
fn realloc_out_of_range() -> Result<()> {
    fails("realloc_out_of_range", "trap/guest_abi").map(drop)
}

#[test]
fn handle_forged() -> Result<()> {
    fails("handle_forged", "trap/guest_abi").map(drop)
}

#[test]
fn handles_exhausted() -> Result<()> {
    fails_with_input("handles_exhausted", "limit/limit_handles").map(drop)
}

#[test]
fn host_calls_without_end() -> Result<()> {
    fails("host_calls_without_end", "limit/limit_host_calls").map(drop)
}

#[test]
fn reads_zero_bytes() -> Result<()> {
    fails_with_input("reads_zero_bytes", "trap/import_misuse").map(drop)
}

#[test]
fn writes_after_finish() -> Result<()> {
    fails("writes_after_finish", "trap/import_misuse").map(drop)
}

/// The guest is told the same as of a role that nobody has declared.
#[test]
fn reads_unlinked_input() -> Result<()> {
    let reply = fails("reads_unlinked_input", "tool/tool_failed")?;
    assert!(reply.text().contains("it is not linked"), "{}", reply.text());
    Ok(())
}

#[test]
fn output_undeclared() -> Result<()> {
    let reply = fails("output_undeclared", "tool/tool_failed")?;
    assert!(reply.text().contains("it is undeclared"), "{}", reply.text());
    Ok(())
}

#[test]
fn output_bad_key() -> Result<()> {
    let reply = fails("output_bad_key", "tool/tool_failed")?;
    assert!(reply.text().contains("it is a bad key"), "{}", reply.text());
    Ok(())
}

/// I-4.
#[test]
fn output_missing() -> Result<()> {
    fails("output_missing", "gate/output_count").map(drop)
}

/// I-4.
#[test]
fn output_twice() -> Result<()> {
    fails("output_twice", "gate/output_count").map(drop)
}

/// I-4.
#[test]
fn output_unfinished() -> Result<()> {
    fails("output_unfinished", "gate/output_unfinished").map(drop)
}

#[test]
fn bad_utf8_in_report() -> Result<()> {
    fails("bad_utf8_in_report", "trap/guest_abi").map(drop)
}

#[test]
fn result_not_in_schema() -> Result<()> {
    fails("result_not_in_schema", "gate/result_invalid").map(drop)
}

#[test]
fn opens_input_in_plan() -> Result<()> {
    fails_with_input("opens_input_in_plan", "trap/import_during_plan").map(drop)
}

/// I-4.
#[test]
fn plan_mismatch_inputs() -> Result<()> {
    fails("plan_mismatch_inputs", "denied/inputs_not_linked").map(drop)
}

/// I-4.
#[test]
fn plan_omits_input() -> Result<()> {
    fails_with_input("plan_omits_input", "denied/input_not_planned").map(drop)
}

/// I-4.
#[test]
fn plan_more_than_declared() -> Result<()> {
    fails("plan_more_than_declared", "denied/output_count").map(drop)
}

/// I-4.
#[test]
fn plan_then_reads_nothing() -> Result<()> {
    fails_with_input("plan_then_reads_nothing", "gate/input_not_opened").map(drop)
}

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
