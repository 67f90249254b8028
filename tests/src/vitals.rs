//! What a host holds of the machine, read from outside: nothing of an attack may stay behind.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::wait;

/// Descriptors that a host may have more than before: a runner's socket, a compiled toolpack.
const DESCRIPTORS_MORE: usize = 2;

/// Descriptors of the ledger, whose connections are opened when they are first needed: six (the
/// writer, four readers, the one for quick reads), with a file and its log each, and the log's index.
const LEDGER_DESCRIPTORS_MAX: usize = 13;

/// Runners of a host that nobody asks anything: the spare, and one that said which engine it has.
pub const IDLE_RUNNERS_MAX: usize = 2;

/// How much a host's memory may grow, at its highest: a guest's memory is never the host's.
pub const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How long a host may take to let go of what an attack used, on a machine that is busy.
const LETS_GO_WITHIN: Duration = Duration::from_secs(30);

/// What a host held at one moment.
#[derive(Clone, Debug)]
pub struct Vitals {
    pid: u32,
    descriptors: usize,
    memory_bytes: u64,
}

impl Vitals {
    /// Of this host, now. Its peak of memory is counted anew from here.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(pid: u32) -> Result<Self> {
        // Writing 5 there forgets the peak so far.
        fs::write(process(pid).join("clear_refs"), "5").context("cannot reset the peak of memory")?;
        let (descriptors, _ledger) = counted(&descriptors(pid)?);
        Ok(Self { pid, descriptors, memory_bytes: memory(pid, "VmRSS")? })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// By how much its memory had grown at its highest.
    ///
    /// # Errors
    /// It is gone.
    pub fn growth_bytes(&self) -> Result<u64> {
        Ok(memory(self.pid, "VmHWM")?.saturating_sub(self.memory_bytes))
    }

    /// What the host holds now and did not hold then, with no more than so many runners.
    ///
    /// # Errors
    /// It is gone.
    pub fn excess(&self, runners_max: usize) -> Result<Option<String>> {
        let children = children(self.pid)?;
        if children.len() > runners_max || children.iter().any(|(_, state)| state == "Z") {
            return Ok(Some(format!("processes: {children:?}")));
        }
        let now = descriptors(self.pid)?;
        let (held, ledger) = counted(&now);
        let few = held <= self.descriptors + DESCRIPTORS_MORE && ledger <= LEDGER_DESCRIPTORS_MAX;
        Ok((!few).then(|| format!("descriptors: {} before, now {now:?}", self.descriptors)))
    }

    /// Waits until the host holds no more than it did, and checks that it never had more memory than
    /// so much beyond what it had.
    ///
    /// # Errors
    /// It goes on holding more; what it holds.
    pub fn back_to(&self, runners_max: usize, growth_bytes_max: u64) -> Result<()> {
        let back = || self.excess(runners_max).is_ok_and(|excess| excess.is_none()).then_some(());
        if wait::until(LETS_GO_WITHIN, back).is_none() {
            let excess = self.excess(runners_max)?;
            ensure!(excess.is_none(), "the host goes on holding {}", excess.unwrap_or_default());
        }
        let growth = self.growth_bytes()?;
        ensure!(growth <= growth_bytes_max, "the host grew by {growth} bytes");
        Ok(())
    }
}

/// The processes that this one started, by id, each with its state: `Z` has ended and was not
/// waited for.
///
/// # Errors
/// `/proc` cannot be read.
pub fn children(of: u32) -> Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        if let Some((state, _)) = state_of(pid).filter(|(_, parent)| *parent == of) {
            found.push((pid, state));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// State and parent of a process that is there.
#[must_use]
pub fn state_of(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(process(pid).join("stat")).ok()?;
    // After the command's name in brackets.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// What its descriptors stand for.
fn descriptors(pid: u32) -> Result<Vec<String>> {
    let open = fs::read_dir(process(pid).join("fd")).context("the host is gone")?.flatten();
    let target =
        |path: PathBuf| fs::read_link(path).map_or_else(|_| "?".into(), |to| to.display().to_string());
    Ok(open.map(|entry| target(entry.path())).collect())
}

/// How many are not the ledger's, and how many are.
fn counted(descriptors: &[String]) -> (usize, usize) {
    let ledger = descriptors.iter().filter(|target| target.contains("/ledger.sqlite")).count();
    (descriptors.len() - ledger, ledger)
}

/// A size in `/proc/PID/status`, such as `VmRSS`, in bytes.
///
/// # Errors
/// The process is gone.
pub fn memory(pid: u32, key: &str) -> Result<u64> {
    Ok(status(pid, key)? * 1024)
}

/// A number in `/proc/PID/status`; sizes are in KiB.
///
/// # Errors
/// The process is gone.
pub fn status(pid: u32, key: &str) -> Result<u64> {
    let text = fs::read_to_string(process(pid).join("status")).context("the process is gone")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    number.with_context(|| format!("no {key} of process {pid}"))
}

fn process(pid: u32) -> PathBuf {
    PathBuf::from("/proc").join(pid.to_string())
}
