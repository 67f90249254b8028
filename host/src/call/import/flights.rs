//! The imports that are under way: many callers, one copy.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use helix_ids::Digest;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::{ArtifactImportResult, ImportStatus};
use crate::call::{CallError, Context, Progress};
use crate::query::ArtifactSummary;

/// Most imports that are under way or wait for their turn.
const OPEN_MAX: usize = 64;

/// Most that copy at once: they share one disk.
const COPYING_MAX: usize = 4;

/// When it is worth asking again.
const RETRY_MS: u64 = 5_000;

type Open = Arc<Mutex<HashMap<Digest, watch::Receiver<Flight>>>>;

/// The imports of one host.
pub struct Imports {
    open: Open,
    copying: Arc<Semaphore>,
}

/// Where an import stands.
#[derive(Clone, Debug)]
pub(super) enum Flight {
    Going { done: Vec<ArtifactSummary>, progress: Option<Progress> },
    Ended(Result<Vec<ArtifactSummary>, Arc<CallError>>),
}

impl Default for Imports {
    fn default() -> Self {
        Self { open: Open::default(), copying: Arc::new(Semaphore::new(COPYING_MAX)) }
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

    /// Takes part in the import with this key, or starts it on a task of its own.
    ///
    /// # Errors
    /// `imports_full`.
    pub(super) fn join_or_start<W, F>(
        &self,
        key: Digest,
        work: W,
    ) -> Result<watch::Receiver<Flight>, CallError>
    where
        W: FnOnce(Arc<watch::Sender<Flight>>) -> F,
        F: Future<Output = Result<Vec<ArtifactSummary>, CallError>> + Send + 'static,
    {
        let mut open = lock(&self.open);
        if let Some(flight) = open.get(&key) {
            return Ok(flight.clone());
        }
        if open.len() >= OPEN_MAX {
            let message = format!("{OPEN_MAX} imports are under way");
            return Err(CallError::Busy { code: "imports_full", message, retry_after_ms: RETRY_MS });
        }
        let (report, flight) = watch::channel(Flight::start());
        open.insert(key, flight.clone());
        drop(open);

        let landing = Landing { open: self.open.clone(), key };
        let (copying, report) = (self.copying.clone(), Arc::new(report));
        let going = work(report.clone());
        tokio::spawn(async move {
            // A semaphore that nobody closes always has a permit in the end.
            let _turn = copying.acquire_owned().await;
            let ended = going.await.map_err(Arc::new);
            // First off the list: who hears of a failure and asks again at once starts anew.
            drop(landing);
            report.send_replace(Flight::Ended(ended));
        });
        Ok(flight)
    }
}

/// Takes an import off the list when its task ends, however it ends.
struct Landing {
    open: Open,
    key: Digest,
}

impl Drop for Landing {
    fn drop(&mut self) {
        lock(&self.open).remove(&self.key);
    }
}

fn lock(open: &Open) -> MutexGuard<'_, HashMap<Digest, watch::Receiver<Flight>>> {
    // A panic elsewhere leaves the map as whole as it was.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes progress on until the import ends, the caller goes away or has waited enough.
pub(super) async fn follow(
    mut flight: watch::Receiver<Flight>,
    context: &Context,
    wait: Duration,
) -> Result<ArtifactImportResult, CallError> {
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
            () = context.gone.cancelled() => true,
            () = tokio::time::sleep_until(until) => true,
        };
        if enough {
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

    fn context() -> Context {
        let caller = Caller { uid: 1, client: "test".to_owned(), connection: 0 };
        Context { caller, progress: None, gone: CancellationToken::new() }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn equal_imports_are_one_and_it_outlives_its_callers() {
        let imports = Imports::default();
        let (go, gate) = oneshot::channel::<()>();
        let runs = Arc::new(AtomicU32::new(0));
        let (key, counted) = (Digest::of(b"a"), runs.clone());
        let first = imports
            .join_or_start(key, |_report| async move {
                counted.fetch_add(1, Ordering::SeqCst);
                gate.await.map_err(CallError::fault)?;
                Ok(Vec::new())
            })
            .unwrap();

        // The first caller goes away; the import goes on.
        let gone = context();
        gone.gone.cancel();
        let left = follow(first, &gone, LONG).await.unwrap();
        assert_eq!(left.status, ImportStatus::Importing);
        assert!(!imports.is_idle());

        // The second joins it, waits too short a time, then long enough.
        let joined = || {
            let never = |_report| async { Err(bad("must_not_run", "", "")) };
            imports.join_or_start(key, never).unwrap()
        };
        let waited = follow(joined(), &context(), Duration::ZERO).await.unwrap();
        assert_eq!(waited.status, ImportStatus::Importing);
        let second = joined();
        go.send(()).unwrap();
        assert_eq!(follow(second, &context(), LONG).await.unwrap().status, ImportStatus::Imported);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn every_caller_hears_why_it_was_refused() {
        let imports = Imports::default();
        let (go, gate) = oneshot::channel::<()>();
        let flight = imports
            .join_or_start(Digest::of(b"a"), |_report| async move {
                gate.await.map_err(CallError::fault)?;
                Err(bad("type_mismatch", "/path", "is no BAM"))
            })
            .unwrap();
        let other = flight.clone();
        go.send(()).unwrap();
        for flight in [flight, other] {
            let error = follow(flight, &context(), LONG).await.unwrap_err();
            assert_eq!(error.to_string(), "/path: is no BAM");
        }
    }

    #[tokio::test]
    async fn i9_waiting_imports_have_a_cap() {
        let imports = Imports::default();
        let start =
            |n: usize| imports.join_or_start(Digest::of(&n.to_le_bytes()), |_report| std::future::pending());
        for n in 0..OPEN_MAX {
            assert!(start(n).is_ok());
        }
        assert!(matches!(start(OPEN_MAX), Err(CallError::Busy { code: "imports_full", .. })));
    }

    #[tokio::test]
    async fn an_import_that_panics_is_a_fault_and_leaves_the_list() {
        let imports = Imports::default();
        let flight = imports
            .join_or_start(Digest::of(b"a"), |_report| async {
                assert_eq!(1, 2, "on purpose");
                Ok(Vec::new())
            })
            .unwrap();
        assert!(matches!(follow(flight, &context(), LONG).await, Err(CallError::Fault { .. })));
        assert!(imports.is_idle());
    }
}
