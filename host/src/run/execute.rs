//! Carries one job to its end: waits for its turn, runs the guest, harvests, concludes.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use helix_ids::text::escaped_line;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::door::{Door, Opening, Pause, Shut};
use super::end::EndOutput;
use super::flight::Flight;
use super::harvest::{self, Harvest, Made, Written};
use super::record::Record;
use super::turns::{Turn, Turns};
use super::{Effects, End, Guest, Job, Still, failure, limits};
use crate::artifacts::{ArtifactError, Incoming, Store};
use crate::ledger::{LedgerError, NewEvent, Outcome, Reservation, Used};
use crate::plan::Plan;
use crate::sandbox::client::Answering;
use crate::sandbox::protocol::Ask;
use crate::sandbox::{Execution, GuestError, InputFile, Pace, RunEvents, RunOutcome, Warm};

/// How often it is looked whether a guest leaves room on the disk.
const LOOK_FOR_ROOM: Duration = Duration::from_millis(250);

/// Longest text that a guest's progress shows.
const PROGRESS_BYTES_MAX: usize = 200;

/// Carries `job` to its end and says what it was. Never fails: a fault of ours is an end too.
pub(super) async fn carry(
    effects: Effects,
    turns: Turns,
    at_once: u64,
    flight: Arc<Flight>,
    job: Job,
) -> End {
    let Job { run, attempt, plan, guest, expected, resumed, warm, still, reuse_steps } = job;
    let mut record = Record::new(effects.ledger.clone(), run, attempt, resumed);
    let turn = at_once_or_cold(turns.take(&flight.caller, flight.connection, at_once), warm);
    let on = Attempt { effects: &effects, flight: &flight, plan: &plan, guest: &guest, still, reuse_steps };
    let pause = |turn| Pause::new(turns.clone(), at_once, turn);
    let ended = on.carry(turn, pause, &mut record).await;
    let Ended { used, outcome, room } = match ended {
        Ok(ended) => ended,
        Err(error) => return ledger_fault(&error),
    };
    if let Err(error) = record.conclude(&used, &outcome).await {
        return ledger_fault(&error);
    }
    crash_point!("attempt_concluded");
    drop(room);
    let differing = expected.map(|before| differing_roles(&before, &outcome));
    if let Some(roles) = differing.as_ref().filter(|roles| !roles.is_empty()) {
        tell_difference(&effects, &flight, roles).await;
    }
    let is_success = matches!(outcome, Outcome::Succeeded { .. });
    let restored = is_success && differing.is_some_and(|roles| roles.is_empty());
    End { restored, ..End::from(outcome) }
}

/// A run that came out otherwise when it was made again is what an auditor wants to hear of.
async fn tell_difference(effects: &Effects, flight: &Flight, roles: &[String]) {
    let event = NewEvent {
        project: flight.project,
        kind: "run_outputs_differ",
        caller: flight.caller.clone(),
        body: json!({ "run": flight.run, "roles": roles }),
    };
    if let Err(error) = effects.ledger.event(event).await {
        tracing::error!(error = &error as &dyn std::error::Error, "a difference could not be recorded");
    }
}

fn ledger_fault(error: &LedgerError) -> End {
    tracing::error!(error = error as &dyn std::error::Error, "an attempt could not be written");
    match error {
        LedgerError::Full { .. } => End::from(Outcome::Failed(failure::of_full_ledger(error))),
        _ => End::fault(error.to_string()),
    }
}

/// The turn, and the runner that planned if the turn is free at once: one of the few runners does not
/// wait in a queue.
async fn at_once_or_cold(turn: impl Future<Output = Turn>, warm: Option<Warm>) -> (Turn, Option<Warm>) {
    let mut turn = pin!(turn);
    tokio::select! {
        biased;
        turn = &mut turn => return (turn, warm),
        () = std::future::ready(()) => drop(warm),
    }
    (turn.await, None)
}

/// How an attempt ended, before the ledger knows.
struct Ended {
    used: Used,
    outcome: Outcome,
    /// Of outputs that the ledger is about to count.
    room: Option<Reservation>,
}

impl Ended {
    fn without_outputs(used: Used, outcome: Outcome) -> Self {
        Self { used, outcome, room: None }
    }
}

/// One attempt, and what it may do.
struct Attempt<'a> {
    effects: &'a Effects,
    flight: &'a Arc<Flight>,
    plan: &'a Plan,
    guest: &'a Guest,
    still: Still,
    reuse_steps: bool,
}

