//! Guests that make, read or promise something else than their tool declares and their call links.

use anyhow::Result;

use super::attack::{fails, fails_with_input};

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
fn result_not_in_schema() -> Result<()> {
    fails("result_not_in_schema", "gate/result_invalid").map(drop)
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

#[test]
fn output_of_another_type() -> Result<()> {
    fails("output_of_another_type", "gate/output_type").map(drop)
}

#[test]
fn output_empty() -> Result<()> {
    fails("output_empty", "gate/output_type").map(drop)
}

#[test]
fn outputs_without_end() -> Result<()> {
    fails("outputs_without_end", "limit/limit_outputs").map(drop)
}
