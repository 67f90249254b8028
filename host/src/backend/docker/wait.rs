//! From a container that runs to what came of it.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerState, ContainerStatsResponse};
use bollard::query_parameters::{EventsOptionsBuilder, StatsOptionsBuilder, WaitContainerOptionsBuilder};
use futures_util::StreamExt;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::error::io;
use super::super::folder::{Size, StepFolder, size_of};
use super::super::{BackendError, Finished, FoundState, Order, StepEnded, StepUsage};
use super::{Docker, logs, state_of, time};

/// How often a container is looked at while it runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A look at what a step has written takes at most one part in so many of the time.
const LOOK_SHARE: u32 = 20;

/// Before the engine is asked again, when it said that a container had ended which still runs.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Exit codes from here on are how the first process, as a shell, tells of a signal.
const SIGNALLED: i64 = 128;

/// Linux has no signal beyond.
const SIGNAL_MAX: i64 = 64;

/// What an engine says of a container that ran when its machine went down: also an exit code that
/// programs use.
const UNKNOWN: i32 = 255;

/// Why we made it end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Deadline,
    OutTooLarge,
}

/// Follows a container to its end.
pub(super) async fn wait(docker: &Docker, order: &Order, id: &str) -> Result<Finished, BackendError> {
    let step = docker.steps.of(order);
    let mut usage = StepUsage::default();
    let mut seen = docker.inspect(id).await?;
    let deadline = deadline(docker, order, seen.state.as_ref()).await?;
    let mut stopped = None;
    loop {
        match state_of(seen.state.as_ref()) {
            FoundState::Ended => break,
            FoundState::Created => {
                return Err(BackendError::refused("backend_refused", "the container was never started"));
            }
            FoundState::Running => {}
        }
        let why = follow(docker, order, id, &step, deadline, &mut usage).await;
        stopped = stopped.or(why);
        if why.is_some() {
            docker.stop(id).await?;
        }
        seen = docker.inspect(id).await?;
        if state_of(seen.state.as_ref()) == FoundState::Running {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
    // The last writes may have come after the last look.
    if stopped.is_none() && is_too_large(&step, order).await? {
        stopped = Some(Stopped::OutTooLarge);
    }
    let state = seen.state.clone().unwrap_or_default();
    usage.wall_ms = wall_ms(&state);
    let ended = ended_as(&state, stopped, usage.wall_ms, order.wall, step.was_killed());
    if ended == (StepEnded::Exited { code: UNKNOWN }) && !has_died(docker, id).await? {
        return Err(BackendError::Lost { id: id.to_owned() });
    }
    let said = logs::read(&docker.engine, id, order.stdout_bytes).await?;
    Ok(Finished { ended, stdout: said.stdout, stderr: said.stderr, cut: said.cut, out: step.out(), usage })
}

/// Until the engine says that it has ended, in whatever words: the container itself is asked after.
async fn follow(
    docker: &Docker,
    order: &Order,
    id: &str,
    step: &StepFolder,
    deadline: Instant,
    usage: &mut StepUsage,
) -> Option<Stopped> {
    let options = WaitContainerOptionsBuilder::default().condition("not-running").build();
    let mut ended = Box::pin(docker.engine.client.wait_container(id, Some(options)));
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_size = Instant::now();
    loop {
        tokio::select! {
            _said = ended.next() => return None,
            () = tokio::time::sleep_until(deadline) => return Some(Stopped::Deadline),
            _ = looks.tick() => {
                note_usage(docker, id, usage).await;
                if Instant::now() < next_size {
                    continue;
                }
                let began = Instant::now();
                match is_too_large(step, order).await {
                    Ok(true) => return Some(Stopped::OutTooLarge),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, id, "what a step writes is not seen"),
                }
                next_size = Instant::now() + began.elapsed() * LOOK_SHARE;
            }
        }
    }
}

/// What remains of the step's time, by the engine's own clock: it knows when the container started,
/// which may have been under another host.
async fn deadline(
    docker: &Docker,
    order: &Order,
    state: Option<&ContainerState>,
) -> Result<Instant, BackendError> {
    let asked = Instant::now();
    let info = docker.engine.call(docker.engine.client.info()).await?;
    let now = info.system_time.as_deref().and_then(time::parse_ms);
    let started = state.and_then(|state| state.started_at.as_deref()).and_then(time::parse_ms);
    let ran_ms = now.zip(started).map_or(0, |(now, started)| u64::try_from(now - started).unwrap_or(0));
    Ok(asked + order.wall.saturating_sub(Duration::from_millis(ran_ms)))
}

/// The order in which reasons count: what was wanted, then limits, and an exit code only when nothing
/// else happened. A limit that was passed is never an exit code, 0 least of all.
fn ended_as(
    state: &ContainerState,
    stopped: Option<Stopped>,
    wall_ms: u64,
    wall: Duration,
    was_killed: bool,
) -> StepEnded {
    let code = state.exit_code.unwrap_or(-1);
    if was_killed {
        return StepEnded::Killed;
    }
    if state.oom_killed == Some(true) {
        return StepEnded::OutOfMemory;
    }
    match stopped {
        Some(Stopped::OutTooLarge) => return StepEnded::OutTooLarge,
        Some(Stopped::Deadline) => return StepEnded::TimedOut,
        None => {}
    }
    // A host that ended while it stopped the container left no other word than the times.
    if u128::from(wall_ms) >= wall.as_millis() {
        return StepEnded::TimedOut;
    }
    let signal = code - SIGNALLED;
    if (1..=SIGNAL_MAX).contains(&signal) {
        return StepEnded::Signalled { signal: i32::try_from(signal).unwrap_or(0) };
    }
    StepEnded::Exited { code: i32::try_from(code).unwrap_or(-1) }
}

fn wall_ms(state: &ContainerState) -> u64 {
    let at = |text: &Option<String>| text.as_deref().and_then(time::parse_ms);
    let ran = at(&state.finished_at).zip(at(&state.started_at)).map(|(end, start)| end - start);
    ran.and_then(|ran| u64::try_from(ran).ok()).unwrap_or(0)
}

/// Whether the engine saw it end. It forgets that when it starts anew, and after some hundred other
/// events; then nobody knows, and the step is tried again rather than failed for ever.
async fn has_died(docker: &Docker, id: &str) -> Result<bool, BackendError> {
    let info = docker.engine.call(docker.engine.client.info()).await?;
    let now_ms = info.system_time.as_deref().and_then(time::parse_ms).unwrap_or(0) + 1;
    let filters = HashMap::from([("container", vec![id.to_owned()]), ("event", vec!["die".to_owned()])]);
    let until = format!("{}.{:03}000000", now_ms / 1000, now_ms % 1000);
    let options = EventsOptionsBuilder::default().since("0").until(&until).filters(&filters).build();
    let mut events = Box::pin(docker.engine.client.events(Some(options)));
    match events.next().await {
        None => Ok(false),
        Some(Ok(_event)) => Ok(true),
        Some(Err(error)) => Err(docker.engine.said(error)),
    }
}

async fn is_too_large(step: &StepFolder, order: &Order) -> Result<bool, BackendError> {
    let out = step.out();
    let looked = tokio::task::spawn_blocking(move || size_of(&out)).await;
    let size = looked.map_err(|error| io("look at `out`")(std::io::Error::other(error)))?;
    Ok(match size.map_err(io("look at `out`"))? {
        Size::Bytes(bytes) => bytes > order.out_bytes,
        Size::Beyond => true,
    })
}

/// What the engine counted so far. That it does not say is no reason to do anything.
async fn note_usage(docker: &Docker, id: &str, usage: &mut StepUsage) {
    let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
    let mut stats = Box::pin(docker.engine.client.stats(id, Some(options)));
    let Ok(Some(Ok(stats))) = tokio::time::timeout(LOOK_EVERY * 5, stats.next()).await else { return };
    let (cpu_ms, memory_bytes) = used(&stats);
    usage.cpu_ms = usage.cpu_ms.max(cpu_ms);
    usage.peak_memory_bytes = usage.peak_memory_bytes.max(memory_bytes);
}

fn used(stats: &ContainerStatsResponse) -> (u64, u64) {
    let cpu = stats.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()).and_then(|cpu| cpu.total_usage);
    let memory = stats.memory_stats.as_ref();
    let peak = memory.and_then(|memory| memory.max_usage.or(memory.usage));
    (cpu.unwrap_or(0) / 1_000_000, peak.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_an_exit_code() {
        let state = |code, oom| ContainerState {
            exit_code: Some(code),
            oom_killed: Some(oom),
            ..ContainerState::default()
        };
        let check = |state: &ContainerState, stopped, wall_ms, killed, expected| {
            let ended = ended_as(state, stopped, wall_ms, Duration::from_secs(1), killed);
            assert_eq!(ended, expected, "{state:?} {stopped:?} {wall_ms} {killed}");
        };
        check(&state(0, false), None, 999, false, StepEnded::Exited { code: 0 });
        check(&state(3, false), None, 0, false, StepEnded::Exited { code: 3 });
        check(&state(255, false), None, 0, false, StepEnded::Exited { code: 255 });
        check(&state(128, false), None, 0, false, StepEnded::Exited { code: 128 });
        check(&state(137, false), None, 0, false, StepEnded::Signalled { signal: 9 });
        check(&state(139, false), None, 0, false, StepEnded::Signalled { signal: 11 });
        check(&state(0, true), None, 0, false, StepEnded::OutOfMemory);
        check(&state(0, false), None, 1000, false, StepEnded::TimedOut);
        check(&state(0, false), Some(Stopped::Deadline), 0, false, StepEnded::TimedOut);
        check(&state(0, false), Some(Stopped::OutTooLarge), 5000, false, StepEnded::OutTooLarge);
        check(&state(0, true), Some(Stopped::Deadline), 5000, true, StepEnded::Killed);
        check(&ContainerState::default(), None, 0, false, StepEnded::Exited { code: -1 });
    }
}