impl Attempt<'_> {
    async fn carry(
        &self,
        turn: impl Future<Output = (Turn, Option<Warm>)>,
        pause: impl FnOnce(Turn) -> Pause,
        record: &mut Record,
    ) -> Result<Ended, LedgerError> {
        let flight = self.flight;
        let (turn, warm) = match while_writing(record, flight, turn).await? {
            Raced::Done(turn) => turn,
            Raced::Cancelled => return Ok(cancelled(flight, Used::default())),
        };
        record.run_begins().await?;
        flight.running();
        let inputs = match open_inputs(self.effects, self.guest).await {
            Ok(inputs) => inputs,
            Err(error) => {
                let failed = Outcome::Failed(failure::of_input(&error));
                return Ok(Ended::without_outputs(Used::default(), failed));
            }
        };
        let pace = turn.pace();
        let door = Door::new(Opening {
            effects: self.effects.clone(),
            flight: Arc::clone(flight),
            plan: self.plan,
            guest: self.guest,
            still: Arc::clone(&self.still),
            reuse: self.reuse_steps,
            pause: pause(turn),
            attempt: record.resumed(),
        });
        let mut events = Events::new(Arc::clone(&self.effects.store), Arc::clone(flight), door);
        // Boxed: a run that waits for its turn should not hold room for what comes after.
        let ended = Box::pin(self.run(inputs, (warm, pace), &mut events, record)).await;
        // No step outlives its attempt, and none is told to have ended before it has.
        events.door.close().await;
        ended
    }

    async fn run(
        &self,
        inputs: Vec<InputFile>,
        (warm, pace): (Option<Warm>, Pace),
        events: &mut Events,
        record: &mut Record,
    ) -> Result<Ended, LedgerError> {
        let Self { effects, flight, plan, guest, .. } = self;
        let began = Instant::now();
        let roles: Vec<String> = plan.outputs().iter().map(|output| output.role().to_string()).collect();
        let limits = limits::of_attempt(plan, guest);
        let (component, call) = (&guest.component, &guest.record);
        let execution = Execution { component, call, roles: &roles, limits: &limits, warm, pace };
        let running = effects.sandbox.run(execution, inputs, events);
        let ran = while_writing(record, flight, while_room(&effects.store, running)).await?;
        let log = std::mem::take(&mut events.log);
        let mut used = Used { wall_ms: millis(began.elapsed()), log, ..Used::default() };
        let ran = match ran {
            Raced::Cancelled => return Ok(cancelled(flight, used)),
            Raced::Done(Err(full)) => {
                return Ok(Ended::without_outputs(used, Outcome::Failed(failure::of_store(&full))));
            }
            Raced::Done(Ok(ran)) => ran,
        };
        // The door's own word comes first: what the runner died of then is only that it was ended.
        let shut = events.door.shut();
        let outcome = match (shut, ran) {
            (Some(shut), ran) => {
                failure::count(
                    &mut used,
                    ran.as_ref().map_or_else(GuestError::usage, |ran| Some(&ran.usage)),
                );
                return Ok(Ended::without_outputs(used, shut.into_outcome()));
            }
            (None, Err(error)) => {
                failure::count(&mut used, error.usage());
                return Ok(Ended::without_outputs(used, Outcome::Failed(failure::of_guest(&error))));
            }
            (None, Ok(outcome)) => outcome,
        };
        failure::count(&mut used, Some(&outcome.usage));
        crash_point!("guest_returned");
        match while_writing(record, flight, self.harvested(&outcome, events)).await? {
            Raced::Done(Ok(Harvest { outcome, room })) => Ok(Ended { used, outcome, room: Some(room) }),
            Raced::Done(Err(shut)) => Ok(Ended::without_outputs(used, shut.into_outcome())),
            Raced::Cancelled => Ok(cancelled(flight, used)),
        }
    }

    async fn harvested(&self, outcome: &RunOutcome, events: &mut Events) -> Result<Harvest, Shut> {
        let steps = events.door.returned().await?;
        let made = Made { outcome, files: std::mem::take(&mut events.files), steps };
        let harvest = harvest::harvest(self.effects, self.flight.project, self.plan, self.guest, made);
        harvest.await.map_err(Shut::Failed)
    }
}

fn cancelled(flight: &Flight, used: Used) -> Ended {
    Ended::without_outputs(used, Outcome::Cancelled { by: flight.cancelled_by() })
}

