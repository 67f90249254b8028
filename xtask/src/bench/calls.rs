//! `call-replay` and `call-fresh`: what a call costs over stdio, known and new.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::{World, world};
use serde_json::{Value, json};

use super::measure::{Paired, Took, timed};
use super::peers::{self, Peer};
use super::{Row, Size, shown};

/// Calls of one side before it is the other's turn.
const BATCH: usize = 100;

/// A replay must cost at most this much of the bare server's echo.
const REPLAY_REACH: f64 = 3.0;

/// And a new run of the bare program's syncs.
const FRESH_REACH: f64 = 1.5;

/// A world that offers `hello`, and an assistant attached to it.
fn hello() -> Result<(World, Peer)> {
    let mut world = World::new()?;
    world.allow("hello", &world::toolpack("hello")?)?;
    world.start()?;
    let mut peer = Peer::start(world.serve()?)?;
    peer.greet()?;
    Ok((world, peer))
}

fn call(tool: &str, arguments: &Value) -> Value {
    json!({"name": tool, "arguments": arguments})
}

/// A finished run, called again and again, against an echo of the same arguments.
pub fn replay(size: Size) -> Result<Vec<Row>> {
    let (world, mut ours) = hello()?;
    let mut theirs = peers::echo()?;
    let arguments = json!({"name": "Ada"});
    let first = ours.request("tools/call", &call("hello", &arguments))?;
    ensure!(first["structuredContent"]["status"] == "succeeded", "{first}");

    let host = world.host_pid().context("no host")?;
    let processes = ([host, ours.id()], [theirs.id()]);
    let batches = size.of(20, 1);
    let paired = Paired::time(
        batches,
        |_| batch(&mut ours, &processes.0, &call("hello", &arguments), "\"replayed\":true"),
        |_| batch(&mut theirs, &processes.1, &call("echo", &arguments), "\"Ada\""),
    )?;
    let (us, them) = paired.walls();
    let figures = format!("p50 of a call: replay {}, bare echo {}", shown(us), shown(them));
    drop(ours);
    world.finish()?;
    Ok(vec![Row::ratio("call-replay", &paired, REPLAY_REACH, figures)])
}

/// The median of many calls, one after the other.
fn batch(peer: &mut Peer, processes: &[u32], params: &Value, expected: &str) -> Result<Took> {
    let mut walls = Vec::with_capacity(BATCH);
    let took = timed(processes, || {
        for _call in 0..BATCH {
            let line = peer.line_of("tools/call", params);
            let wall = peer.expect(&line, expected)?;
            walls.push(Took { wall, cpu: Duration::ZERO });
        }
        Ok(())
    })?;
    Ok(Took { wall: super::measure::median_wall(&walls), cpu: took.cpu })
}

/// A new run each time, which reads 1 KiB and leaves one small output, against a program that makes
/// the same bytes durable in the same way and does nothing else.
pub fn fresh(size: Size) -> Result<Vec<Row>> {
    let (world, mut ours) = hello()?;
    let text = "x".repeat(1023) + "\n";
    let import = ours.request("tools/call", &call("artifact_import", &json!({"text": text})))?;
    let id = import["structuredContent"]["artifacts"][0]["artifact_id"].as_str();
    let id = id.with_context(|| format!("no import: {import}"))?.to_owned();

    let mut bare = Command::new(peers::program("bare_sync")?);
    bare.arg(world.path().join("bare"));
    let mut theirs = Peer::start(bare)?;

    let host = world.host_pid().context("no host")?;
    let processes = ([host, ours.id()], [theirs.id()]);
    let paired = Paired::time(
        size.of(100, 5),
        |round| {
            let arguments = json!({"name": format!("Ada {round}"), "text": id});
            let line = ours.line_of("tools/call", &call("hello", &arguments));
            alone(&processes.0, || ours.expect(&line, "\"status\":\"succeeded\""))
        },
        |round| alone(&processes.1, || theirs.expect(&format!("Hello, Ada {round}!"), "done")),
    )?;
    ensure!(!ours.last().contains("\"replayed\":true"), "a run was not new: {}", ours.last());
    let (us, them) = paired.walls();
    let figures = format!("p50: a new run {}, the bare syncs {}", shown(us), shown(them));
    drop(ours);
    world.finish()?;
    Ok(vec![Row::ratio("call-fresh", &paired, FRESH_REACH, figures)])
}

/// One call, timed by the client itself.
fn alone(processes: &[u32], work: impl FnOnce() -> Result<Duration>) -> Result<Took> {
    let mut wall = Duration::ZERO;
    let took = timed(processes, || {
        wall = work()?;
        Ok(())
    })?;
    Ok(Took { wall, cpu: took.cpu })
}
