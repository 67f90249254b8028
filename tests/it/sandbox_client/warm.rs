//! One runner plans a call and then runs it: what it keeps, what it does not, and what happens when
//! it does not live to run.

use std::process::Command;

use helix_tests::vitals;
use helixmcp::sandbox::client::Warm;

use super::processes::wait_for;
use super::*;
use crate::guests;

/// A call of `echo` that has been planned, by a runner that stays to run it.
struct Planned {
    bench: Bench,
    component: Compiled,
    call: raw::Call,
    limits: GuestLimits,
    warm: Warm,
    pace: Pace,
    /// The process.
    runner: u32,
}

impl Planned {
    async fn new(limits: GuestLimits) -> Result<Self> {
        let bench = Bench::new()?;
        let component = bench.load(&guests::honest("echo")?).await?;
        let call = call(r#"{"text":"planned"}"#);
        let (_proposal, warm) = bench.sandbox.plan(&component, &call, Some(&limits), Pace::Usual).await?;
        let warm = warm.context("the runner does not stay")?;
        let mut runners = Vec::new();
        // The one that compiled may take a moment to be gone.
        wait_for("one guest", || {
            runners = bench.sandbox.runners();
            runners.retain(|pid| has_guest(*pid));
            Ok(runners.len() == 1)
        })?;
        Ok(Self { bench, component, call, limits, warm, pace: Pace::Usual, runner: runners[0] })
    }

    /// Runs it, and does `meanwhile` once the runner has been asked to.
    async fn run(self, call: &raw::Call, meanwhile: impl FnOnce() -> Result<()>) -> Result<(Ran, Outputs)> {
        let Self { bench, component, limits, warm, pace, .. } = self;
        let (roles, mut outputs) = (["out".to_owned()], Outputs::default());
        let execution =
            Execution { component: &component, call, roles: &roles, limits: &limits, warm: Some(warm), pace };
        let ran = {
            let mut running = std::pin::pin!(bench.sandbox.run(execution, Vec::new(), &mut outputs));
            tokio::select! {
                biased;
                ran = &mut running => ran,
                () = std::future::ready(()) => {
                    meanwhile()?;
                    running.await
                }
            }
        };
        Ok((ran, outputs))
    }
}

fn call(params: &str) -> raw::Call {
    raw::Call { tool: "echo".to_owned(), params: params.to_owned(), inputs: Vec::new() }
}

/// A guest has a thread of its own.
fn has_guest(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
    names.into_iter().any(|name| name.trim_end() == "guest")
}

fn signal(name: &str, pid: u32) -> Result<()> {
    ensure!(Command::new("kill").args([name, &pid.to_string()]).status()?.success(), "kill {name} {pid}");
    Ok(())
}

/// The soft and the hard limit of a process, as the kernel shows them.
fn limit_of(pid: u32, name: &str) -> Result<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such limit")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok((words[0].parse()?, words[1].parse()?))
}

