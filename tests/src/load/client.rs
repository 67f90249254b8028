//! One of many clients: it does what assistants do, mistakes and sudden departures included, and
//! holds each answer to what it must be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::client::{ANSWER_WITHIN, RpcError};
use crate::{StdioClient, World};

/// Greetings that all clients share, so that most calls of them are replays or joined.
const SHARED: u64 = 50;

/// A client that was answered wrongly so often leaves.
const FAILURES_MAX: usize = 3;

/// What one client did.
#[derive(Debug, Default)]
pub struct Tally {
    pub done: BTreeMap<&'static str, u64>,
    pub failures: Vec<String>,
    pub slowest: Duration,
}

/// Works until `stop`.
pub fn work(world: &World, number: u64, stop: &AtomicBool, calls: &AtomicU64) -> Tally {
    turns(world, number, calls, |client| (!stop.load(Ordering::Relaxed)).then(|| client.choice()))
}

/// Makes so many calls over one connection, every fifth of them a fresh one.
pub fn steady(world: &World, number: u64, count: u64, calls: &AtomicU64) -> Tally {
    turns(world, number, calls, |client| {
        client.turn += 1;
        let act: (&str, Act) =
            if client.turn % 5 == 0 { ("fresh call", Client::fresh) } else { ("replay", Client::replay) };
        (client.turn <= count).then_some(act)
    })
}

/// Does one thing after the other, until there is no next.
fn turns<'w>(
    world: &'w World,
    number: u64,
    calls: &AtomicU64,
    next: impl Fn(&mut Client<'w>) -> Option<(&'static str, Act<'w>)>,
) -> Tally {
    let mut tally = Tally::default();
    let mut client = match Client::new(world, number) {
        Ok(client) => client,
        Err(error) => {
            tally.failures.push(format!("client {number}: {error:#}"));
            return tally;
        }
    };
    while let Some((what, act)) = next(&mut client) {
        let began = Instant::now();
        match act(&mut client) {
            Ok(()) => *tally.done.entry(what).or_default() += 1,
            Err(error) => {
                tally.failures.push(format!("client {number}, {what}: {error:#}"));
                if tally.failures.len() > FAILURES_MAX || client.reconnect().is_err() {
                    return tally;
                }
            }
        }
        tally.slowest = tally.slowest.max(began.elapsed());
        calls.fetch_add(1, Ordering::Relaxed);
    }
    if let Err(error) = client.connection.close() {
        tally.failures.push(format!("client {number}, at its end: {error:#}"));
    }
    tally
}

struct Client<'w> {
    world: &'w World,
    connection: StdioClient,
    number: u64,
    turn: u64,
    random: u64,
    /// The last artifact and run that this client has had.
    artifact: String,
    reads: String,
    run: String,
}

type Act<'w> = fn(&mut Client<'w>) -> Result<()>;

impl<'w> Client<'w> {
    fn new(world: &'w World, number: u64) -> Result<Self> {
        let connection = world.client()?;
        let seed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let (artifact, reads, run) = (String::new(), String::new(), String::new());
        let mut client = Self { world, connection, number, turn: 0, random: seed, artifact, reads, run };
        client.import()?;
        client.import_reads()?;
        client.fresh()?;
        Ok(client)
    }

    /// A number from 0 to `below`, the same each time (xorshift).
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn choice(&mut self) -> (&'static str, Act<'w>) {
        self.turn += 1;
        match self.random(100) {
            0..5 => ("import", Self::import),
            5..8 => ("import of reads", Self::import_reads),
            8..28 => ("fresh call", Self::fresh),
            28..33 => ("fastq_stats", Self::stats),
            33..58 => ("replay", Self::replay),
            58..66 => ("run_get", Self::run_get),
            66..72 => ("run_list", Self::run_list),
            72..78 => ("artifact_list", Self::artifact_list),
            78..84 => ("preview", Self::preview),
            84..89 => ("wrong arguments", Self::wrong),
            89..94 => ("cancelled call", Self::cancelled),
            94..97 => ("run_cancel", Self::run_cancel),
            97..99 => ("departure in the middle", Self::depart),
            _ => ("reconnection", Self::reconnect),
        }
    }

