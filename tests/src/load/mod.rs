//! Many clients at one home for minutes: what they do, what the host looks like meanwhile, and
//! whether it stays flat. `cargo xtask soak load` and `tests/it/load.rs` both drive it.

pub mod client;
pub mod flood;
pub mod plot;
pub mod sample;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::World;
use crate::world::toolpack;
use client::Tally;
use sample::{Sample, Sampler};

/// How often the host is looked at.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// After so many failures of one client the rest would tell nothing new.
const FAILURES_SHOWN: usize = 10;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub clients: u64,
    pub time: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// By what the clients did: how often it was answered as it must be.
    pub done: BTreeMap<&'static str, u64>,
    /// What was answered otherwise.
    pub failures: Vec<String>,
    pub samples: Vec<Sample>,
    /// Once everybody had left.
    pub after: Option<Sample>,
    /// The longest that a client waited for an answer.
    pub slowest: Duration,
}

impl Report {
    /// Calls that were answered.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.done.values().sum()
    }

    /// Every reason to say that it did not hold.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.failures.clone();
        faults.extend(sample::growth(&self.samples));
        if let Some(after) = &self.after {
            faults.extend(after.leftovers());
        }
        faults
    }
}

/// A world with both example toolpacks; nothing runs yet.
///
/// # Errors
/// The toolpacks have not been built.
pub fn world() -> Result<World> {
    let mut world = World::new()?;
    for name in ["hello", "reads-qc"] {
        world.allow(name, &toolpack(name)?)?;
    }
    // As docs/policy.md advises.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    world.policy.limit("host", "runners", &processors.to_string());
    Ok(world)
}

/// Lets the clients loose on a started world. `told` hears of each sample.
///
/// # Errors
/// The host cannot be looked at. What clients met stands in the report.
pub fn run(world: &World, load: Load, told: impl FnMut(&Sample)) -> Result<Report> {
    watched(world, load.clients, Some(load.time), told, |number, stop, calls| {
        client::work(world, number, stop, calls)
    })
}

/// A few clients that stay, each with so many calls, every fifth a fresh one: what a host keeps of
/// a call or of a connection's past shows as growth.
///
/// # Errors
/// As [`run`].
pub fn many_calls(world: &World, clients: u64, each: u64, told: impl FnMut(&Sample)) -> Result<Report> {
    watched(world, clients, None, told, |number, _stop, calls| client::steady(world, number, each, calls))
}

/// Watches the host while clients work: for so long, or until they have ended.
fn watched(
    world: &World,
    clients: u64,
    time: Option<Duration>,
    mut told: impl FnMut(&Sample),
    work: impl Fn(u64, &AtomicBool, &AtomicU64) -> Tally + Sync,
) -> Result<Report> {
    let sampler = Sampler::new(world)?;
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let began = Instant::now();
    let mut report = Report::default();
    thread::scope(|scope| -> Result<()> {
        let (stop, calls, work) = (&stop, &calls, &work);
        let clients: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || work(number, stop, calls))).collect();
        let goes_on = || match time {
            Some(time) => began.elapsed() < time,
            None => clients.iter().any(|client| !client.is_finished()),
        };
        let mut next = SAMPLE_EVERY;
        let mut looked = Ok(());
        while goes_on() && looked.is_ok() {
            thread::sleep(next.saturating_sub(began.elapsed()));
            next += SAMPLE_EVERY;
            looked = sampler.look(began.elapsed(), calls.load(Ordering::Relaxed)).map(|sample| {
                told(&sample);
                report.samples.push(sample);
            });
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let tally = client.join().map_err(|_panic| anyhow!("a client panicked"))?;
            report.add(tally);
        }
        looked
    })?;
    let after = sampler.quiet(began, calls.load(Ordering::Relaxed));
    report.after = Some(after.context("the host cannot be looked at")?);
    Ok(report)
}

impl Report {
    fn add(&mut self, tally: Tally) {
        for (what, count) in tally.done {
            *self.done.entry(what).or_default() += count;
        }
        self.slowest = self.slowest.max(tally.slowest);
        let room = FAILURES_SHOWN.saturating_sub(self.failures.len());
        self.failures.extend(tally.failures.into_iter().take(room.max(1)));
    }
}
