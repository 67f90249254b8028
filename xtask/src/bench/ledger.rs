//! `ledger`: whether a home with a million runs answers as one with a thousand.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use helix_tests::{World, world};
use serde_json::{Value, json};

use super::measure::{self, Paired, Took};
use super::peers::{self, Peer};
use super::{Row, Size, shown};
use crate::say;

const REACH: f64 = 2.0;

/// Calls of one side before it is the other's turn.
const BATCH: usize = 20;

/// A home with one run that was, and many that were not.
struct Life {
    world: World,
    peer: Peer,
    run: String,
}

impl Life {
    fn of(runs: u64) -> Result<Self> {
        let mut world = World::new()?;
        world.allow("hello", &world::toolpack("hello")?)?;
        world.start()?;
        let mut peer = Peer::start(world.serve()?)?;
        peer.greet()?;
        let first = peer.request("tools/call", &hello())?;
        let run = first["structuredContent"]["run_id"].as_str();
        let run = run.with_context(|| format!("no run: {first}"))?.to_owned();
        drop(peer);
        world.kill_host()?;
        say::step(&format!("make {runs} runs"), || {
            let mut fill = Command::new(peers::program("fill_ledger")?);
            say::quiet(fill.arg(world.home().join("ledger.sqlite")).arg(runs.to_string())).map(drop)
        })?;
        world.start_host()?;
        let mut peer = Peer::start(world.serve()?)?;
        peer.greet()?;
        Ok(Self { world, peer, run })
    }

    /// The middle one of some calls.
    fn batch(&mut self, params: &Value, expected: &str) -> Result<Took> {
        let mut walls = Vec::with_capacity(BATCH);
        for _call in 0..BATCH {
            let line = self.peer.line_of("tools/call", params);
            walls.push(Took { wall: self.peer.expect(&line, expected)?, cpu: Duration::ZERO });
        }
        Ok(Took { wall: measure::median_wall(&walls), cpu: Duration::ZERO })
    }
}

fn hello() -> Value {
    json!({"name": "hello", "arguments": {"name": "Ada"}})
}

pub fn measure(size: Size) -> Result<Vec<Row>> {
    let (many, few) = size.of((1_000_000, 1_000), (1_000, 100));
    let (mut long, mut short) = (Life::of(many)?, Life::of(few)?);
    let tool = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
    let same = |params: Value| move |_run: &str| params.clone();
    // What is asked, how the question is put to a home, and what stands in its answer.
    type Question = Box<dyn Fn(&str) -> Value>;
    let questions: Vec<(&str, Question, &str)> = vec![
        ("replay", Box::new(same(hello())), "\"replayed\":true"),
        ("run_get", Box::new(move |run| tool("run_get", json!({"run_id": run}))), "succeeded"),
        ("run_list", Box::new(same(tool("run_list", json!({})))), "\"hello\""),
        ("run_list, failed", Box::new(same(tool("run_list", json!({"state": "failed"})))), "\"failed\""),
        ("artifact_list", Box::new(same(tool("artifact_list", json!({})))), "art_"),
    ];
    let mut rows = Vec::new();
    for (name, question, expected) in questions {
        let (for_long, for_short) = (question(&long.run), question(&short.run));
        let paired = Paired::time(
            size.of(25, 1),
            |_| long.batch(&for_long, expected),
            |_| short.batch(&for_short, expected),
        )?;
        let (us, them) = paired.walls();
        let figures = format!("p50 at {many} runs {}, at {few} {}", shown(us), shown(them));
        let mut row = Row::ratio(&format!("ledger: {name}"), &paired, REACH, figures);
        row.cpu = None;
        rows.push(row);
    }
    ensure!(long.world.host_alive() && short.world.host_alive(), "a host died");
    Ok(rows)
}
