//! The imports that are under way: many callers, one copy.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use helix_ids::Digest;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{ArtifactImportResult, ImportStatus};
use crate::call::{CallError, Caller, Context, Progress};
use crate::query::ArtifactSummary;
use crate::run::Turns;

/// Most imports that are under way or wait for their turn; a connection that has less than its
/// even part of them is let in although others have taken all.
const OPEN_MAX: usize = 64;

/// Most that go on without anybody who waits: who has left, or reconnects, asks for no more turns.
const LEFT_MAX: usize = 32;

/// Most that copy at once: they share one disk.
const COPYING_MAX: usize = 4;

/// What nobody waits for stops while it is younger than this, as a run does: what has cost more is
/// worth carrying to its end.
const STOP_WITH_LAST_WAITER: Duration = Duration::from_secs(60);

/// When it is worth asking again.
const RETRY_MS: u64 = 5_000;

type Open = Arc<Mutex<HashMap<Digest, Entry>>>;

/// The imports of one host.
pub struct Imports {
    open: Open,
    copying: Turns,
}

/// One import under way.
#[derive(Debug)]
struct Entry {
    flight: watch::Receiver<Flight>,
    /// Over which it came.
    connection: u64,
    began: Instant,
    waiters: usize,
    /// Somebody was told that it goes on.
    is_promised: bool,
    stop: CancellationToken,
}

/// Where an import stands.
#[derive(Clone, Debug)]
pub(super) enum Flight {
    Going { done: Vec<ArtifactSummary>, progress: Option<Progress> },
    Ended(Result<Vec<ArtifactSummary>, Arc<CallError>>),
}

/// One who waits for an import; the last one who leaves it stops it, unless it was promised.
#[derive(Debug)]
pub(super) struct Waiter {
    open: Open,
    key: Digest,
    flight: watch::Receiver<Flight>,
    stop: CancellationToken,
}

impl Waiter {
    /// Told that it goes on, a caller need not wait for it; false where so many do already.
    fn promise(&self) -> bool {
        let mut open = lock(&self.open);
        let left = open.values().filter(|entry| entry.is_promised || entry.waiters == 0).count();
        match open.get_mut(&self.key).filter(|entry| entry.flight.same_channel(&self.flight)) {
            Some(entry) if entry.is_promised || left < LEFT_MAX => {
                entry.is_promised = true;
                true
            }
            Some(_) => false,
            // It has ended this very moment.
            None => true,
        }
    }

    /// The entry of the import that is waited for, if it is under way.
    fn entry(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = lock(&self.open).get_mut(&self.key)
            && entry.flight.same_channel(&self.flight)
        {
            change(entry);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.entry(|entry| {
            entry.waiters = entry.waiters.saturating_sub(1);
            let young = entry.began.elapsed() < STOP_WITH_LAST_WAITER;
            if entry.waiters == 0 && young && !entry.is_promised {
                self.stop.cancel();
            }
        });
    }
}

/// What an import answers that was given up. Nobody waits for it.
pub(super) fn stopped() -> CallError {
    CallError::Failed {
        run: None,
        class: "cancelled".to_owned(),
        code: "request_cancelled".to_owned(),
        message: "nobody waited for the import any more".to_owned(),
        advice: "the same call starts it again".to_owned(),
    }
}

impl Default for Imports {
    fn default() -> Self {
        Self { open: Open::default(), copying: Turns::new(COPYING_MAX) }
    }
}

impl fmt::Debug for Imports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imports").field("open", &lock(&self.open).len()).finish()
    }
}

impl Flight {
    fn start() -> Self {
        Self::Going { done: Vec::new(), progress: None }
    }

    pub(super) fn arrived(&mut self, artifacts: Vec<ArtifactSummary>) {
        if let Self::Going { done, .. } = self {
            *done = artifacts;
        }
    }

    pub(super) fn moved(&mut self, name: &str, bytes: u64, total: u64) {
        if let Self::Going { progress, .. } = self {
            *progress = Some(Progress { done: bytes, total: Some(total), text: format!("importing {name}") });
        }
    }
}

