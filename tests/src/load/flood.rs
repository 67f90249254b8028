//! One client floods the host while another one works: how long that other one waits, alone and
//! in the flood, in turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use crate::{StdioClient, World};

/// How long the last answer of a flood may take.
const FLOOD_WITHIN: Duration = Duration::from_secs(600);

/// How a flood comes.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Calls at once, over all connections.
    pub calls: u64,
    pub connections: u64,
    pub rounds: u64,
    /// Calls of the other client, alone in each round. In the flood it works while that lasts.
    pub alone: u64,
}

/// One round: how long each call of the other client took.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub alone: Vec<Duration>,
    pub flooded: Vec<Duration>,
    /// The answers of the flood: as they must be, and refused with a clear word.
    pub served: u64,
    pub refused: u64,
    pub flood: Duration,
    /// How many calls of the flood were served while the other client waited for one answer; the most.
    pub overtaken: u64,
}

/// The value below which 99 of 100 lie.
#[must_use]
pub fn p99(durations: impl IntoIterator<Item = Duration>) -> Duration {
    at(durations, 99)
}

/// The middle.
#[must_use]
pub fn p50(durations: impl IntoIterator<Item = Duration>) -> Duration {
    at(durations, 50)
}

fn at(durations: impl IntoIterator<Item = Duration>, percent: usize) -> Duration {
    let mut sorted: Vec<Duration> = durations.into_iter().collect();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// Floods in rounds. Every call is a fresh one, so each takes runners.
///
/// # Errors
/// A call of the other client failed, or one of the flood was neither answered nor refused.
pub fn run(world: &World, flood: Flood) -> Result<Vec<Round>> {
    let mut other = world.client()?;
    let mut number = 0;
    let mut greet = |what: &str| -> Result<Duration> {
        number += 1;
        let name = format!("{what} {number} of {}", flood.connections);
        let began = Instant::now();
        let reply = other.call("hello", json!({"name": name}))?;
        ensure!(reply.status() == "succeeded", "the other client: {} {}", reply.text(), reply.structured);
        Ok(began.elapsed())
    };
    greet("warm")?;
    let mut rounds = Vec::new();
    for round in 0..flood.rounds {
        let mut found = Round::default();
        for _call in 0..flood.alone {
            found.alone.push(greet("alone")?);
        }
        let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        let began = Instant::now();
        thread::scope(|scope| -> Result<()> {
            let (over, answered) = (&over, &answered);
            let flooding = scope.spawn(move || {
                let ended = pour(world, flood, round, answered);
                over.store(true, Ordering::SeqCst);
                ended
            });
            let mut met = Ok(());
            // It is a flood once its first answers come.
            while answered.load(Ordering::SeqCst) == 0 && !over.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            while met.is_ok() && !over.load(Ordering::SeqCst) {
                let before = answered.load(Ordering::SeqCst);
                met = greet("flooded").map(|took| found.flooded.push(took));
                let meanwhile = answered.load(Ordering::SeqCst) - before;
                found.overtaken = found.overtaken.max(meanwhile);
            }
            let (served, refused) = flooding.join().map_err(|_panic| anyhow!("the flood panicked"))??;
            (found.served, found.refused) = (served, refused);
            met
        })?;
        found.flood = began.elapsed();
        rounds.push(found);
    }
    Ok(rounds)
}

/// Sends all calls before it reads the first answer, and gives how many were served and refused.
fn pour(world: &World, flood: Flood, round: u64, answered: &AtomicU64) -> Result<(u64, u64)> {
    let mut connections =
        (0..flood.connections).map(|_| world.client()).collect::<Result<Vec<StdioClient>>>()?;
    thread::scope(|scope| {
        let pouring: Vec<_> = (0..flood.connections)
            .zip(&mut connections)
            .map(|(at, client)| scope.spawn(move || pour_one(client, at, flood, round, answered)))
            .collect();
        let mut sum = (0, 0);
        for one in pouring {
            let (served, refused) = one.join().map_err(|_panic| anyhow!("a flooding client panicked"))??;
            sum = (sum.0 + served, sum.1 + refused);
        }
        Ok(sum)
    })
}

fn pour_one(
    client: &mut StdioClient,
    at: u64,
    flood: Flood,
    round: u64,
    answered: &AtomicU64,
) -> Result<(u64, u64)> {
    let mut ids = Vec::new();
    for call in 0..flood.calls / flood.connections {
        let name = format!("flood {round} {at} of {} call {call}", flood.connections);
        ids.push(client.send_call("hello", json!({"name": name}))?);
    }
    let (mut served, mut refused) = (0, 0);
    for _id in ids {
        let answer = client.take(FLOOD_WITHIN, |message| message.get("id").is_some())?;
        let said = &answer["result"]["structuredContent"];
        if said["status"] == "succeeded" {
            served += 1;
            answered.fetch_add(1, Ordering::SeqCst);
        } else {
            let text = answer["result"]["content"][0]["text"].as_str().context("no text")?;
            ensure!(text.contains("too_many_runs"), "neither answered nor refused: {answer}");
            refused += 1;
        }
    }
    Ok((served, refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let millis = |from: u64, to: u64| (from..=to).map(Duration::from_millis);
        assert_eq!(p99(millis(1, 100)), Duration::from_millis(99));
        assert_eq!(p99(millis(1, 3)), Duration::from_millis(3));
        assert_eq!(p50(millis(1, 3)), Duration::from_millis(2));
        assert_eq!(p99([]), Duration::ZERO);
    }
}
