//! Many clients, many calls, many runs: nothing grows, nobody waits behind somebody else's flood.

use std::time::Duration;

use anyhow::{Result, ensure};
use helix_tests::load::flood::{self, Flood, Round};
use helix_tests::load::{self, Load, sample};
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

/// Clients at once, as a laboratory's assistants are.
const CLIENTS: u64 = 32;

/// F: every answer as it must be, and the host as small afterwards as before.
#[test]
fn thirty_two_clients_for_a_minute_leave_the_host_flat() -> Result<()> {
    let mut world = load::world()?;
    world.start()?;
    let report = load::run(&world, Load { clients: CLIENTS, time: Duration::from_secs(60) }, |_sample| ())?;
    println!("{} calls, slowest {:?}: {:?}", report.calls(), report.slowest, report.done);
    sample::held(&report.faults())?;
    ensure!(report.calls() > 10 * CLIENTS, "hardly any calls: {:?}", report.done);
    world.finish()
}

/// What the host takes of one connection at once.
const QUEUE: u64 = 64;

/// Somebody who asks for 500 things at once keeps nobody else waiting behind all of them.
#[test]
fn a_flood_of_one_client_holds_up_no_other() -> Result<()> {
    let mut world = load::world()?;
    world.start()?;
    for connections in [1, 10] {
        let flood = Flood { calls: 500, connections, rounds: 1, alone: 100 };
        for round in flood::run(&world, flood)? {
            println!("{connections} connections: {}", line(&round));
            ensure!(round.served + round.refused == 500, "{} answers", round.served + round.refused);
            ensure!(round.flooded.len() >= 10, "the other client got {} answers", round.flooded.len());
            // In a queue of all, all that the host takes of a flood at once would stand before it.
            let calls = round.flooded.len() as u64;
            ensure!(
                round.served / calls < QUEUE / 2,
                "{} of the flood went before each",
                round.served / calls
            );
        }
    }
    world.finish()
}

fn line(round: &Round) -> String {
    let (alone, flooded) = (flood::p99(round.alone.clone()), flood::p99(round.flooded.clone()));
    format!(
        "p50 {:?} alone, {:?} in the flood; p99 {alone:?} alone, {flooded:?} in the flood, {:.1} times; \
         {} calls meanwhile, at most {} overtook one; the flood had {} served, {} refused in {:?}",
        flood::p50(round.alone.clone()),
        flood::p50(round.flooded.clone()),
        flooded.as_secs_f64() / alone.as_secs_f64(),
        round.flooded.len(),
        round.overtaken,
        round.served,
        round.refused,
        round.flood,
    )
}
