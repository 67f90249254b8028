//! Guests that would use more than their limits, and what others see of it: nothing.

use anyhow::{Context, Result};
use serde_json::json;

use super::attack::{fails, left_nothing, staged, staged_with};
use crate::neighbour::Neighbour;
use crate::stage::{failure, text};

/// Calls the attack while somebody else goes on calling an honest tool: it fails in this way, and at
/// least `least` honest calls were answered meanwhile.
#[track_caller]
fn fails_beside_a_neighbour(
    name: &str,
    limits: &[(&str, &str)],
    has_input: bool,
    how: &str,
    least: usize,
) -> Result<()> {
    let mut stage = staged_with(name, limits)?;
    let arguments = if has_input { json!({"data": stage.import_text("some text\n")?}) } else { json!({}) };
    let neighbour = Neighbour::new(&stage.world)?;
    let reply = neighbour.while_attacked(name, least, || stage.client.call("attack", arguments))?;
    left_nothing(&mut stage, &reply, how)?;
    stage.finish()
}

/// For a wall of two seconds, whatever the fuel.
#[test]
fn a_guest_that_never_returns_disturbs_nobody() -> Result<()> {
    let limits = [("guest.fuel", "9_000_000_000_000_000_000"), ("guest.wall", "\"2s\"")];
    fails_beside_a_neighbour("loops_forever", &limits, false, "limit/limit_wall", 5)
}

/// I-11. Fuel is counted, not measured: the same loop ends at the same instruction.
#[test]
fn a_guest_that_never_returns_ends_at_the_same_place_twice() -> Result<()> {
    let mut stage = staged("loops_forever")?;
    let mut run = String::new();
    for _ in 0..2 {
        let reply = stage.client.call("attack", json!({}))?;
        assert_eq!(failure(&reply), "limit/limit_fuel", "{}", reply.text());
        reply.run_id().clone_into(&mut run);
    }
    let told = stage.client.call("run_get", json!({"run_id": run}))?.structured;
    let attempts = told["attempts"].as_array().context("no attempts")?;
    let used: Vec<_> = attempts.iter().map(|attempt| text(&attempt["usage"]["fuel"])).collect();
    assert_eq!(used, ["2000000000", "2000000000"]);
    stage.finish()
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
fn host_calls_without_end() -> Result<()> {
    fails("host_calls_without_end", "limit/limit_host_calls").map(drop)
}

#[test]
fn loops_in_post_return() -> Result<()> {
    fails("loops_in_post_return", "limit/limit_fuel").map(drop)
}

#[test]
fn grows_table() -> Result<()> {
    fails("grows_table", "limit/limit_table").map(drop)
}

#[test]
fn frames_huge() -> Result<()> {
    fails("frames_huge", "limit/limit_stack").map(drop)
}

/// Memory is the runner's: a guest that takes all that it may have takes none of the host's.
#[test]
fn fills_memory() -> Result<()> {
    fails_beside_a_neighbour("fills_memory", &[], false, "limit/limit_memory", 1)
}

/// What the host writes of it is a line, however often the guest calls.
#[test]
fn reads_a_byte_at_a_time() -> Result<()> {
    fails_beside_a_neighbour("reads_a_byte_at_a_time", &[], true, "limit/limit_host_calls", 2)
}

#[test]
fn log_floods_for_long() -> Result<()> {
    fails_beside_a_neighbour("log_floods_for_long", &[], false, "limit/limit_host_calls", 1)
}

/// Every call has a store of its own: what it was in the first it is in each.
#[test]
fn counts_its_calls() -> Result<()> {
    let mut stage = staged("counts_its_calls")?;
    for n in 0..12 {
        let reply = stage.client.call("attack", json!({"n": n}))?;
        assert_eq!(reply.status(), "succeeded", "call {n}: {}", reply.text());
        assert_eq!(reply.structured["result"], json!({"calls": 1}), "call {n}");
        assert!(!reply.replayed(), "call {n} was not a call");
    }
    stage.finish()
}

/// The runner that plans a call runs it as well, and the guest is another one.
#[test]
fn remembers_its_plan() -> Result<()> {
    let mut stage = staged("remembers_its_plan")?;
    for n in 0..4 {
        let reply = stage.client.call("attack", json!({"n": n}))?;
        assert_eq!(reply.status(), "succeeded", "call {n}: {}", reply.text());
        assert_eq!(reply.structured["result"], json!({"plans": 0}), "call {n}");
    }
    stage.finish()
}

/// I-11. On two homes, to the byte.
#[test]
fn writes_what_could_differ() -> Result<()> {
    let mut told = Vec::new();
    for _ in 0..2 {
        let mut stage = staged("writes_what_could_differ")?;
        let reply = stage.client.call("attack", json!({}))?;
        assert_eq!(reply.status(), "succeeded", "{}", reply.text());
        let output = reply.output("out").context("no output")?.to_owned();
        let read =
            stage.client.request("resources/read", json!({"uri": format!("helix://artifact/{output}")}))?;
        told.push((reply.run_id().to_owned(), output, read["contents"][0].clone()));
        stage.finish()?;
    }
    assert_eq!(told[0], told[1]);
    Ok(())
}