    fn own(&self) -> String {
        format!("client {} turn {}", self.number, self.turn)
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Result<Value> {
        let reply = self.connection.call(tool, arguments)?;
        ensure!(!reply.is_error, "{tool}: {}", reply.text());
        Ok(reply.structured)
    }

    fn import_text(&mut self, content: &str, hint: &str) -> Result<String> {
        let made = self.call("artifact_import", json!({"text": content, "type_hint": hint}))?;
        let id = made["artifacts"][0]["artifact_id"].as_str();
        Ok(id.with_context(|| format!("no artifact in {made}"))?.to_owned())
    }

    fn import(&mut self) -> Result<()> {
        self.artifact = self.import_text(&format!("{}\n", self.own()), "TEXT")?;
        Ok(())
    }

    fn import_reads(&mut self) -> Result<()> {
        let own = self.own().replace(' ', "_");
        let read = |at| {
            format!("@{own}_{at}\nACGTACGTACGTACGTACGTACGTACGTACGT\n+\nIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII\n")
        };
        let reads: String = (0..20).map(read).collect();
        self.reads = self.import_text(&reads, "FASTQ")?;
        Ok(())
    }

    fn hello(&mut self, name: &str, arguments: Value) -> Result<()> {
        let said = self.call("hello", arguments)?;
        ensure!(said["status"] == "succeeded", "{said}");
        let summary = said["summary"].as_str().unwrap_or_default();
        ensure!(summary.contains(&format!("Greeted {name};")), "somebody else's answer: {said}");
        said["run_id"].as_str().unwrap_or_default().clone_into(&mut self.run);
        ensure!(!self.run.is_empty(), "no run: {said}");
        Ok(())
    }

    fn fresh(&mut self) -> Result<()> {
        let name = self.own();
        self.hello(&name, json!({"name": name, "text": self.artifact}))
    }

    fn replay(&mut self) -> Result<()> {
        let name = format!("guest {}", self.random(SHARED));
        self.hello(&name, json!({"name": name}))
    }

    fn stats(&mut self) -> Result<()> {
        let said = self.call("fastq_stats", json!({"reads": [self.reads]}))?;
        ensure!(said["status"] == "succeeded", "{said}");
        Ok(())
    }

    fn run_get(&mut self) -> Result<()> {
        let said = self.call("run_get", json!({"run_id": self.run}))?;
        ensure!(said["run_id"] == self.run.as_str(), "{said}");
        Ok(())
    }

    fn run_list(&mut self) -> Result<()> {
        let said = self.call("run_list", json!({}))?;
        ensure!(said["runs"].as_array().is_some_and(|runs| !runs.is_empty()), "{said}");
        Ok(())
    }

    fn artifact_list(&mut self) -> Result<()> {
        let said = self.call("artifact_list", json!({}))?;
        ensure!(said["artifacts"].as_array().is_some_and(|rows| !rows.is_empty()), "{said}");
        Ok(())
    }

    fn preview(&mut self) -> Result<()> {
        let said = self.call("artifact_preview_text", json!({"artifact_id": self.artifact}))?;
        let own = format!("client {} ", self.number);
        ensure!(said["preview"].as_str().is_some_and(|text| text.contains(&own)), "{said}");
        Ok(())
    }

    /// What is refused is refused, and nothing else comes of it.
    fn wrong(&mut self) -> Result<()> {
        let wrong = match self.random(4) {
            0 => json!({"name": 7}),
            1 => json!({"nmae": "typo"}),
            2 => json!({"text": "art_00000000000000000000000000"}),
            _ => json!({"name": "x".repeat(200)}),
        };
        match self.connection.call("hello", wrong) {
            Ok(reply) => ensure!(reply.is_error, "accepted: {}", reply.structured),
            Err(error) => ensure!(error.is::<RpcError>(), "{error:#}"),
        }
        Ok(())
    }

    /// A call whose request is cancelled at once; the connection goes on.
    fn cancelled(&mut self) -> Result<()> {
        let name = self.own();
        let id = self.connection.send_call("hello", json!({"name": name}))?;
        self.connection.notify("notifications/cancelled", json!({"requestId": id, "reason": "load"}))?;
        self.connection.request("ping", json!({}))?;
        Ok(())
    }

    /// A run that is started without waiting, and cancelled by its id. It may have ended before.
    fn run_cancel(&mut self) -> Result<()> {
        let name = self.own();
        let id = self.connection.send_call("hello", json!({"name": name, "wait_seconds": 0}))?;
        let started = self.connection.reply(id, ANSWER_WITHIN)?;
        ensure!(!started.is_error, "{}", started.text());
        let run = started.run_id().to_owned();
        let cancelled = self.connection.call("run_cancel", json!({"run_id": run, "reason": "load"}))?;
        let ended = self.connection.call("run_wait", json!({"run_id": run, "wait_seconds": 60}))?;
        let held = ["cancelled", "succeeded"].contains(&ended.status());
        ensure!(held, "{}; {}", cancelled.structured, ended.structured);
        Ok(())
    }

    /// Leaves while its calls are under way, as a client that is killed.
    fn depart(&mut self) -> Result<()> {
        let name = self.own();
        self.connection.send_call("hello", json!({"name": name}))?;
        self.connection.send_call("fastq_stats", json!({"reads": [self.reads]}))?;
        self.connection.send_call("artifact_import", json!({"text": name, "type_hint": "TEXT"}))?;
        self.reconnect()
    }

    fn reconnect(&mut self) -> Result<()> {
        // Dropping the one before kills its attachment.
        self.connection = self.world.client()?;
        Ok(())
    }
}
