//! Random kill −9 of the host and of its runners, and what has to hold after each: what was
//! acknowledged is there, what was not is whole or absent, and the ledger and the store agree.
//!
//! A kill leaves the page cache as it is: this is no power cut.

mod check;
mod journal;
mod random;
mod work;

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use self::journal::Journal;
use self::random::Random;
use self::work::{Assistant, Expected, Shared, lock};
use crate::{World, vitals, wait, world};

/// Assistants that work at once.
const ASSISTANTS: u64 = 3;

/// How long they may work before the kill.
const WORK_MS: u64 = 250;

/// How far a host may come in its start before it is killed again.
const START_MS: u64 = 60;

/// Kills that one home goes through: what is looked at after each grows with what it holds.
const KILLS_A_HOME: u64 = 50;

/// How long a runner may outlive its host.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub kills: u64,
    /// The same seed makes the same choices; what a kill meets still differs from run to run.
    pub seed: u64,
    /// Homes at once.
    pub workers: u64,
}

/// What was done and looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub kills_of_host: u64,
    /// Of these, while it was starting, recovery included.
    pub kills_at_start: u64,
    pub kills_of_runner: u64,
    pub homes: u64,
    pub runs: u64,
    pub runs_succeeded: u64,
    pub replays: u64,
    pub artifacts: u64,
    pub exports: u64,
    /// Attempts that a host took over from a killed one.
    pub taken_over: u64,
    /// Half-written files that a kill left and the next start removed.
    pub swept: u64,
    pub fscks: u64,
    pub deep_fscks: u64,
}

impl Counts {
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.kills_of_host + self.kills_of_runner
    }
}

/// Kills as often as the plan says, and looks after every kill. `progress` is told now and then.
///
/// # Errors
/// What did not hold, with the seed and where the home was left to be looked at.
pub fn run(plan: Plan, progress: &(dyn Fn(&Counts) + Sync)) -> Result<Counts> {
    let driver = Driver {
        plan,
        homes: plan.kills.div_ceil(KILLS_A_HOME),
        next_home: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        counts: Mutex::default(),
        expected: Expected::default(),
        compiled: Mutex::default(),
        progress,
    };
    let ended: Vec<Result<()>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.workers.max(1)).map(|_| scope.spawn(|| driver.work())).collect();
        let died = |_panic| Err(anyhow!("a worker panicked"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(died)).collect()
    });
    ended.into_iter().collect::<Result<()>>()?;
    let counts = *lock(&driver.counts);
    Ok(counts)
}

struct Driver<'p> {
    plan: Plan,
    homes: u64,
    next_home: AtomicU64,
    failed: AtomicBool,
    counts: Mutex<Counts>,
    expected: Expected,
    /// A home whose toolpacks are compiled: the others take its cache and the key of it.
    compiled: Mutex<Option<World>>,
    progress: &'p (dyn Fn(&Counts) + Sync),
}