impl Imports {
    /// Nothing is under way: the host may leave.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        lock(&self.open).is_empty()
    }

    /// Takes part in the import with this key, or starts it on a task of its own. `stop` is
    /// cancelled when nobody wants the one that is started.
    ///
    /// # Errors
    /// `imports_full`.
    pub(super) fn join_or_start<W, F>(
        &self,
        key: Digest,
        caller: &Caller,
        stop: CancellationToken,
        work: W,
    ) -> Result<Waiter, CallError>
    where
        W: FnOnce(Arc<watch::Sender<Flight>>) -> F,
        F: Future<Output = Result<Vec<ArtifactSummary>, CallError>> + Send + 'static,
    {
        let mut open = lock(&self.open);
        let waiter = |flight, stop| Waiter { open: Arc::clone(&self.open), key, flight, stop };
        // One that was given up is on its way out, and is made anew beside it.
        if let Some(entry) = open.get_mut(&key).filter(|entry| !entry.stop.is_cancelled()) {
            entry.waiters += 1;
            return Ok(waiter(entry.flight.clone(), entry.stop.clone()));
        }
        if !has_room(&open, caller.connection) {
            return Err(full(format!("{OPEN_MAX} imports are under way")));
        }
        let (report, flight) = watch::channel(Flight::start());
        let connection = caller.connection;
        let (given_up, began) = (stop.clone(), Instant::now());
        let entry = Entry { flight: flight.clone(), connection, began, waiters: 1, is_promised: false, stop };
        open.insert(key, entry);
        drop(open);

        let landing = Landing { open: Arc::clone(&self.open), key, flight: flight.clone() };
        let (copying, report, caller) = (self.copying.clone(), Arc::new(report), caller.name());
        let going = work(report.clone());
        let waiter = waiter(flight, given_up.clone());
        tokio::spawn(async move {
            let turn = tokio::select! {
                turn = copying.take(&caller, connection, u64::MAX) => Some(turn),
                () = given_up.cancelled() => None,
            };
            let ended = if turn.is_some() { going.await } else { Err(stopped()) };
            // First off the list: who hears of a failure and asks again at once starts anew.
            drop((landing, turn));
            report.send_replace(Flight::Ended(ended.map_err(Arc::new)));
        });
        Ok(waiter)
    }
}

fn full(message: String) -> CallError {
    CallError::Busy { code: "imports_full", message, retry_after_ms: RETRY_MS }
}

/// Whether one more import may come over this connection. Those that nobody waits for any more count
/// for none: their connections may be gone.
fn has_room(open: &HashMap<Digest, Entry>, connection: u64) -> bool {
    if open.len() < OPEN_MAX {
        return true;
    }
    let mut others: Vec<u64> =
        open.values().filter(|entry| entry.waiters > 0).map(|entry| entry.connection).collect();
    let all = others.len();
    others.retain(|other| *other != connection);
    let own = all - others.len();
    others.sort_unstable();
    others.dedup();
    own < (OPEN_MAX / (others.len() + 1)).max(1)
}

/// Takes an import off the list when its task ends, however it ends.
struct Landing {
    open: Open,
    key: Digest,
    flight: watch::Receiver<Flight>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if open.get(&self.key).is_some_and(|entry| entry.flight.same_channel(&self.flight)) {
            open.remove(&self.key);
        }
    }
}

fn lock(open: &Open) -> MutexGuard<'_, HashMap<Digest, Entry>> {
    // A panic elsewhere leaves the map as whole as it was.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes progress on until the import ends, the caller goes away or has waited enough.
pub(super) async fn follow(
    waiter: Waiter,
    context: &Context,
    wait: Duration,
) -> Result<ArtifactImportResult, CallError> {
    let mut flight = waiter.flight.clone();
    let until = Instant::now() + wait;
    loop {
        let now = flight.borrow_and_update().clone();
        let done = match now {
            Flight::Ended(Ok(artifacts)) => {
                return Ok(ArtifactImportResult { status: ImportStatus::Imported, artifacts, advice: None });
            }
            Flight::Ended(Err(error)) => return Err(again(&error)),
            Flight::Going { done, progress } => {
                if let (Some(sender), Some(progress)) = (&context.progress, progress) {
                    // A client that reads slowly gets the next one.
                    let _unsent = sender.try_send(progress);
                }
                done
            }
        };
        let enough = tokio::select! {
            moved = flight.changed() => {
                moved.map_err(CallError::fault)?;
                false
            }
            () = context.gone.cancelled() => return Err(stopped()),
            () = tokio::time::sleep_until(until) => true,
        };
        if enough {
            if !waiter.promise() {
                let message = format!("{LEFT_MAX} imports go on already that nobody waits for");
                return Err(full(format!("{message}; wait for this one with `wait_seconds`")));
            }
            let advice = "goes on; make the same call again to wait for it".to_owned();
            let status = ImportStatus::Importing;
            return Ok(ArtifactImportResult { status, artifacts: done, advice: Some(advice) });
        }
    }
}

