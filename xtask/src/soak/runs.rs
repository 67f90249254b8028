//! `cargo xtask soak runs`: a ledger as large as years make it stays usable.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use helix_tests::{StdioClient, World, load, many_runs};
use serde_json::{Value, json};

use crate::say;

/// Each question is asked so often; the median counts.
const TIMES: usize = 21;

/// The longest that an assistant may wait for any of them. A page of a list is a page, however
/// long the list.
const ANSWER_MAX: Duration = Duration::from_millis(250);

/// The longest that a host may take to be there.
const START_MAX: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Arguments {
    /// How many runs
    #[arg(long, default_value_t = 1_000_000)]
    runs: u64,
    /// How many of them have an output of their own, with bytes in the store
    #[arg(long, default_value_t = 10_000)]
    own_outputs: u64,
}

/// Does it.
///
/// # Errors
/// Something took too long or was wrong.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut world = load::world()?;
    world.start()?;
    let mut client = world.client()?;
    let template = client.call("hello", json!({"name": many_runs::MARKER}))?;
    ensure!(template.status() == "succeeded", "{}", template.text());
    client.close()?;
    world.kill_host()?;

    say::heading(&format!("a ledger of {} runs", arguments.runs));
    let began = Instant::now();
    many_runs::grow(&world.home(), arguments.runs, arguments.own_outputs, |done| {
        if done % 100_000 == 0 {
            say::line(&format!("  {done} runs"));
        }
    })?;
    let size = std::fs::metadata(world.home().join("ledger.sqlite"))?.len();
    say::line(&format!("  made in {}: {} MiB", say::seconds(began), size >> 20));

    let mut slow = Vec::new();
    let mut judge = |what: &str, took: Duration, most: Duration| {
        say::line(&format!("  {what:<52} {:>9.1} ms", took.as_secs_f64() * 1000.0));
        if took > most {
            slow.push(format!("{what} took {took:?}, more than {most:?}"));
        }
    };
    let began = Instant::now();
    world.start_host()?;
    judge("start of the host, recovery included", began.elapsed(), START_MAX);
    let mut client = world.client()?;
    for (what, tool, arguments) in questions(&mut client, arguments.runs)? {
        judge(what, asked(&mut client, tool, &arguments)?, ANSWER_MAX);
    }
    let mut fresh = 0;
    let took = median(|| {
        fresh += 1;
        said(&mut client, "hello", &json!({"name": format!("fresh {fresh}")})).map(drop)
    })?;
    judge("a fresh call", took, ANSWER_MAX);
    client.close()?;

    let began = Instant::now();
    let checked = world.cli(&["fsck"])?.ok()?;
    say::line(&format!("  fsck: {} in {}", checked.stdout.trim(), say::seconds(began)));
    finish(world, &slow)
}

fn finish(mut world: World, slow: &[String]) -> Result<()> {
    ensure!(world.host_alive(), "the host died:\n{}", world.log());
    if slow.is_empty() {
        return Ok(());
    }
    bail!("too slow:\n  {}", slow.join("\n  "))
}

type Question = (&'static str, &'static str, Value);

fn questions(client: &mut StdioClient, runs: u64) -> Result<Vec<Question>> {
    let middle = json!({"name": many_runs::text_of(runs / 2)});
    let replayed = said(client, "hello", &middle)?;
    ensure!(replayed["replayed"] == true, "a copy was not replayed: {replayed}");
    let run = replayed["run_id"].clone();
    let newest = said(client, "run_list", &json!({}))?;
    let artifacts = said(client, "artifact_list", &json!({}))?;
    let after = |page: &Value| page["next_cursor"].clone();
    ensure!(!after(&newest).is_null() && !after(&artifacts).is_null(), "a page has no next: {newest}");
    Ok(vec![
        ("a replay", "hello", middle),
        ("run_get", "run_get", json!({"run_id": run})),
        ("run_list, the newest", "run_list", json!({})),
        ("run_list, the next page", "run_list", json!({"cursor": after(&newest)})),
        ("run_list of one tool", "run_list", json!({"tool": "hello"})),
        ("run_list of what failed", "run_list", json!({"state": "failed"})),
        ("artifact_list, the newest", "artifact_list", json!({})),
        ("artifact_list, the next page", "artifact_list", json!({"cursor": after(&artifacts)})),
        ("artifact_list of one type", "artifact_list", json!({"type": "TEXT"})),
        ("host_info", "host_info", json!({})),
    ])
}

fn said(client: &mut StdioClient, tool: &str, arguments: &Value) -> Result<Value> {
    let reply = client.call(tool, arguments.clone())?;
    ensure!(!reply.is_error, "{tool} {arguments}: {}", reply.text());
    Ok(reply.structured)
}

fn asked(client: &mut StdioClient, tool: &str, arguments: &Value) -> Result<Duration> {
    median(|| said(client, tool, arguments).map(drop))
}

fn median(mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut took = Vec::with_capacity(TIMES);
    for _time in 0..TIMES {
        let began = Instant::now();
        work()?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(TIMES / 2).copied().unwrap_or_default())
}
