//! Many clients, many calls, many runs: nothing grows, nobody waits behind somebody else's flood.

use anyhow::{Result, ensure};
use helix_tests::many_runs;
use serde_json::json;

use crate::stage::Stage;

/// A stage whose ledger has grown to this many runs while no host ran.
fn grown(runs: u64, own_outputs: u64) -> Result<Stage> {
    let mut stage = Stage::honest()?;
    let first = stage.client.call("echo", json!({"text": many_runs::MARKER}))?;
    ensure!(first.status() == "succeeded", "{}", first.text());
    stage.world.kill_host()?;
    many_runs::grow(&stage.world.home(), runs, own_outputs, |_| ())?;
    stage.world.start_host()?;
    stage.client = stage.world.client()?;
    Ok(stage)
}

/// What the load tests and the benchmarks stand on: the copies are as good as the host's own.
#[test]
fn a_ledger_that_was_grown_is_like_one_that_was_lived() -> Result<()> {
    let mut stage = grown(3_000, 100)?;
    stage.world.fsck()?;
    for number in [0, 99, 100, 2_999] {
        let reply = stage.client.call("echo", json!({"text": many_runs::text_of(number)}))?;
        ensure!(reply.status() == "succeeded" && reply.replayed(), "{number}: {}", reply.structured);
        ensure!(reply.structured["result"]["text"] == many_runs::text_of(number), "{}", reply.structured);
        let run = stage.client.call("run_get", json!({"run_id": reply.run_id()}))?;
        ensure!(!run.is_error, "{}", run.text());
    }
    // The template is the newest; the copies are older, the last of them by the least.
    let last = stage.client.call("echo", json!({"text": many_runs::text_of(2_999)}))?;
    let newest = stage.client.call("run_list", json!({}))?;
    ensure!(newest.structured["runs"][1]["run_id"] == last.run_id(), "{}", newest.structured);
    // What was not copied is made anew.
    stage.honest_call()?;
    stage.finish()
}
