//! How the host looks from outside, second by second, and whether that grows.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{World, vitals, wait};

/// How long the host may take to put everything away once everybody has left.
const QUIET_WITHIN: Duration = Duration::from_secs(30);

/// Fewer samples than this say nothing of growth.
const SAMPLES_MIN: usize = 16;

/// Memory may grow by a tenth and this: caches of the database fill, and the allocator keeps what
/// a busy second needed. A leak of 100 bytes a call shows within 100,000 calls.
const RSS_SLACK_KIB: u64 = 8 * 1024;

/// One number of a sample.
pub type Column = fn(&Sample) -> u64;

/// The host at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub at: Duration,
    pub rss_kib: u64,
    pub descriptors: u64,
    pub threads: u64,
    /// Child processes of the host.
    pub runners: u64,
    /// Children that have ended and that nobody has waited for.
    pub zombies: u64,
    /// Files under `incoming/`.
    pub temporary: u64,
    pub wal_bytes: u64,
    /// Calls so far.
    pub calls: u64,
}

/// Looks at one host.
pub struct Sampler {
    host: u32,
    home: PathBuf,
}

impl Sampler {
    /// # Errors
    /// No host runs.
    pub fn new(world: &World) -> Result<Self> {
        Ok(Self { host: world.host_pid().context("no host runs")?, home: world.home() })
    }

    /// # Errors
    /// The host is gone.
    pub fn look(&self, at: Duration, calls: u64) -> Result<Sample> {
        let children = vitals::children(self.host)?;
        let zombies = children.iter().filter(|(_, state)| state == "Z").count() as u64;
        Ok(Sample {
            at,
            rss_kib: vitals::status(self.host, "VmRSS")?,
            threads: vitals::status(self.host, "Threads")?,
            descriptors: entries(&PathBuf::from(format!("/proc/{}/fd", self.host))),
            runners: children.len() as u64 - zombies,
            zombies,
            temporary: entries(&self.home.join("incoming")),
            wal_bytes: fs::metadata(self.home.join("ledger.sqlite-wal")).map_or(0, |found| found.len()),
            calls,
        })
    }

    /// Once nothing is under way any more: at most the spare runner, and nothing temporary.
    ///
    /// # Errors
    /// The host is gone. One that does not get quiet is the last sample.
    pub fn quiet(&self, began: Instant, calls: u64) -> Result<Sample> {
        let mut last = Err(anyhow::anyhow!("nobody looked"));
        wait::until(QUIET_WITHIN, || {
            last = self.look(began.elapsed(), calls);
            last.as_ref().is_ok_and(|sample| sample.leftovers().is_empty()).then_some(())
        });
        last
    }
}

impl Sample {
    /// What should not be there when nobody is.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let most = [
            ("runners", self.runners, 2),
            ("ended children that nobody waits for", self.zombies, 0),
            ("temporary files", self.temporary, 0),
        ];
        let over = most.iter().filter(|(_, found, most)| found > most);
        over.map(|(what, found, most)| format!("afterwards: {found} {what}, at most {most} expected"))
            .collect()
    }
}

fn entries(folder: &Path) -> u64 {
    fs::read_dir(folder).map_or(0, |entries| entries.count() as u64)
}

/// What grew: the median of the last quarter against that of the second. The first warms up, and
/// medians do not hear of a busy second. Empty when it is flat.
#[must_use]
pub fn growth(samples: &[Sample]) -> Vec<String> {
    if samples.len() < SAMPLES_MIN {
        return vec![format!("{} samples are too few to tell whether anything grows", samples.len())];
    }
    let quarter = samples.len() / 4;
    let (second, last) = (samples.get(quarter..2 * quarter), samples.get(samples.len() - quarter..));
    let (second, last) = (second.unwrap_or_default(), last.unwrap_or_default());
    let columns: [(&str, Column, u64); 5] = [
        ("KiB of memory", |sample| sample.rss_kib, RSS_SLACK_KIB),
        // Each runner that is at work or starting, each import and each connection has a few.
        ("descriptors", |sample| sample.descriptors, 24),
        ("threads", |sample| sample.threads, 8),
        ("processes", |sample| sample.runners + sample.zombies, 4),
        ("temporary files", |sample| sample.temporary, 8),
    ];
    let mut grown = Vec::new();
    for (what, value, slack) in columns {
        let (before, after) = (median(second, value), median(last, value));
        if after > before + before / 10 + slack {
            grown.push(format!("{what} grew from {before} to {after}"));
        }
    }
    grown
}

/// The middle value, 0 of none.
pub fn median(samples: &[Sample], value: Column) -> u64 {
    let mut values: Vec<u64> = samples.iter().map(value).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// # Errors
/// One of them, with all of them in its text.
pub fn held(faults: &[String]) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{}", faults.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rss_kib: impl Fn(u64) -> u64, descriptors: impl Fn(u64) -> u64) -> Vec<Sample> {
        let sample = |at| Sample { rss_kib: rss_kib(at), descriptors: descriptors(at), ..Sample::default() };
        (0..60).map(sample).collect()
    }

    #[test]
    fn a_leak_is_told_from_a_warm_up_and_from_noise() {
        let warm = series(|at| 40_000 + 10_000 * at.min(10), |at| 100 + at % 7);
        assert_eq!(growth(&warm), Vec::<String>::new());
        let leaks = series(|at| 40_000 + 1_000 * at, |at| 100 + 2 * at);
        assert_eq!(
            growth(&leaks),
            ["KiB of memory grew from 62000 to 92000", "descriptors grew from 144 to 204"]
        );
        let spike = series(|at| if at == 55 { 900_000 } else { 40_000 }, |_| 100);
        assert_eq!(growth(&spike), Vec::<String>::new());
        assert_eq!(growth(&spike[..10]).len(), 1);
    }

    #[test]
    fn what_is_left_is_named() {
        let sample = Sample { runners: 5, temporary: 1, ..Sample::default() };
        assert_eq!(sample.leftovers().len(), 2);
        assert!(Sample { runners: 1, ..Sample::default() }.leftovers().is_empty());
    }
}
