//! One run under way: who waits for it, how far it is, and who may stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use helix_ids::{Digest, ProjectId, RunId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::End;
use crate::ledger::{AttemptId, NewRun};

/// An attempt that nobody was told the id of is cancelled with its last waiter while it is
/// younger than this. Clients give up after about a minute, and what has cost more than that is
/// worth carrying to its end.
const CANCEL_WITH_LAST_WAITER: Duration = Duration::from_secs(60);

/// A run that takes longer than this is written to the ledger while it goes on.
const WRITE_AFTER: Duration = Duration::from_secs(1);

/// In place of the number of waiters: the last one left and the run stops for that, so that
/// nobody can join it any more.
const GIVEN_UP: u32 = u32::MAX;

/// One run under way.
#[derive(Debug)]
pub struct Flight {
    pub run: RunId,
    pub project: ProjectId,
    pub component: Digest,
    pub caller: String,
    /// Over which it came; 0 when over none.
    pub connection: u64,
    began: Instant,
    shared: watch::Sender<Shared>,
    waiters: AtomicU32,
    cancel: CancellationToken,
}

#[derive(Clone, Debug, Default)]
struct Shared {
    running: bool,
    /// For a step.
    waiting: bool,
    progress: Option<Progress>,
    /// Somebody was told the run's id, so it must be found in the ledger, whatever happens.
    acknowledged: bool,
    written: Option<AttemptId>,
    cancelled_by: Option<String>,
    end: Option<Arc<End>>,
}

impl Shared {
    fn snapshot(&self) -> Snapshot {
        let Self { running, waiting, progress, .. } = self;
        Snapshot { running: *running, waiting: *waiting, progress: progress.clone() }
    }
}

/// How far a run is, in units of the toolpack's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    pub total: Option<u64>,
    pub text: String,
}

/// A run as it is at this moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub running: bool,
    /// It runs, and its guest waits for a step.
    pub waiting: bool,
    pub progress: Option<Progress>,
}

/// What came of waiting.
#[derive(Debug)]
pub enum Waited {
    Ended(Arc<End>),
    /// The time was over; the run goes on and stands in the ledger.
    GoesOn(Snapshot),
    /// The caller went away first.
    Left,
}

impl Flight {
    pub(super) fn new(run: &NewRun, caller: String, connection: u64, resumed: Option<AttemptId>) -> Self {
        let shared = Shared { acknowledged: resumed.is_some(), written: resumed, ..Shared::default() };
        Self {
            run: run.id,
            project: run.project,
            component: run.component,
            caller,
            connection,
            began: Instant::now(),
            shared: watch::Sender::new(shared),
            waiters: AtomicU32::new(0),
            cancel: CancellationToken::new(),
        }
    }

    /// Counts as one who waits, for as long as the guard lives; `None` once the run was given up.
    pub fn join(self: &Arc<Self>) -> Option<Waiter> {
        let waiter = Waiter::new(Arc::clone(self));
        waiter.counted.then_some(waiter)
    }

    /// Until it has ended and is off the books.
    pub async fn ended(&self) {
        // The sender lives as long as the flight, so this cannot fail.
        let _ended = self.shared.subscribe().wait_for(|shared| shared.end.is_some()).await.is_ok();
    }

    /// Waits for the end, at most `limit`, while the caller is there.
    pub async fn wait(
        self: &Arc<Self>,
        limit: Duration,
        gone: &CancellationToken,
        progress: Option<&mpsc::Sender<Progress>>,
    ) -> Waited {
        let waiter = Waiter::new(Arc::clone(self));
        let deadline = sleep_until(Instant::now() + limit);
        tokio::pin!(deadline);
        let mut shared = self.shared.subscribe();
        let mut told = None;
        // Not asked of the timer: it may be over before anybody has looked, and what is due then
        // would never be done.
        let mut is_over = false;
        loop {
            {
                let now = shared.borrow_and_update();
                if let Some(end) = &now.end {
                    waiter.content();
                    return Waited::Ended(Arc::clone(end));
                }
                if now.acknowledged && now.written.is_some() && is_over {
                    waiter.content();
                    return Waited::GoesOn(now.snapshot());
                }
                if now.progress != told {
                    told.clone_from(&now.progress);
                    if let (Some(sender), Some(news)) = (progress, told.clone()) {
                        // A slow client misses news; it never holds the run up.
                        let _full_or_closed = sender.try_send(news).is_err();
                    }
                }
            }
            tokio::select! {
                changed = shared.changed() => if changed.is_err() { return Waited::Left },
                () = &mut deadline, if !is_over => {
                    is_over = true;
                    self.acknowledge();
                }
                () = gone.cancelled() => return Waited::Left,
            }
        }
    }

    /// Promises that the run is found in the ledger from now on.
    fn acknowledge(&self) {
        self.shared.send_modify(|shared| shared.acknowledged = true);
    }

