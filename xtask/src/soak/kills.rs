//! `cargo xtask soak kills`: thousands of random kills; exit code 1 as soon as something
//! acknowledged is lost or `fsck` finds something.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;
use helix_tests::kills::{self, Counts, Plan};

use crate::say;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct Arguments {
    /// How often to kill
    #[arg(long, default_value_t = 5_000)]
    count: u64,
    /// Makes the same choices again; told when left out
    #[arg(long)]
    seed: Option<u64>,
    /// Homes at once
    #[arg(long, default_value_t = 2)]
    workers: u64,
}

/// Kills, and says what came of it.
///
/// # Errors
/// What did not hold, with the seed and where the home is.
pub fn run(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(seed_of_now);
    say::line(&format!("  {} kills, seed {seed}, {} homes at once", arguments.count, arguments.workers));
    let start = Instant::now();
    let told = Mutex::new(start);
    let progress = |counts: &Counts| {
        let Ok(mut told) = told.lock() else { return };
        if told.elapsed() >= TELL_EVERY {
            *told = Instant::now();
            let all = counts.kills() + counts.kills_at_start;
            say::line(&format!("  {:>6} kills, {} fsck clean, {}", all, counts.fscks, say::seconds(start)));
        }
    };
    let plan = Plan { kills: arguments.count, seed, workers: arguments.workers };
    let counts = kills::run(plan, &progress)?;
    for (what, count) in rows(&counts) {
        say::line(&format!("  {count:>8}  {what}"));
    }
    say::line(&format!("  nothing acknowledged was lost; in {}", say::seconds(start)));
    Ok(())
}

fn rows(counts: &Counts) -> [(&'static str, u64); 13] {
    [
        ("kills of a host at work", counts.kills_of_host),
        ("kills of a host in its start, besides", counts.kills_at_start),
        ("kills of a runner", counts.kills_of_runner),
        ("homes", counts.homes),
        ("runs acknowledged", counts.runs),
        ("of these succeeded, each the answer of its call again", counts.runs_succeeded),
        ("replays asked for between kills", counts.replays),
        ("imports acknowledged", counts.artifacts),
        ("exports acknowledged", counts.exports),
        ("attempts taken over from a killed host", counts.taken_over),
        ("half-written files swept", counts.swept),
        ("fsck after a kill, clean", counts.fscks),
        ("fsck --deep at the end of a home, clean", counts.deep_fscks),
    ]
}

fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ now.as_secs().rotate_left(32)
}
