//! Carries a plan to its end: admission, attempts, cancellation, harvest, recovery.
//!
//! The main structure is [`Runs`], the runs that are under way in this process; each is a
//! [`Flight`] that any number of callers wait for. A [`Job`] is what a flight executes, and only
//! a checked plan makes one (invariant I-1).

mod backends;
mod door;
pub mod end;
mod execute;
pub mod failure;
pub mod flight;
mod harvest;
pub mod limits;
mod record;
pub mod turns;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use helix_ids::{ArtifactId, Digest, RunId};
use tokio::sync::OwnedMutexGuard;

pub use backends::Backends;
pub use end::{End, EndOutput};
pub use flight::{Flight, Progress, Snapshot, Waited};
pub use turns::Turns;

use crate::artifacts::{ArtifactError, Store};
use crate::contract::{Tool, raw};
use crate::ledger::{AttemptId, AttemptState, Failure, Ledger, NewAttempt, NewRun, Seal};
use crate::plan::Plan;
use crate::policy::CallerLimits;
use crate::sandbox::{Compiled, Sandbox, Warm};

/// What a run may touch: the only ways to an effect.
#[derive(Clone)]
pub struct Effects {
    pub ledger: Ledger,
    pub store: Arc<Store>,
    pub sandbox: Arc<Sandbox>,
    pub backends: Arc<Backends>,
    /// What a project may store.
    pub store_bytes_max: u64,
}

/// Asked before each new effect of a run that was planned under an older policy: whether that of now
/// still allows it, or the failure that blocks it.
pub type Still = Arc<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// A checked plan with everything that it takes to carry it out.
pub struct Job {
    pub run: NewRun,
    pub attempt: NewAttempt,
    pub plan: Plan,
    pub guest: Guest,
    /// The run succeeded before and its bytes are gone: the outputs that it made then.
    pub expected: Option<Vec<EndOutput>>,
    /// Recovery carries on an attempt that stands in the ledger already.
    pub resumed: Option<Resumed>,
    /// The runner that planned it, for the run if that begins at once.
    pub warm: Option<Warm>,
    pub still: Still,
    /// Whether a step may take the outcome of one with the same key.
    pub reuse_steps: bool,
}

/// An attempt that stands in the ledger and is this owner's now.
#[derive(Clone, Copy, Debug)]
pub struct Resumed {
    pub attempt: AttemptId,
    pub state: AttemptState,
}

/// What a runner is given.
#[derive(Clone, Debug)]
pub struct Guest {
    pub component: Compiled,
    pub tool: Arc<Tool>,
    pub record: raw::Call,
    pub inputs: Vec<JobInput>,
}

#[derive(Clone, Debug)]
pub struct JobInput {
    pub role: String,
    pub index: u32,
    pub artifact: ArtifactId,
    pub digest: Digest,
    pub size_bytes: u64,
}

impl Job {
    /// A job for a new attempt.
    pub fn new(run: NewRun, attempt: NewAttempt, plan: Plan, guest: Guest, still: Still) -> Self {
        let (expected, resumed, warm, reuse_steps) = (None, None, None, true);
        Self { run, attempt, plan, guest, expected, resumed, warm, still, reuse_steps }
    }
}

/// The runs that are under way.
pub struct Runs {
    inner: Arc<Inner>,
}

struct Inner {
    flights: Mutex<Flights>,
    /// Held while it is decided whether a run is known, under way or new.
    claims: Mutex<HashMap<RunId, Weak<tokio::sync::Mutex<()>>>>,
    /// One for each guest that may run at once.
    turns: Turns,
}

#[derive(Default)]
struct Flights {
    by_run: HashMap<RunId, Arc<Flight>>,
    /// Runs under way, queued ones included, for each caller.
    by_caller: HashMap<String, u64>,
    /// Of these, those that came over each connection.
    by_connection: HashMap<u64, u64>,
}

/// How a caller came to a run.
pub enum Entry {
    Started(Arc<Flight>),
    /// Somebody else had started it in the meantime.
    Joined(Arc<Flight>),
}

/// More runs than policy lets one caller have under way.
#[derive(Debug, thiserror::Error)]
#[error("{under_way} runs are under way; policy lets one caller have {limit}, queued ones included")]
pub struct TooMany {
    pub under_way: u64,
    pub limit: u64,
}

/// Why a job was not entered; `R` is the word of whoever was asked at the last moment.
#[derive(Debug, thiserror::Error)]
pub enum NotEntered<R> {
    #[error(transparent)]
    TooMany(TooMany),
    #[error("{0}")]
    Refused(R),
}

impl Runs {
    /// No runs yet; at most `at_once` guests at a time.
    pub fn new(at_once: usize) -> Self {
        let turns = Turns::new(at_once);
        Self { inner: Arc::new(Inner { flights: Mutex::default(), claims: Mutex::default(), turns }) }
    }

