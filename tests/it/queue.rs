//! What waits for its turn.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::crash::begun;
use crate::guests;
use crate::stage::Stage;

/// More than there are places for runners here: one for a run and four for what is short.
const QUEUED: u32 = 8;

/// A runner that has planned stays for its run only if that may begin at once. Were it to wait with
/// it, those that wait would leave no place for what is asked next.
#[test]
fn a_queued_run_keeps_no_runner() -> Result<()> {
    let component = guests::honest("patient")?;
    let mut stage = Stage::prepared(|world| {
        world.policy.limit("host", "runners", "1");
        world.allow("patient", &component)?;
        Ok(())
    })?;
    let first = begun(&mut stage, 900_000)?;
    let mut queued = Vec::new();
    for rounds in 1..=QUEUED {
        let reply = stage.client.call("patient", json!({"rounds": rounds, "wait_seconds": 0}))?;
        ensure!(!reply.run_id().is_empty(), "run {rounds} is not under way: {}", reply.text());
        queued.push(reply.run_id().to_owned());
    }
    // It needs a runner as well.
    let planned = stage.client.call("patient", json!({"rounds": 77, "dry_run": true}))?;
    ensure!(!planned.is_error, "{}", planned.text());

    let cancelled = stage.client.call("run_cancel", json!({"run_id": first, "reason": "a test"}))?;
    ensure!(!cancelled.is_error, "{}", cancelled.text());
    for run in queued {
        let reply = stage.client.call("run_wait", json!({"run_id": run, "wait_seconds": 60}))?;
        assert_eq!(reply.status(), "succeeded", "{}", reply.text());
    }
    stage.finish()
}