    /// The run as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.borrow().snapshot()
    }

    /// Asks the run to stop, for all waiters.
    pub fn cancel(&self, by: &str) {
        self.shared.send_modify(|shared| {
            shared.cancelled_by.get_or_insert_with(|| by.to_owned());
        });
        self.cancel.cancel();
    }

    /// Who asked it to stop.
    pub(super) fn cancelled_by(&self) -> String {
        self.shared.borrow().cancelled_by.clone().unwrap_or_else(|| "the host".to_owned())
    }

    #[cfg(test)]
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Until somebody asks it to stop.
    pub(super) async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Until the run should be written to the ledger: it takes long, or its id was told.
    pub(super) async fn write_due(&self) {
        let mut shared = self.shared.subscribe();
        tokio::select! {
            () = sleep_until(self.began + WRITE_AFTER) => {}
            _acknowledged = shared.wait_for(|shared| shared.acknowledged) => {}
        }
    }

    pub(super) fn written(&self, attempt: AttemptId) {
        self.shared.send_modify(|shared| shared.written = Some(attempt));
    }

    /// This run's attempt, written to the ledger if it was not: something is about to happen on its
    /// behalf.
    pub(super) async fn attempt(&self) -> AttemptId {
        self.acknowledge();
        let mut shared = self.shared.subscribe();
        loop {
            if let Some(attempt) = shared.borrow_and_update().written {
                return attempt;
            }
            if shared.changed().await.is_err() {
                // The sender lives as long as the flight, so this does not happen.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether its guest waits for a step.
    pub(super) fn waits(&self, waiting: bool) {
        self.shared.send_modify(|shared| shared.waiting = waiting);
    }

    pub(super) fn running(&self) {
        self.shared.send_modify(|shared| shared.running = true);
    }

    /// Progress never goes back, and a total never falls below what is done.
    pub(super) fn progress(&self, done: u64, total: Option<u64>, text: String) {
        self.shared.send_modify(|shared| {
            let before = shared.progress.as_ref().map_or(0, |progress| progress.done);
            let done = done.max(before);
            shared.progress = Some(Progress { done, total: total.map(|total| total.max(done)), text });
        });
    }

    /// Tells every waiter; the first end counts.
    pub(super) fn end(&self, end: End) {
        self.shared.send_if_modified(|shared| {
            let first = shared.end.is_none();
            if first {
                shared.end = Some(Arc::new(end));
            }
            first
        });
    }

    /// In one step, so that nobody joins a run between its last waiter and its cancellation.
    fn waiter_left(&self, content: bool) {
        let young = self.began.elapsed() < CANCEL_WITH_LAST_WAITER;
        let gives_up = !content && young && !self.shared.borrow().acknowledged;
        let before = self.waiters.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiters| match waiters {
            0 | GIVEN_UP => None,
            1 if gives_up => Some(GIVEN_UP),
            more => Some(more - 1),
        });
        if gives_up && before == Ok(1) {
            self.cancel("the last caller who waited for it went away");
        }
    }
}

/// Counts one waiter; dropped without an answer, it has left.
#[derive(Debug)]
pub struct Waiter {
    flight: Arc<Flight>,
    content: bool,
    /// Not so for one who only looks how a run ends that was given up.
    counted: bool,
}

impl Waiter {
    fn new(flight: Arc<Flight>) -> Self {
        let one_more = |waiters| (waiters != GIVEN_UP).then(|| waiters + 1);
        let counted = flight.waiters.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).is_ok();
        Self { flight, content: false, counted }
    }

    fn content(mut self) {
        self.content = true;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.counted {
            self.flight.waiter_left(self.content);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::super::tests::flight;
    use super::*;

    /// Which of two things that are there at once is taken first is left to chance, so this is
    /// tried until both orders have been.
    #[tokio::test]
    async fn who_waited_long_enough_is_answered_whatever_happens_at_that_moment() {
        let mut context = Context::from_waker(Waker::noop());
        let (limit, gone) = (Duration::from_millis(1), CancellationToken::new());
        for number in 0..64 {
            let flight = flight(&Digest::of(b"component"), number);
            let mut waiting = pin!(flight.wait(limit, &gone, None));
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            // The clock fires what is due first, so by then the shorter time is over as well.
            tokio::time::sleep(limit * 2).await;
            flight.running();
            assert!(waiting.as_mut().poll(&mut context).is_pending(), "it is not written yet");
            assert!(flight.shared.borrow().acknowledged, "nobody was told to write it: {number}");
            flight.written(AttemptId { run: flight.run, ordinal: 1 });
            let waited = waiting.as_mut().poll(&mut context);
            assert!(matches!(waited, Poll::Ready(Waited::GoesOn(now)) if now.running));
        }
    }
}
