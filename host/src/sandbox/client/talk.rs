//! What is said with a runner while it works, and how much of it is heard.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use helix_ids::OutputKey;
use serde::Serialize;

use super::answer::known;
use super::clock::Clock;
use super::session::{Lost, Session};
use super::{Answering, RunEvents};
use crate::sandbox::protocol::{
    Ask, Created, Done, Event, GuestLimits, LINE_BYTES_MAX, LOG_LEVELS, LOG_LINE_BYTES, Reply, Request,
    asks_max,
};

/// What was answered, once nobody writes to the outputs of a run any more.
pub(super) async fn ended(done: Done, session: Session) -> Result<Done, Lost> {
    if matches!(done, Done::Ran(_)) {
        session.end().await?;
    }
    Ok(done)
}

pub(super) async fn talk(
    session: &mut Session,
    request: &Request,
    files: &[BorrowedFd<'_>],
    clock: &mut Clock,
    events: &mut dyn RunEvents,
) -> Result<Done, Lost> {
    let first = clock.within(begin(session, request, files)).await?;
    listen(session, first, MostSaid::of(request), clock, events).await
}

/// Sends a request, and gives the first that is said to it.
pub(super) async fn begin<T: Serialize>(
    session: &mut Session,
    request: &T,
    files: &[BorrowedFd<'_>],
) -> Result<Event, Lost> {
    session.send(request, files).await?;
    session.next().await
}

pub(super) async fn listen(
    session: &mut Session,
    first: Event,
    mut most: MostSaid<'_>,
    clock: &mut Clock,
    events: &mut dyn RunEvents,
) -> Result<Done, Lost> {
    let mut event = first;
    loop {
        match event {
            Event::Log { level, text } => {
                let level = most.log(&level, &text)?;
                events.log(level, &text);
            }
            Event::Progress { done, total, text } => {
                most.progress(&text)?;
                events.progress(done, total, &text);
            }
            Event::Create { role, key } => {
                most.output(&role, &key)?;
                let file = events.create_output(&role, &key).map_err(Lost::Output)?;
                clock.within(session.send(&Created {}, &[file.as_fd()])).await?;
            }
            Event::Ask(ask) => {
                most.ask(&ask)?;
                let (reply, file) = clock.without(answer(session, ask, events)).await?;
                let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
                clock.within(session.send(&reply, &files)).await?;
            }
            Event::Done(done) => return Ok(*done),
            Event::Hello { .. } => return Err(Lost::OutOfTurn),
        }
        event = clock.within(session.next()).await?;
    }
}

/// The host's answer to an ask.
async fn answer(
    session: &mut Session,
    ask: Ask,
    events: &mut dyn RunEvents,
) -> Result<(Reply, Option<File>), Lost> {
    tokio::select! {
        biased;
        answer = events.ask(ask) => answer.map_err(Lost::Asked),
        // Who waits says nothing: it is gone, or it is not our runner any more.
        said = session.next() => Err(said.err().unwrap_or(Lost::OutOfTurn)),
    }
}

/// What a runner may still bring. It counts for itself; this holds for one that its guest has
/// taken over (invariant I-9).
pub(super) struct MostSaid<'a> {
    log_bytes: u64,
    outputs: u64,
    roles: &'a [String],
    asks: u64,
    /// Steps that may still be started.
    steps: u64,
    started: u32,
}

impl<'a> MostSaid<'a> {
    pub fn of(request: &'a Request) -> Self {
        match request {
            Request::Run { limits, roles, .. } => Self::of_run(limits, roles),
            Request::Describe { limits } | Request::Plan { limits, .. } => {
                Self { log_bytes: limits.log_bytes, ..Self::nothing() }
            }
            Request::Inspect { .. }
            | Request::Compile { .. }
            | Request::Check { .. }
            | Request::Head { .. }
            | Request::Probe { .. } => Self::nothing(),
        }
    }

    pub fn of_run(limits: &GuestLimits, roles: &'a [String]) -> Self {
        let asks = asks_max(limits.steps);
        let steps = limits.steps.saturating_add(1);
        Self { log_bytes: limits.log_bytes, outputs: limits.outputs, roles, asks, steps, started: 0 }
    }

    fn nothing() -> Self {
        Self { log_bytes: 0, outputs: 0, roles: &[], asks: 0, steps: 0, started: 0 }
    }

    /// Counts a line as the runner counts it, and gives the level in our own words.
    fn log(&mut self, level: &str, text: &str) -> Result<&'static str, Lost> {
        let cost = LOG_LINE_BYTES.saturating_add(text.len() as u64);
        self.log_bytes = self.log_bytes.checked_sub(cost).ok_or(Lost::OutOfTurn)?;
        known(&LOG_LEVELS, level).ok_or(Lost::OutOfTurn)
    }

    /// A runner has cut it already.
    fn progress(&self, text: &str) -> Result<(), Lost> {
        if text.len() > LINE_BYTES_MAX { Err(Lost::OutOfTurn) } else { Ok(()) }
    }

    /// A name is kept until the run's end, so it is one of those that may be.
    fn output(&mut self, role: &str, key: &str) -> Result<(), Lost> {
        self.outputs = self.outputs.checked_sub(1).ok_or(Lost::OutOfTurn)?;
        let known = self.roles.iter().any(|known| known == role) && key.parse::<OutputKey>().is_ok();
        if known { Ok(()) } else { Err(Lost::OutOfTurn) }
    }
}

