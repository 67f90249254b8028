//! `cargo xtask soak load`: many clients for minutes, then a flood; what grew, and who waited.

use std::fs;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use helix_tests::load::flood::{self, Flood, Round};
use helix_tests::load::sample::Sample;
use helix_tests::load::{self, Load, Report, plot};

use crate::{build, say};

/// Clients that stay while they make many calls.
const STEADY: u64 = 4;

/// How often a line is printed.
const LINE_EVERY_S: u64 = 15;

/// Another client's p99 in a flood, as a multiple of its p99 alone, that fails the soak. What is
/// aimed at is [`RATIO_WANTED`]; a machine with few processors and other work has bad minutes.
const RATIO_MAX: f64 = 10.0;
const RATIO_WANTED: f64 = 2.0;

#[derive(Args)]
pub struct Arguments {
    /// For how long the clients work
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How many clients
    #[arg(long, default_value_t = 32)]
    clients: u64,
    /// Calls of the four clients that stay, together
    #[arg(long, default_value_t = 10_000)]
    calls: u64,
}

/// Does it.
///
/// # Errors
/// Something grew, a call was answered otherwise than it must be, or a flood held others up.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut world = load::world()?;
    world.start()?;
    let wanted = Load { clients: arguments.clients, time: Duration::from_secs(60 * arguments.minutes) };
    say::heading(&format!("{} clients for {} minutes", arguments.clients, arguments.minutes));
    let report = load::run(&world, wanted, tell())?;
    show(&report, "soak-load.svg")?;
    let mut faults = report.faults();

    say::heading(&format!("{} calls over {STEADY} connections that stay", arguments.calls));
    let report = load::many_calls(&world, STEADY, arguments.calls / STEADY, tell())?;
    show(&report, "soak-calls.svg")?;
    faults.extend(report.faults());

    say::heading("one client asks for 500 things at once while another works");
    for connections in [1, 10] {
        let rounds = flood::run(&world, Flood { calls: 500, connections, rounds: 5, alone: 100 })?;
        let ratio = show_flood(connections, &rounds);
        if ratio > RATIO_MAX {
            faults.push(format!("over {connections} connections: p99 {ratio:.1} times that alone"));
        }
    }
    world.finish()?;
    if faults.is_empty() {
        say::line("\nflat, and every call was answered as it must be");
        return Ok(());
    }
    bail!("it did not hold:\n  {}", faults.join("\n  "))
}

/// Prints the table's head, and then a line now and then.
fn tell() -> impl FnMut(&Sample) {
    say::line("     time     calls  memory KiB  descriptors  threads  runners  temporary    WAL KiB");
    |sample| {
        if sample.at.as_secs() % LINE_EVERY_S == 0 {
            say::line(&line(sample));
        }
    }
}

fn line(sample: &Sample) -> String {
    format!(
        "  {:>5} s {:>9} {:>11} {:>12} {:>8} {:>8} {:>10} {:>10}",
        sample.at.as_secs(),
        sample.calls,
        sample.rss_kib,
        sample.descriptors,
        sample.threads,
        sample.runners,
        sample.temporary,
        sample.wal_bytes / 1024
    )
}

fn show(report: &Report, drawing: &str) -> Result<()> {
    if let Some(after) = &report.after {
        say::line(&format!("{}   once everybody had left", line(after)));
    }
    say::line(&format!("\n  {} calls; the slowest took {:?}", report.calls(), report.slowest));
    for (what, count) in &report.done {
        say::line(&format!("  {count:>9}  {what}"));
    }
    let file = build::target_dir()?.join(drawing);
    fs::write(&file, plot::svg(&report.samples))?;
    say::line(&format!("  drawn in {}", file.display()));
    Ok(())
}

/// Prints a line for each round, and gives the ratio of the p99s over all of them.
fn show_flood(connections: u64, rounds: &[Round]) -> f64 {
    let ms = |took: Duration| format!("{:.1} ms", took.as_secs_f64() * 1000.0);
    let ratio = |alone: Duration, flooded: Duration| flooded.as_secs_f64() / alone.as_secs_f64();
    say::line(&format!("\n  over {connections} connections; the other client's p99:"));
    for round in rounds {
        let (alone, flooded) = (flood::p99(round.alone.clone()), flood::p99(round.flooded.clone()));
        say::line(&format!(
            "    alone {:>9}, in the flood {:>9} ({} calls), {:.1} times; of the flood {} served, {} refused in {:.1} s",
            ms(alone),
            ms(flooded),
            round.flooded.len(),
            ratio(alone, flooded),
            round.served,
            round.refused,
            round.flood.as_secs_f64()
        ));
    }
    let all = |of: fn(&Round) -> &Vec<Duration>| -> Vec<Duration> {
        rounds.iter().flat_map(|round| of(round).iter().copied()).collect()
    };
    let (alone, flooded) = (all(|round| &round.alone), all(|round| &round.flooded));
    let p99 = ratio(flood::p99(alone.clone()), flood::p99(flooded.clone()));
    let p50 = ratio(flood::p50(alone), flood::p50(flooded));
    say::line(&format!(
        "    in all: p50 {p50:.1} times, p99 {p99:.1} times; wanted at most {RATIO_WANTED:.1}"
    ));
    p99
}