    /// Waits until nobody else decides about this run, and keeps others waiting while the claim is
    /// held.
    pub async fn claim(&self, run: RunId) -> OwnedMutexGuard<()> {
        let claim = {
            let mut claims = self.inner.claims.lock().unwrap_or_else(PoisonError::into_inner);
            claims.retain(|_run, claim| claim.strong_count() > 0);
            let held = claims.get(&run).and_then(Weak::upgrade);
            let claim = held.unwrap_or_default();
            claims.insert(run, Arc::downgrade(&claim));
            claim
        };
        claim.lock_owned().await
    }

    /// The run, if it is under way.
    pub fn flight(&self, run: RunId) -> Option<Arc<Flight>> {
        self.inner.flights().by_run.get(&run).cloned()
    }

    /// How many runs are under way.
    pub fn open(&self) -> usize {
        self.inner.flights().by_run.len()
    }

    /// Cancels every run that still waits for its turn and whose component is not allowed any
    /// more: when it was admitted, another policy was in force (invariant I-2).
    pub fn cancel_queued(&self, is_allowed: impl Fn(&Digest) -> bool, by: &str) {
        let flights: Vec<_> = self.inner.flights().by_run.values().cloned().collect();
        let queued = flights.iter().filter(|flight| !flight.snapshot().running);
        queued.filter(|flight| !is_allowed(&flight.component)).for_each(|flight| flight.cancel(by));
    }

    /// Cancels every run of these components, through to its containers.
    pub fn cancel_running(&self, is_killed: impl Fn(&Digest) -> bool, by: &str) {
        let flights: Vec<_> = self.inner.flights().by_run.values().cloned().collect();
        flights.iter().filter(|flight| is_killed(&flight.component)).for_each(|flight| flight.cancel(by));
    }

    /// Starts the job's run, or joins it: one execution, many waiters. `admit` is asked at the
    /// moment in which the run comes among the others: a policy that is in force by then is asked
    /// here, and one that comes later finds the run in [`Self::cancel_queued`]. It gives the limits
    /// of the caller, who divides what it may have evenly among its connections.
    ///
    /// # Errors
    /// [`NotEntered`].
    pub fn enter<R>(
        &self,
        effects: Effects,
        caller: &str,
        connection: u64,
        job: Job,
        admit: impl FnOnce() -> Result<CallerLimits, R>,
    ) -> Result<Entry, NotEntered<R>> {
        let run = job.run.id;
        let (flight, at_once) = {
            let mut flights = self.inner.flights();
            if let Some(flight) = flights.by_run.get(&run) {
                return Ok(Entry::Joined(Arc::clone(flight)));
            }
            let limits = admit().map_err(NotEntered::Refused)?;
            let under_way = flights.by_caller.get(caller).copied().unwrap_or(0);
            let limit = limits.concurrent_runs.saturating_add(limits.queued);
            // Recovery only carries on what was admitted once.
            if under_way >= limit && job.resumed.is_none() && !flights.has_room(connection, limit) {
                return Err(NotEntered::TooMany(TooMany { under_way, limit }));
            }
            *flights.by_caller.entry(caller.to_owned()).or_default() += 1;
            *flights.by_connection.entry(connection).or_default() += 1;
            let resumed = job.resumed.map(|resumed| resumed.attempt);
            let flight = Flight::new(&job.run, caller.to_owned(), connection, resumed);
            let flight = Arc::new(flight);
            flights.by_run.insert(run, Arc::clone(&flight));
            (flight, limits.concurrent_runs)
        };
        let landing = Landing { inner: Arc::clone(&self.inner), flight: Arc::clone(&flight) };
        let turns = self.inner.turns.clone();
        tokio::spawn(async move {
            let end = execute::carry(effects, turns, at_once, Arc::clone(&landing.flight), job).await;
            landing.land(end);
        });
        Ok(Entry::Started(flight))
    }
}

impl Flights {
    /// Whether a connection has less than its even part of what its caller may have under way:
    /// it is let in although others have taken all of it. So a caller has at most a few times its
    /// limit (the harmonic number of its connections), and no client shuts out another.
    fn has_room(&self, connection: u64, limit: u64) -> bool {
        let own = self.by_connection.get(&connection).copied().unwrap_or(0);
        let others = self.by_connection.keys().filter(|other| **other != connection).count();
        own < limit / (others as u64 + 1)
    }

    fn forget(&mut self, flight: &Flight) {
        self.by_run.remove(&flight.run);
        decrease(&mut self.by_caller, &flight.caller);
        decrease(&mut self.by_connection, &flight.connection);
    }
}

