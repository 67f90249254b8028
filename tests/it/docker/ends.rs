//! How a step ends: what is an answer, and what is a limit.

use std::time::{Duration, Instant};

use anyhow::Result;
use helixmcp::backend::{CaptureError, StepEnded, captured};

use super::lab::{Lab, lines, name, text};

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn an_exit_code_is_told_as_it_is() -> Result<()> {
    let lab = Lab::open().await?;
    for (script, code) in [("exit 3", 3), ("exit 255", 255), ("no-such-program", 127)] {
        let order = lab.order(script)?;
        assert_eq!(lab.run(&order).await?.ended, StepEnded::Exited { code }, "{script}");
        lab.backend.clear(&order.labels).await?;
    }
    let mut order = lab.order("")?;
    order.argv = vec!["no-such-program".to_owned()];
    assert_eq!(lab.run(&order).await?.ended, StepEnded::Exited { code: 127 });
    Ok(())
}

#[tokio::test]
async fn a_signal_is_no_exit_code() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order("kill -9 $$")?;
    assert_eq!(lab.run(&order).await?.ended, StepEnded::Signalled { signal: 9 });
    Ok(())
}

#[tokio::test]
async fn more_memory_than_it_may_have_is_out_of_memory() -> Result<()> {
    let lab = Lab::open().await?;
    // Also where the step itself makes a 0 of it, and where it fills its scratch.
    for script in
        ["dd if=/dev/zero of=/dev/null bs=200M count=1; exit 0", "dd if=/dev/zero of=/tmp/x bs=1M; true"]
    {
        let mut order = lab.order(script)?;
        order.memory_bytes = 32 * MIB;
        order.scratch_bytes = 200 * MIB;
        let done = lab.run(&order).await?;
        assert_eq!(done.ended, StepEnded::OutOfMemory, "{script}: {}", text(&done.stderr));
        lab.backend.clear(&order.labels).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_ignores_its_end_is_killed_at_the_deadline() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order("trap '' TERM; echo up; while true; do sleep 1; done")?;
    order.wall = Duration::from_secs(2);
    let began = Instant::now();
    let done = lab.run(&order).await?;
    assert_eq!((done.ended, text(&done.stdout).as_str()), (StepEnded::TimedOut, "up\n"));
    assert!(
        began.elapsed() >= order.wall && began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
    assert!(done.usage.wall_ms >= 2000, "{:?}", done.usage);
    Ok(())
}

#[tokio::test]
async fn what_ends_well_when_it_is_told_to_has_still_timed_out() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order("trap 'exit 0' TERM; while true; do sleep 0.1; done")?;
    order.wall = Duration::from_secs(1);
    assert_eq!(lab.run(&order).await?.ended, StepEnded::TimedOut);
    Ok(())
}

#[tokio::test]
async fn a_fork_bomb_stays_within_its_processes() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order =
        lab.order("i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); echo $i > /work/out/count; done")?;
    order.pids = 20;
    let done = lab.run(&order).await?;
    assert!(matches!(done.ended, StepEnded::Exited { code } if code != 0), "{done:?}");
    assert!(text(&done.stderr).contains("fork"), "{}", text(&done.stderr));
    let count: u32 = std::fs::read_to_string(done.out.join("count"))?.trim().parse()?;
    assert!((5..20).contains(&count), "{count} processes");
    Ok(())
}

#[tokio::test]
async fn one_file_and_all_files_together_have_a_cap() -> Result<()> {
    let lab = Lab::open().await?;
    // One file: the kernel says no, and what came so far is not taken for the whole.
    let mut order = lab.order("dd if=/dev/zero of=/work/out/one bs=1M count=10000")?;
    order.out_bytes = 8 * MIB;
    let done = lab.run(&order).await?;
    assert!(!matches!(done.ended, StepEnded::Exited { code: 0 }), "{done:?}");
    assert!(captured(&done.out, &name("one")?, 8 * MIB)?.size_bytes <= 8 * MIB);
    assert!(matches!(captured(&done.out, &name("one")?, MIB), Err(CaptureError::TooLarge { .. })));
    lab.backend.clear(&order.labels).await?;

    // Many files: somebody looks. It would go on for a minute.
    let mut order = lab.order(
        "i=0; while [ $i -lt 600 ]; do dd if=/dev/zero of=/work/out/$i bs=1M count=1 2>/dev/null; i=$((i+1));
             sleep 0.1; done",
    )?;
    order.out_bytes = 8 * MIB;
    assert_eq!(lab.run(&order).await?.ended, StepEnded::OutTooLarge);
    lab.backend.clear(&order.labels).await?;

    // Too quick for a look.
    let mut order =
        lab.order("for i in 1 2 3 4; do dd if=/dev/zero of=/work/out/$i bs=1M count=3; done; exit 0")?;
    order.out_bytes = 8 * MIB;
    assert_eq!(lab.run(&order).await?.ended, StepEnded::OutTooLarge);
    Ok(())
}

#[tokio::test]
async fn scratch_has_a_cap() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order("dd if=/dev/zero of=/tmp/x bs=1M count=1000; wc -c < /tmp/x")?;
    let done = lab.run(&order).await?;
    assert_eq!((done.ended, text(&done.stdout).as_str()), (StepEnded::Exited { code: 0 }, "4194304\n"));
    assert!(text(&done.stderr).contains("No space left"), "{}", text(&done.stderr));
    Ok(())
}

#[tokio::test]
async fn of_long_output_the_end_is_kept() -> Result<()> {
    let lab = Lab::open().await?;
    let mut order = lab.order("seq 1 400000; echo the end; echo short >&2")?;
    order.stdout_bytes = MIB;
    let done = lab.run(&order).await?;
    assert_eq!(done.ended, StepEnded::Exited { code: 0 });
    assert!(done.cut);
    assert!(done.stdout.len() as u64 <= MIB);
    assert!(text(&done.stdout).ends_with("399999\n400000\nthe end\n"), "{} bytes", done.stdout.len());
    assert_eq!(text(&done.stderr), "short\n");
    Ok(())
}

#[tokio::test]
async fn a_step_that_is_killed_is_told_so() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order("trap 'exit 0' TERM; echo up > /work/out/up; while true; do sleep 0.1; done")?;
    let id = lab.backend.submit(&order).await?;
    let waiting = lab.backend.wait(&order, &id);
    let killing = async {
        let up = lab.folders()?.first().map(|run| run.join("1/0-script/1/out/up")).unwrap_or_default();
        lines(&up, 1).await?;
        anyhow::Ok(lab.backend.kill(&order.labels).await?)
    };
    let (done, killed) = tokio::join!(waiting, killing);
    killed?;
    assert_eq!(done?.ended, StepEnded::Killed);
    // Whoever asks later hears the same.
    assert_eq!(lab.again().await?.wait(&order, &id).await?.ended, StepEnded::Killed);
    // To kill what is not there is nothing.
    lab.backend.clear(&order.labels).await?;
    lab.backend.kill(&order.labels).await?;
    assert!(lab.is_clear().await?);
    Ok(())
}

#[tokio::test]
async fn what_a_step_used_is_counted() -> Result<()> {
    let lab = Lab::open().await?;
    let order = lab.order("i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done; sleep 2")?;
    let done = lab.run(&order).await?;
    assert_eq!(done.ended, StepEnded::Exited { code: 0 });
    let usage = done.usage;
    assert!(usage.wall_ms >= 2000 && usage.cpu_ms >= 100 && usage.peak_memory_bytes > 0, "{usage:?}");
    Ok(())
}
