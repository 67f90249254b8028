//! Two things timed in turn, A B A B …, because figures on a shared machine drift: what slows one
//! down slows the other as well, and their ratio stays.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What one of the two took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Took {
    pub wall: Duration,
    /// Processor time of every process that had a part in it. To a hundredth of a second, so it
    /// is summed over many.
    pub cpu: Duration,
}

/// Two things, as often as each other.
#[derive(Clone, Debug, Default)]
pub struct Paired {
    pub ours: Vec<Took>,
    pub theirs: Vec<Took>,
}

impl Paired {
    /// Times both, `rounds` times; each gets the round's number.
    ///
    /// # Errors
    /// The first that either says.
    pub fn time(
        rounds: usize,
        mut ours: impl FnMut(usize) -> Result<Took>,
        mut theirs: impl FnMut(usize) -> Result<Took>,
    ) -> Result<Self> {
        let mut paired = Self::default();
        for round in 0..rounds {
            paired.ours.push(ours(round)?);
            paired.theirs.push(theirs(round)?);
        }
        Ok(paired)
    }

    /// The median of each round's ratio: a slow minute touches both of its round.
    pub fn wall_ratio(&self) -> f64 {
        let pairs = self.ours.iter().zip(&self.theirs);
        median(pairs.map(|(ours, theirs)| ratio(ours.wall, theirs.wall)).collect())
    }

    /// Processor time of all rounds.
    pub fn cpu_ratio(&self) -> f64 {
        let sum = |side: &[Took]| side.iter().map(|took| took.cpu).sum();
        ratio(sum(&self.ours), sum(&self.theirs))
    }

    /// The median wall time of each.
    pub fn walls(&self) -> (Duration, Duration) {
        (median_wall(&self.ours), median_wall(&self.theirs))
    }
}

pub fn median_wall(side: &[Took]) -> Duration {
    Duration::from_secs_f64(median(side.iter().map(|took| took.wall.as_secs_f64()).collect()))
}

pub fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The middle one; of none, 0.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Times `work`. Its processor time is that of the processes which live before and after, and of
/// those that were started for it and waited for.
///
/// # Errors
/// As `work`'s.
pub fn timed(processes: &[u32], work: impl FnOnce() -> Result<()>) -> Result<Took> {
    let before = cpu_of(processes)?;
    let start = Instant::now();
    work()?;
    let wall = start.elapsed();
    Ok(Took { wall, cpu: cpu_of(processes)?.saturating_sub(before) })
}

/// Processor time so far of these processes and of what each has waited for; of this one, only
/// what it has waited for.
fn cpu_of(processes: &[u32]) -> Result<Duration> {
    let children = stat("self", &[15, 16])?;
    let living = processes.iter().map(|id| stat(&id.to_string(), &[13, 14, 15, 16]));
    Ok(living.sum::<Result<Duration>>()? + children)
}

/// The sum of some fields of `/proc/ID/stat`, which count hundredths of a second.
fn stat(process: &str, fields: &[usize]) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).context("a measured process is gone")?;
    // The second field is a name in brackets, in which anything may stand.
    let (_name, rest) = text.rsplit_once(')').context("no name in stat")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let ticks = fields.iter().map(|field| words.get(field - 2).and_then(|word| word.parse::<u64>().ok()));
    let ticks = ticks.sum::<Option<u64>>().context("no numbers in stat")?;
    Ok(Duration::from_millis(ticks * 10))
}

/// A line of `/proc/ID/status` or `smaps_rollup` that counts KiB, as bytes.
pub fn memory(process: u32, file: &str, line: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).context("the process is gone")?;
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    let kib = found.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
    let kib: u64 = kib.and_then(|word| word.parse().ok()).with_context(|| format!("no {line}"))?;
    Ok(kib * 1024)
}

/// Forgets a process's highest memory so far.
pub fn forget_peak(process: u32) -> Result<()> {
    fs::write(format!("/proc/{process}/clear_refs"), "5").context("cannot reset the highest memory")
}

/// The processes that a process has started and that live.
pub fn children(process: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    found
}

/// Watches the highest memory of whatever processes a host starts, while it lives.
pub struct Watch {
    stop: Arc<AtomicBool>,
    highest: Arc<Mutex<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Looks a hundred times a second; the kernel keeps each process's own peak between.
    pub fn children_of(host: u32) -> Self {
        let (stop, highest) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(0)));
        let (ended, seen) = (Arc::clone(&stop), Arc::clone(&highest));
        let look = move || {
            while !ended.load(Ordering::Relaxed) {
                for child in children(host) {
                    // It may have ended just now.
                    let peak = memory(child, "status", "VmHWM").unwrap_or_default();
                    let mut highest = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    *highest = peak.max(*highest);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        Self { stop, highest, thread: Some(std::thread::spawn(look)) }
    }

    /// The highest that was seen, in bytes.
    pub fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that panicked has seen less, which shows as 0 or as what it saw.
        drop(self.thread.take().map(JoinHandle::join));
        *self.highest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(millis: u64) -> Took {
        Took { wall: Duration::from_millis(millis), cpu: Duration::from_millis(2 * millis) }
    }

    #[test]
    fn a_slow_round_does_not_move_the_ratio() {
        let (ours, theirs) = (vec![took(20), took(900), took(20)], vec![took(10), took(450), took(10)]);
        let paired = Paired { ours, theirs };
        assert!((paired.wall_ratio() - 2.0).abs() < 1e-9);
        assert!((paired.cpu_ratio() - 2.0).abs() < 1e-9);
        assert_eq!(paired.walls(), (Duration::from_millis(20), Duration::from_millis(10)));
    }

    #[test]
    fn both_are_timed_in_turn() -> Result<()> {
        let order = std::cell::RefCell::new(String::new());
        let note = |letter: char| {
            order.borrow_mut().push(letter);
            Ok(took(1))
        };
        let paired = Paired::time(3, |_| note('a'), |_| note('b'))?;
        assert_eq!((order.into_inner().as_str(), paired.ours.len()), ("ababab", 3));
        Ok(())
    }

    #[test]
    fn a_process_has_used_memory_and_time() -> Result<()> {
        let own = std::process::id();
        assert!(memory(own, "status", "VmRSS")? > 100_000);
        assert!(timed(&[own], || Ok(())).is_ok());
        assert!(timed(&[u32::MAX], || Ok(())).is_err());
        Ok(())
    }
}