/// Counts down, and forgets what is at zero: connections come and go for as long as the host lives.
fn decrease<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Inner {
    fn flights(&self) -> MutexGuard<'_, Flights> {
        // Nothing panics while it holds this lock; and were it so, the maps are whole.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens an object whose bytes are proved: by the seal of when they last were, else by a full
/// hash, whose seal is then remembered (invariant I-5).
///
/// # Errors
/// [`ArtifactError::Missing`], [`ArtifactError::Damaged`].
pub async fn open_proved(ledger: &Ledger, store: &Arc<Store>, digest: Digest) -> Result<File, ArtifactError> {
    opened(ledger, store, digest).await.map(|(file, _seal)| file)
}

/// The same, with the seal under which it is proved now.
async fn opened(ledger: &Ledger, store: &Arc<Store>, digest: Digest) -> Result<(File, Seal), ArtifactError> {
    let io = |what: &str, source: Box<dyn std::error::Error + Send + Sync>| ArtifactError::Io {
        what: what.to_owned(),
        source: io::Error::other(source),
    };
    let seal = ledger.seal(digest).await.map_err(|error| io("read a seal", Box::new(error)))?;
    let known = seal.clone();
    let store = Arc::clone(store);
    let (file, proved) = tokio::task::spawn_blocking(move || store.open_object(&digest, seal.as_ref()))
        .await
        .map_err(|error| io("open an object", Box::new(error)))??;
    if known.as_ref() != Some(&proved) {
        let remembered = ledger.remember_seal(digest, proved.clone()).await;
        remembered.map_err(|error| io("remember a seal", Box::new(error)))?;
    }
    Ok((file, proved))
}

/// Takes a flight off the books however its task ends, a panic included.
struct Landing {
    inner: Arc<Inner>,
    flight: Arc<Flight>,
}

impl Landing {
    fn land(self, end: End) {
        // First off the books: who comes now finds the answer in the ledger.
        self.forget();
        self.flight.end(end);
    }

    fn forget(&self) {
        let mut flights = self.inner.flights();
        // The same run may be under way again by now, in a flight that is not this one.
        let is_ours =
            flights.by_run.get(&self.flight.run).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight));
        if is_ours {
            flights.forget(&self.flight);
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.forget();
        self.flight.end(End::fault("the task that carried this run died"));
    }
}

#[cfg(test)]
mod tests {
    use helix_ids::{CanonicalJson, ProjectId, RunIdentity};
    use serde_json::json;

    use super::*;

    pub(super) fn flight(component: &Digest, params: u32) -> Arc<Flight> {
        let (slice, envelope) = (json!({}), json!({ "params": params }));
        let canonical = |value| CanonicalJson::of(value).unwrap();
        let identity = RunIdentity::new(
            "tool".parse().unwrap(),
            "v1".parse().unwrap(),
            &canonical(&slice),
            &canonical(&envelope),
        );
        let run = NewRun {
            id: identity.run_id(),
            digest: identity.digest(),
            project: ProjectId::from_digest(&Digest::of(b"project")),
            tool: identity.tool.clone(),
            contract: identity.contract.clone(),
            component: *component,
            params_hash: identity.params_hash,
            policy_hash: identity.policy_hash,
            envelope: envelope.to_string(),
            slice: slice.to_string(),
            inputs: Vec::new(),
        };
        Arc::new(Flight::new(&run, "uid:1".to_owned(), 1, None))
    }

    #[tokio::test]
    async fn i2_what_is_queued_does_not_start_once_its_component_is_denied() {
        let (denied, allowed) = (Digest::of(b"denied"), Digest::of(b"allowed"));
        let [queued, running, other] = [flight(&denied, 1), flight(&denied, 2), flight(&allowed, 3)];
        running.running();
        let runs = Runs::new(1);
        for flight in [&queued, &running, &other] {
            runs.inner.flights().by_run.insert(flight.run, Arc::clone(flight));
        }
        runs.cancel_queued(|component| *component == allowed, "the policy");

        let is_cancelled = |flight: &Arc<Flight>| flight.is_cancelled();
        assert_eq!([&queued, &running, &other].map(is_cancelled), [true, false, false]);
        assert_eq!(queued.cancelled_by(), "the policy");
    }

    #[tokio::test]
    async fn a_run_that_was_given_up_is_joined_by_nobody() {
        let flight = flight(&Digest::of(b"component"), 1);
        let (first, second) = (flight.join().unwrap(), flight.join().unwrap());
        drop(first);
        assert!(!flight.is_cancelled(), "somebody still waits");
        drop(second);
        assert!(flight.is_cancelled() && flight.join().is_none());

        flight.end(End::fault("stopped"));
        flight.ended().await;
        assert!(flight.join().is_none());
    }

    #[test]
    fn a_full_queue_has_room_for_a_connection_with_less_than_its_part() {
        let mut flights = Flights::default();
        flights.by_connection.insert(1, 72);
        assert!(!flights.has_room(1, 72), "alone, a connection has the limit and no more");
        assert!(flights.has_room(2, 72));
        flights.by_connection.insert(2, 36);
        assert!(!flights.has_room(2, 72));
        assert!(flights.has_room(3, 72));

        let flight = flight(&Digest::of(b"component"), 1);
        flights.by_caller.insert(flight.caller.clone(), 1);
        flights.by_connection = HashMap::from([(1, 1)]);
        flights.by_run.insert(flight.run, Arc::clone(&flight));
        flights.forget(&flight);
        let left = (flights.by_run.len(), flights.by_caller.len(), flights.by_connection.len());
        assert_eq!(left, (0, 0, 0), "a connection that is gone leaves nothing");
    }
}