/// A fault of an import that several callers waited for.
#[derive(Debug, thiserror::Error)]
#[error("the import failed")]
struct Shared(#[source] Arc<CallError>);

/// The same error for each of several callers.
fn again(error: &Arc<CallError>) -> CallError {
    match &**error {
        CallError::UnknownTool { name } => CallError::UnknownTool { name: name.clone() },
        CallError::BadArguments { code, field, reason } => {
            CallError::BadArguments { code, field: field.clone(), reason: reason.clone() }
        }
        CallError::Denied { denial, id } => CallError::Denied { denial: denial.clone(), id: *id },
        CallError::Failed { run, class, code, message, advice } => CallError::Failed {
            run: *run,
            class: class.clone(),
            code: code.clone(),
            message: message.clone(),
            advice: advice.clone(),
        },
        CallError::Busy { code, message, retry_after_ms } => {
            CallError::Busy { code, message: message.clone(), retry_after_ms: *retry_after_ms }
        }
        CallError::Fault { .. } => CallError::fault(Shared(error.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::call::Caller;
    use crate::query::bad;

    fn caller(connection: u64) -> Caller {
        Caller { uid: 1, client: "test".to_owned(), connection }
    }

    fn context() -> Context {
        Context { caller: caller(1), progress: None, gone: CancellationToken::new() }
    }

    /// What ends once nobody wants it.
    fn start(imports: &Imports, n: usize, connection: u64) -> Result<(Waiter, CancellationToken), CallError> {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let going = |_report| async move {
            until.cancelled().await;
            Err(stopped())
        };
        let key = Digest::of(&n.to_le_bytes());
        let waiter = imports.join_or_start(key, &caller(connection), stop.clone(), going)?;
        Ok((waiter, stop))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn equal_imports_are_one_and_a_promised_one_outlives_its_callers() {
        let imports = Imports::default();
        let (go, gate) = oneshot::channel::<()>();
        let runs = Arc::new(AtomicU32::new(0));
        let (key, counted) = (Digest::of(b"a"), runs.clone());
        let stop = CancellationToken::new();
        let first = imports
            .join_or_start(key, &caller(1), stop.clone(), |_report| async move {
                counted.fetch_add(1, Ordering::SeqCst);
                gate.await.map_err(CallError::fault)?;
                Ok(Vec::new())
            })
            .unwrap();
        let joined = || {
            let never = |_report| async { Err(bad("must_not_run", "", "")) };
            imports.join_or_start(key, &caller(2), CancellationToken::new(), never).unwrap()
        };

        // The first caller goes away while another waits; the import goes on.
        let waits = joined();
        let gone = context();
        gone.gone.cancel();
        assert!(follow(first, &gone, LONG).await.is_err());
        assert!(!stop.is_cancelled() && !imports.is_idle());

        // That one waits too short a time and is told so: it goes on for nobody.
        let waited = follow(waits, &context(), Duration::ZERO).await.unwrap();
        assert_eq!(waited.status, ImportStatus::Importing);
        assert!(!stop.is_cancelled());
        let third = joined();
        go.send(()).unwrap();
        assert_eq!(follow(third, &context(), LONG).await.unwrap().status, ImportStatus::Imported);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_stops_and_is_made_anew() {
        let imports = Imports::default();
        let (first, stop) = start(&imports, 1, 1).unwrap();
        let gone = context();
        gone.gone.cancel();
        assert!(follow(first, &gone, LONG).await.is_err());
        assert!(stop.is_cancelled());

        // The same call does not join what is on its way out.
        let key = Digest::of(&1_usize.to_le_bytes());
        let anew = |_report| async { Ok(Vec::new()) };
        let again = imports.join_or_start(key, &caller(1), CancellationToken::new(), anew).unwrap();
        assert_eq!(follow(again, &context(), LONG).await.unwrap().status, ImportStatus::Imported);
    }

    /// Whoever waits behind a flood of one connection is next, and what is given up before its turn
    /// never begins.
    #[tokio::test]
    async fn connections_take_turns() {
        let imports = Imports::default();
        let mut flood: Vec<_> = (0..OPEN_MAX).map(|n| start(&imports, n, 1).unwrap()).collect();
        assert!(matches!(start(&imports, OPEN_MAX, 1), Err(CallError::Busy { code: "imports_full", .. })));
        let began = |_report| async { Ok(Vec::new()) };
        let (key, stop) = (Digest::of(b"other"), CancellationToken::new());
        let other = imports.join_or_start(key, &caller(2), stop, began).unwrap();
        let waiting = tokio::spawn(async move { follow(other, &context(), LONG).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "more copy at once than may");
        // Of the four that hold a turn two are given up, and sixty still wait.
        flood.drain(..2);
        assert_eq!(waiting.await.unwrap().unwrap().status, ImportStatus::Imported);
        assert!(flood.iter().all(|(_waiter, stop)| !stop.is_cancelled()));
    }

    #[tokio::test]
    async fn every_caller_hears_why_it_was_refused() {
        let imports = Imports::default();
        let (go, gate) = oneshot::channel::<()>();
        let (key, caller) = (Digest::of(b"a"), caller(1));
        let flight = imports
            .join_or_start(key, &caller, CancellationToken::new(), |_report| async move {
                gate.await.map_err(CallError::fault)?;
                Err(bad("type_mismatch", "/path", "is no BAM"))
            })
            .unwrap();
        let never = |_report| async { Err(bad("must_not_run", "", "")) };
        let other = imports.join_or_start(key, &caller, CancellationToken::new(), never).unwrap();
        go.send(()).unwrap();
        for flight in [flight, other] {
            let error = follow(flight, &context(), LONG).await.unwrap_err();
            assert_eq!(error.to_string(), "/path: is no BAM");
        }
    }

    #[tokio::test]
    async fn i9_waiting_imports_have_a_cap_and_each_connection_its_part() {
        let imports = Imports::default();
        let held: Vec<_> = (0..OPEN_MAX).map(|n| start(&imports, n, 1).unwrap()).collect();
        let full = |n: usize, connection| {
            matches!(start(&imports, n, connection), Err(CallError::Busy { code: "imports_full", .. }))
        };
        assert!(full(OPEN_MAX, 1));
        let others: Vec<_> = (0..OPEN_MAX / 2).map(|n| start(&imports, 1000 + n, 2).unwrap()).collect();
        assert!(full(2000, 2) && full(OPEN_MAX, 1));
        drop((held, others));
    }

    #[tokio::test]
    async fn i9_so_many_imports_go_on_for_nobody_and_keep_nobody_out() {
        let imports = Imports::default();
        let left = |n: usize| start(&imports, n, 10 + n as u64).unwrap();
        for n in 0..LEFT_MAX {
            let told = follow(left(n).0, &context(), Duration::ZERO).await.unwrap();
            assert_eq!(told.status, ImportStatus::Importing);
        }
        let (one_more, stop) = left(LEFT_MAX);
        let told = follow(one_more, &context(), Duration::ZERO).await;
        assert!(matches!(told, Err(CallError::Busy { code: "imports_full", .. })), "{told:?}");
        assert!(stop.is_cancelled(), "it goes on all the same");

        // Connections that are gone have no part in what is left.
        let held: Vec<_> = (0..OPEN_MAX).map(|n| start(&imports, 1000 + n, 1).unwrap()).collect();
        assert!(start(&imports, 2000, 2).is_ok());
        drop(held);
    }

    #[tokio::test]
    async fn an_import_that_panics_is_a_fault_and_leaves_the_list() {
        let imports = Imports::default();
        let flight = imports
            .join_or_start(Digest::of(b"a"), &caller(1), CancellationToken::new(), |_report| async {
                assert_eq!(1, 2, "on purpose");
                Ok(Vec::new())
            })
            .unwrap();
        assert!(matches!(follow(flight, &context(), LONG).await, Err(CallError::Fault { .. })));
        assert!(imports.is_idle());
    }
}