impl MostSaid<'_> {
    /// An ask is within the interface's caps, speaks of steps that were started, and is one of so many.
    fn ask(&mut self, ask: &Ask) -> Result<(), Lost> {
        self.asks = self.asks.checked_sub(1).ok_or(Lost::OutOfTurn)?;
        ask.fits(self.started).map_err(|_why| Lost::OutOfTurn)?;
        match ask {
            Ask::Start { .. } => {
                self.steps = self.steps.checked_sub(1).ok_or(Lost::OutOfTurn)?;
                self.started = self.started.checked_add(1).ok_or(Lost::OutOfTurn)?;
                Ok(())
            }
            Ask::Publish { role, key, .. } => self.output(role, key),
            Ask::Wait { .. } | Ask::Open { .. } => Ok(()),
        }
    }
}

/// For requests whose guest may say nothing but its answer.
pub(super) struct Nothing;

impl RunEvents for Nothing {
    fn create_output(&mut self, _role: &str, _key: &str) -> std::io::Result<File> {
        Err(std::io::Error::other("no outputs are made here"))
    }

    fn log(&mut self, _level: &str, _text: &str) {}

    fn progress(&mut self, _done: u64, _total: Option<u64>, _text: &str) {}

    fn ask(&mut self, _ask: Ask) -> Answering<'_> {
        Box::pin(std::future::ready(Err(std::io::Error::other("nothing is asked for here"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::raw;

    #[test]
    fn i9_a_runner_that_was_taken_over_cannot_fill_the_log() {
        let roles = ["table".to_owned()];
        let mut most =
            MostSaid { log_bytes: 3 * LOG_LINE_BYTES + 4, outputs: 3, roles: &roles, ..MostSaid::nothing() };
        assert_eq!(most.log("info", "four").unwrap(), "info");
        // Lines without text have an end as well, and a level is no place for text.
        assert!(most.log("info", "").is_ok());
        assert!(most.log("\u{1b}[2J", "").is_err());
        assert!(most.log("info", "").is_err());
        assert!(most.progress("half").is_ok());
        assert!(most.progress(&"x".repeat(LINE_BYTES_MAX + 1)).is_err());
        assert!(most.output("other", "a").is_err());
        assert!(most.output("table", &"x".repeat(1 << 20)).is_err());
        assert!(most.output("table", "a").is_ok());
        assert!(most.output("table", "b").is_err());
    }
    #[test]
    fn i9_a_runner_that_was_taken_over_cannot_ask_without_end() {
        let roles = ["table".to_owned()];
        let step = raw::Step {
            name: "align".to_owned(),
            argv: Vec::new(),
            environment: Vec::new(),
            mounts: Vec::new(),
            captures: Vec::new(),
            cpus: 1,
            memory_bytes: 1,
            seconds: 1,
        };
        let start = || Ask::Start { step: step.clone() };
        let wait = |step| Ask::Wait { steps: vec![step] };
        let publish = |role: &str, key: &str| Ask::Publish {
            role: role.to_owned(),
            key: key.to_owned(),
            step: 0,
            capture: "a.bam".to_owned(),
        };
        let mut most = MostSaid { asks: 8, outputs: 2, roles: &roles, steps: 2, ..MostSaid::nothing() };
        // No step before it was started.
        assert!(most.ask(&wait(0)).is_err());
        assert!(most.ask(&start()).is_ok());
        assert!(most.ask(&wait(0)).is_ok());
        assert!(most.ask(&publish("table", "a")).is_ok());
        assert!(most.ask(&publish("other", "a")).is_err());
        assert!(most.ask(&start()).is_ok());
        assert!(most.ask(&start()).is_err());
        assert!(most.ask(&wait(1)).is_ok());
        assert!(most.ask(&wait(1)).is_err());

        // And none where only metadata is looked at.
        assert!(MostSaid::nothing().ask(&start()).is_err());
    }
}