impl Driver<'_> {
    /// One home after the other, until there are no more.
    fn work(&self) -> Result<()> {
        loop {
            let home = self.next_home.fetch_add(1, Ordering::Relaxed);
            if home >= self.homes || self.failed.load(Ordering::Relaxed) {
                return Ok(());
            }
            let done = self.home(home);
            if done.is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            done?;
        }
    }

    fn home(&self, number: u64) -> Result<()> {
        let kills = KILLS_A_HOME.min(self.plan.kills - number * KILLS_A_HOME);
        let mut world = self.new_home()?;
        let mut random = Random::new(self.plan.seed, number);
        let mut round = 0;
        let done = self.kill(&mut world, &mut random, kills, &mut round);
        done.with_context(|| {
            let seed = self.plan.seed;
            format!("seed {seed}, home {number} at {}, kill {round} of it", world.keep().display())
        })
    }

    /// A home with two toolpacks, compiled already, and reads to import.
    fn new_home(&self) -> Result<World> {
        let mut compiled = lock(&self.compiled);
        if compiled.is_none() {
            let mut world = empty_home()?;
            world.start()?;
            world.kill_host()?;
            *compiled = Some(world);
        }
        let world = empty_home()?;
        if let Some(first) = compiled.as_ref() {
            world.take_cache(first)?;
        }
        Ok(world)
    }

    fn kill(&self, world: &mut World, random: &mut Random, kills: u64, round: &mut u64) -> Result<()> {
        let reads = work::write_reads(&world.data())?;
        let journal = Arc::new(Mutex::new(Journal::default()));
        world.start()?;
        while *round < kills {
            let host_dies = random.below(3) != 0;
            let shared = Shared {
                journal: Arc::clone(&journal),
                expected: Arc::clone(&self.expected),
                stop: Arc::default(),
                faults_are_answers: !host_dies,
                out: world.out(),
                reads: reads.clone(),
            };
            self.one_kill(world, random, &shared, host_dies)?;
            *round += 1;
            self.look(world, random, &journal)?;
        }
        let mut client = world.client()?;
        check::all(world, &mut client, &lock(&journal))?;
        client.close()?;
        ensure!(world.host_alive(), "the host died by itself:\n{}", world.log());
        ensure!(!world.log().contains("panicked at"), "something panicked:\n{}", world.log());
        world.kill_host()?;
        check::fsck(world, true)?;
        self.count_home(world, &lock(&journal));
        Ok(())
    }

    /// Lets the assistants work for a random time and kills, then brings the host back.
    fn one_kill(
        &self,
        world: &mut World,
        random: &mut Random,
        shared: &Shared,
        host_dies: bool,
    ) -> Result<()> {
        let mut assistants = Vec::new();
        for number in 0..ASSISTANTS {
            let random = Random::new(random.next(), number);
            let assistant = Assistant { client: world.client()?, random, shared: shared.clone() };
            assistants.push(std::thread::spawn(move || assistant.work()));
        }
        pause(random.below(WORK_MS));
        let killed = if host_dies { self.kill_host(world, random) } else { self.kill_runner(world, random) };
        shared.stop.store(true, Ordering::Relaxed);
        for assistant in assistants {
            let died = |_panic| Err(anyhow!("an assistant panicked"));
            assistant.join().unwrap_or_else(died)?;
        }
        killed?;
        if !host_dies {
            ensure!(world.host_alive(), "a killed runner took the host along:\n{}", world.log());
            return Ok(());
        }
        // Now and then the next host is killed too, while it starts and recovers.
        while random.below(5) == 0 {
            world.start_and_kill_host(Duration::from_millis(random.below(START_MS)))?;
            let mut counts = lock(&self.counts);
            counts.kills_at_start += 1;
        }
        let left = world.temporaries()?;
        world.start_host()?;
        let still = world.temporaries()?;
        ensure!(left.is_disjoint(&still), "temporaries outlive a start: {left:?}");
        lock(&self.counts).swept += u64::try_from(left.len())?;
        Ok(())
    }

    fn kill_host(&self, world: &mut World, random: &mut Random) -> Result<()> {
        let host = world.host_pid().context("no host")?;
        let runners = children_of(host)?;
        // A moment later the two lists differ; that is what makes the moment random.
        pause(random.below(3));
        world.kill_host()?;
        let gone = || runners.iter().all(|pid| !is_helixmcp(*pid)).then_some(());
        wait::until(GONE_WITHIN, gone).with_context(|| format!("runners outlive their host: {runners:?}"))?;
        lock(&self.counts).kills_of_host += 1;
        Ok(())
    }

    /// One of those that are there; each is at work on something or waits for work.
    fn kill_runner(&self, world: &World, random: &mut Random) -> Result<()> {
        let host = world.host_pid().context("no host")?;
        let runners = wait::until(GONE_WITHIN, || children_of(host).ok().filter(|pids| !pids.is_empty()));
        let runners = runners.context("the host starts no runners")?;
        let pid = random.one_of(&runners).context("no runner")?;
        // It may have ended by itself in this very moment.
        drop(Command::new("kill").args(["-9", &pid.to_string()]).output()?);
        lock(&self.counts).kills_of_runner += 1;
        Ok(())
    }

    fn look(&self, world: &World, random: &mut Random, journal: &Mutex<Journal>) -> Result<()> {
        check::fsck(world, false)?;
        let mut client = world.client()?;
        check::fresh(&mut client, &mut lock(journal), random)?;
        let counts = {
            let mut counts = lock(&self.counts);
            counts.fscks += 1;
            *counts
        };
        (self.progress)(&counts);
        client.close()
    }

    fn count_home(&self, world: &World, journal: &Journal) {
        let sum = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let mut counts = lock(&self.counts);
        counts.homes += 1;
        counts.deep_fscks += 1;
        counts.runs += sum(journal.runs.len());
        counts.runs_succeeded += sum(journal.runs.values().filter(|told| told.outputs.is_some()).count());
        counts.replays += journal.replayed;
        counts.artifacts += sum(journal.artifacts.len());
        counts.exports += sum(journal.exports.len());
        counts.taken_over += sum(world.log().matches("carrying on").count());
    }
}

fn empty_home() -> Result<World> {
    let mut world = World::new()?;
    for name in ["hello", "reads-qc"] {
        world.allow(name, &world::toolpack(name)?)?;
    }
    world.write_policy()?;
    Ok(world)
}

/// Not to wait for a state, but to meet whatever state there is by then.
fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// The processes that a host has started and that live.
fn children_of(host: u32) -> Result<Vec<u32>> {
    let children = vitals::children(host)?.into_iter();
    Ok(children.filter(|(_, state)| state != "Z").map(|(pid, _)| pid).collect())
}

/// Whether this is still one of ours: a number may be given again.
fn is_helixmcp(pid: u32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_runner = words.split(|byte| *byte == 0).any(|word| word == b"runner");
    is_runner && vitals::state_of(pid).is_some_and(|(state, _)| state != "Z")
}
