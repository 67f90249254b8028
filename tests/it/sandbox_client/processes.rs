//! Runners as processes, and the compiled code that outlives them.

use super::*;
use crate::guests;

/// A compiled form is native code. One that somebody planted, cut or made with another key is as
/// good as none.
#[tokio::test]
async fn a_planted_cache_entry_is_a_miss() -> Result<()> {
    let bench = Bench::new()?;
    let cache = bench.folder.path().join("cache");
    let echo = guests::honest("echo")?;
    bench.load(&echo).await?;
    let entry = only_entry(&cache)?;
    let good = std::fs::read(&entry)?;

    let mut planted = good.clone();
    let last = planted.len() - 100;
    planted[last] ^= 1;
    let cut = good[..good.len() / 2].to_vec();
    for bad in [planted, cut, Vec::new()] {
        std::fs::write(&entry, &bad)?;
        let component = bench.load(&echo).await?;
        bench.run(&component, &Task::default()).await?.0?;
        assert!(std::fs::read(&entry)? == good, "the entry was not replaced");
    }

    // Another host's key: its entry is not ours.
    let other = Sandbox::new(settings(&cache, [8; 32])?);
    other.load(&echo, &compile_limits()).await?;
    let (theirs, ours) = (std::fs::read(&entry)?, good);
    assert!(theirs != ours, "an entry was taken over with a key that it was not made with");
    Ok(())
}

pub fn only_entry(cache: &std::path::Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(cache)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    match entries.as_slice() {
        [entry] => Ok(entry.clone()),
        other => bail!("entries: {other:?}"),
    }
}

/// The wall clock is a kill, and neither it nor a caller who goes away leaves a process behind.
#[tokio::test]
async fn a_killed_runner_is_reaped() -> Result<()> {
    let bench = Bench::new()?;
    let spins = bench.load(&guests::hostile("loops_forever")?).await?;
    let endless = GuestLimits { fuel: u64::MAX, wall: Duration::from_millis(300), ..guest_limits() };
    let task = Task { limits: endless, ..Task::default() };
    let (ran, _outputs) = bench.run(&spins, &task).await?;
    assert!(matches!(ran, Err(GuestError::Limit { limit: Limit::Wall, .. })), "{ran:?}");

    let endless = GuestLimits { wall: Duration::from_secs(600), ..task.limits };
    let task = Task { limits: endless, ..Task::default() };
    let running = tokio::time::timeout(Duration::from_millis(300), bench.run(&spins, &task)).await;
    assert!(running.is_err(), "it came to an end");

    wait_for("only the spare is left", || Ok(bench.sandbox.runners().len() == 1))?;
    let spare = bench.sandbox.runners();
    drop(bench);
    let gone = || Ok(spare.iter().all(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()));
    wait_for("the spare leaves with its sandbox", gone)
}

/// I-3: no environment, no folder of ours, no descriptor but its socket.
#[tokio::test]
async fn i3_a_runner_holds_nothing() -> Result<()> {
    let bench = Bench::new()?;
    bench.load(&guests::honest("echo")?).await?;
    wait_for("a spare", || Ok(bench.sandbox.runners().len() == 1))?;
    let process = PathBuf::from(format!("/proc/{}", bench.sandbox.runners()[0]));
    assert_eq!(std::fs::read(process.join("environ"))?, b"");
    assert_eq!(std::fs::read_link(process.join("cwd"))?, PathBuf::from("/"));
    let quiet = || {
        let mut targets = Vec::new();
        for entry in std::fs::read_dir(process.join("fd"))? {
            targets.push(std::fs::read_link(entry?.path())?.display().to_string());
        }
        let foreign = targets.iter().filter(|target| {
            !target.starts_with("socket:")
                && !target.starts_with("/dev/null")
                && !target.starts_with("/proc/")
        });
        let sockets = targets.iter().filter(|target| target.starts_with("socket:")).count();
        Ok(foreign.count() == 0 && sockets <= 2)
    };
    wait_for("descriptors closed", quiet)?;
    Ok(())
}

pub fn wait_for(what: &str, mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !reached()? {
        ensure!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::yield_now();
    }
    Ok(())
}

/// Outputs are hashed after a run has answered: its runner must be no more by then, or one that was
/// taken over could still write to them.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_runner_is_no_more_when_its_run_has_answered() -> Result<()> {
    let bench = Bench::new()?;
    let component = bench.load(&guests::honest("echo")?).await?;
    for turn in 0..20 {
        let (ran, _outputs) = bench.run(&component, &Task::default()).await?;
        ran.with_context(|| format!("turn {turn}"))?;
        // What is left is the one that was started ahead for the next request.
        let alive = bench.sandbox.runners();
        assert!(alive.len() <= 1, "turn {turn}: {alive:?}");
    }
    Ok(())
}