/// The roles whose outputs are not the ones that this run made before.
fn differing_roles(before: &[EndOutput], outcome: &Outcome) -> Vec<String> {
    let Outcome::Succeeded { outputs, .. } = outcome else { return Vec::new() };
    let before = before.iter().map(|output| (&output.role, &output.key, output.digest));
    let now = outputs.iter().map(|output| (&output.role, &output.key, output.artifact.digest));
    let (before, now): (BTreeSet<_>, BTreeSet<_>) = (before.collect(), now.collect());
    let roles: BTreeSet<String> =
        before.symmetric_difference(&now).map(|(role, ..)| role.to_string()).collect();
    roles.into_iter().collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What came of work that a cancellation may end.
enum Raced<T> {
    Done(T),
    Cancelled,
}

/// Does `work` until it is done or the run is cancelled, and writes the run to the ledger on the
/// way when that is due.
async fn while_writing<T>(
    record: &mut Record,
    flight: &Flight,
    work: impl Future<Output = T>,
) -> Result<Raced<T>, LedgerError> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            () = flight.cancelled() => return Ok(Raced::Cancelled),
            done = &mut work => return Ok(Raced::Done(done)),
            () = flight.write_due(), if !record.is_written() => {
                let attempt = record.write().await?;
                flight.written(attempt);
            }
        }
    }
}

/// Does `work` while the store has room. A guest may write more than is free, and several do so
/// at once; below the floor the ledger itself could not write any more (invariant I-9).
async fn while_room<T>(store: &Store, work: impl Future<Output = T>) -> Result<T, ArtifactError> {
    let mut work = pin!(work);
    let mut look = interval(LOOK_FOR_ROOM);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            _ = look.tick() => store.admit()?,
        }
    }
}

/// Opens each input, proved by its seal or by a full hash (I-5).
async fn open_inputs(effects: &Effects, guest: &Guest) -> Result<Vec<InputFile>, ArtifactError> {
    let mut files = Vec::with_capacity(guest.inputs.len());
    for input in &guest.inputs {
        let file = super::open_proved(&effects.ledger, &effects.store, input.digest).await?;
        files.push(InputFile { role: input.role.clone(), index: input.index, file });
    }
    Ok(files)
}

/// Takes what a guest does and keeps it until the gate.
struct Events {
    store: Arc<Store>,
    flight: Arc<Flight>,
    door: Door,
    files: Vec<Written>,
    log: String,
}

impl Events {
    fn new(store: Arc<Store>, flight: Arc<Flight>, door: Door) -> Self {
        Self { store, flight, door, files: Vec::new(), log: String::new() }
    }
}

impl RunEvents for Events {
    fn create_output(&mut self, role: &str, key: &str) -> io::Result<std::fs::File> {
        let incoming: Incoming = self.store.incoming().map_err(io::Error::other)?;
        let writer = incoming.writer().map_err(io::Error::other)?;
        self.files.push(Written { role: role.to_owned(), key: key.to_owned(), incoming });
        Ok(writer)
    }

    fn log(&mut self, level: &str, text: &str) {
        // The sandbox counts a guest's log bytes; a line is a line whatever it holds.
        self.log.push_str(level);
        self.log.push(' ');
        self.log.push_str(&escaped_line(text, usize::MAX));
        self.log.push('\n');
    }

    fn progress(&mut self, done: u64, total: Option<u64>, text: &str) {
        self.flight.progress(done, total, escaped_line(text, PROGRESS_BYTES_MAX));
    }

    fn ask(&mut self, ask: Ask) -> Answering<'_> {
        Box::pin(self.door.ask(ask))
    }
}

impl GuestError {
    pub(super) fn usage(&self) -> Option<&crate::sandbox::protocol::Usage> {
        match self {
            Self::Tool(_, usage)
            | Self::Trap { usage, .. }
            | Self::Input { usage, .. }
            | Self::Limit { usage, .. } => Some(usage),
            Self::Fault { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn i9_a_guest_ends_when_the_disk_is_down_to_its_floor() {
        let folder = tempfile::tempdir().unwrap();
        let roomy = Store::open(&folder.path().join("roomy"), 0).unwrap();
        assert_eq!(while_room(&roomy, async { 7 }).await.unwrap(), 7);

        let full = Store::open(&folder.path().join("full"), u64::MAX).unwrap();
        let endless = std::future::pending::<()>();
        let ended = tokio::time::timeout(Duration::from_secs(60), while_room(&full, endless)).await;
        assert!(matches!(ended, Ok(Err(ArtifactError::Full { .. }))), "{ended:?}");
    }
}