#[tokio::test]
async fn what_was_planned_runs_in_the_runner_that_planned_it() -> Result<()> {
    let planned = Planned::new(guest_limits()).await?;
    let call = planned.call.clone();
    let (ran, outputs) = planned.run(&call, || Ok(())).await?;
    assert_eq!(ran?.report.result, call.params);
    assert_eq!(String::from_utf8(outputs.bytes("main")?)?, format!("hello\n{}", call.params));

    // If that runner does nothing, nothing is done, until the run's own time is over.
    let planned = Planned::new(GuestLimits { wall: Duration::from_millis(500), ..guest_limits() }).await?;
    signal("-STOP", planned.runner)?;
    let (ran, _outputs) = planned.run(&call, || Ok(())).await?;
    assert!(matches!(ran, Err(GuestError::Limit { limit: Limit::Wall, .. })), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_runner_that_dies_between_plan_and_run_is_replaced() -> Result<()> {
    // Dead for a while, dying, and dead with the request in its socket.
    for turn in 0..12 {
        let planned = Planned::new(guest_limits()).await?;
        let (call, runner) = (planned.call.clone(), planned.runner);
        let die = move || signal("-KILL", runner);
        let (ran, outputs) = match turn % 3 {
            0 => {
                die()?;
                wait_for("it is dead", || Ok(!has_guest(runner)))?;
                planned.run(&call, || Ok(())).await?
            }
            1 => {
                die()?;
                planned.run(&call, || Ok(())).await?
            }
            _ => {
                signal("-STOP", runner)?;
                // Until it is, it may take the request out of its socket.
                let is_stopped = || Ok(vitals::state_of(runner).is_some_and(|(state, _)| state == "T"));
                wait_for("it is stopped", is_stopped)?;
                planned.run(&call, die).await?
            }
        };
        assert_eq!(ran.with_context(|| format!("turn {turn}"))?.report.result, call.params);
        assert_eq!(String::from_utf8(outputs.bytes("main")?)?, format!("hello\n{}", call.params));
    }
    Ok(())
}

/// No party sees what another one left: a runner that planned runs that call, or none.
#[tokio::test]
async fn a_runner_that_planned_runs_no_other_call() -> Result<()> {
    let planned = Planned::new(guest_limits()).await?;
    let (runner, other) = (planned.runner, call(r#"{"text":"another"}"#));
    let (ran, outputs) = planned.run(&other, || Ok(())).await?;
    assert_eq!(ran?.report.result, other.params);
    assert_eq!(String::from_utf8(outputs.bytes("main")?)?, format!("hello\n{}", other.params));
    wait_for("it is gone", || Ok(!has_guest(runner)))
}

#[tokio::test]
async fn a_runner_that_planned_is_killed_when_nobody_wants_the_run() -> Result<()> {
    let planned = Planned::new(guest_limits()).await?;
    let runner = planned.runner;
    drop(planned.warm);
    wait_for("it is gone", || Ok(!has_guest(runner)))
}

/// I-9: what a plan may use is less than what its run may, and neither is more than was named.
#[tokio::test]
async fn i9_a_runner_that_planned_has_the_limits_of_each() -> Result<()> {
    let planned = Planned::new(guest_limits()).await?;
    let (runner, call, limits) = (planned.runner, planned.call.clone(), planned.limits.clone());
    assert_eq!(limit_of(runner, "Max file size")?, (0, limits.output_bytes));
    let (now, most) = limit_of(runner, "Max data size")?;
    assert!(now < most && most - now == limits.memory_bytes - 64 * MIB, "{now} of {most}");

    let Planned { bench, component, warm, .. } = planned;
    let mut watch = Watch { runner, seen: Vec::new() };
    let roles = ["out".to_owned()];
    let execution = Execution {
        component: &component,
        call: &call,
        roles: &roles,
        limits: &limits,
        warm: Some(warm),
        pace: Pace::Usual,
    };
    bench.sandbox.run(execution, Vec::new(), &mut watch).await?;
    assert_eq!(watch.seen, [((limits.output_bytes, limits.output_bytes), (most, most))]);
    Ok(())
}

/// Looks at a runner's limits while its guest writes.
struct Watch {
    runner: u32,
    seen: Vec<((u64, u64), (u64, u64))>,
}

impl RunEvents for Watch {
    fn create_output(&mut self, _role: &str, _key: &str) -> std::io::Result<File> {
        let limit = |name| limit_of(self.runner, name).map_err(std::io::Error::other);
        let seen = (limit("Max file size")?, limit("Max data size")?);
        self.seen.push(seen);
        tempfile::tempfile()
    }

    fn log(&mut self, _level: &str, _text: &str) {}

    fn progress(&mut self, _done: u64, _total: Option<u64>, _text: &str) {}

    fn ask(&mut self, _ask: Ask) -> Answering<'_> {
        nobody_answers()
    }
}

/// How nice each thread of a process is.
fn niceness(pid: u32) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // One may end meanwhile.
        let Ok(stat) = std::fs::read_to_string(thread?.path().join("stat")) else { continue };
        // After the command's name in brackets the state, and the sixteenth from there.
        let fields = stat.rsplit_once(") ").context("no name")?.1;
        found.push(fields.split(' ').nth(16).context("too short")?.parse()?);
    }
    Ok(found)
}

#[tokio::test]
async fn a_runner_that_yields_is_nicer_than_its_host() -> Result<()> {
    let own = niceness(std::process::id())?.into_iter().max().context("no thread of our own")?;
    let planned = Planned { pace: Pace::Yields, ..Planned::new(guest_limits()).await? };
    let (runner, call) = (planned.runner, planned.call.clone());
    assert!(niceness(runner)?.iter().all(|nice| *nice == own), "before: {:?}", niceness(runner)?);
    let look = || {
        let nice = niceness(runner)?;
        let yields = !nice.is_empty() && nice.iter().all(|nice| *nice == (own + 10).min(19));
        anyhow::ensure!(yields, "{nice:?}, of a host with {own}");
        Ok(())
    };
    planned.run(&call, look).await?.0?;
    Ok(())
}
