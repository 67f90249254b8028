//! What is said with a runner while it works, and how much of it is heard.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use helix_ids::OutputKey;

use super::RunEvents;
use super::answer::known;
use super::session::{Lost, Session};
use crate::sandbox::protocol::{Created, Done, Event, LINE_BYTES_MAX, LOG_LEVELS, LOG_LINE_BYTES, Request};

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
    events: &mut dyn RunEvents,
) -> Result<Done, Lost> {
    session.send(request, files).await?;
    let first = session.next().await?;
    listen(session, first, MostSaid::of(request), events).await
}

pub(super) async fn listen(
    session: &mut Session,
    first: Event,
    mut most: MostSaid<'_>,
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
                session.send(&Created {}, &[file.as_fd()]).await?;
            }
            Event::Done(done) => return Ok(*done),
            Event::Hello { .. } => return Err(Lost::OutOfTurn),
        }
        event = session.next().await?;
    }
}

/// What a runner may still bring. It counts for itself; this holds for one that its guest has
/// taken over (invariant I-9).
pub(super) struct MostSaid<'a> {
    pub log_bytes: u64,
    pub outputs: u64,
    pub roles: &'a [String],
}

impl<'a> MostSaid<'a> {
    pub fn of(request: &'a Request) -> Self {
        match request {
            Request::Run { limits, roles, .. } => {
                Self { log_bytes: limits.log_bytes, outputs: limits.outputs, roles }
            }
            Request::Describe { limits } | Request::Plan { limits, .. } => {
                Self { log_bytes: limits.log_bytes, outputs: 0, roles: &[] }
            }
            Request::Inspect { .. }
            | Request::Compile { .. }
            | Request::Check { .. }
            | Request::Head { .. }
            | Request::Probe { .. } => Self { log_bytes: 0, outputs: 0, roles: &[] },
        }
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

/// For requests whose guest may say nothing but its answer.
pub(super) struct Nothing;

impl RunEvents for Nothing {
    fn create_output(&mut self, _role: &str, _key: &str) -> std::io::Result<File> {
        Err(std::io::Error::other("no outputs are made here"))
    }

    fn log(&mut self, _level: &str, _text: &str) {}

    fn progress(&mut self, _done: u64, _total: Option<u64>, _text: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_a_runner_that_was_taken_over_cannot_fill_the_log() {
        let roles = ["table".to_owned()];
        let mut most = MostSaid { log_bytes: 3 * LOG_LINE_BYTES + 4, outputs: 3, roles: &roles };
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
}
