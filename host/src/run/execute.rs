//! Carries one job to its end: waits for its turn, runs the guest, harvests, concludes.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use helix_ids::ProjectId;
use helix_ids::text::escaped_line;
use tokio::sync::Semaphore;

use super::end::EndOutput;
use super::flight::Flight;
use super::harvest::{self, Written};
use super::record::Record;
use super::{Effects, End, Guest, Job, failure, limits};
use crate::artifacts::{ArtifactError, Incoming, Store};
use crate::ledger::{LedgerError, Outcome, Used};
use crate::plan::Plan;
use crate::sandbox::{GuestError, InputFile, RunEvents, RunOutcome};

/// Longest text that a guest's progress shows.
const PROGRESS_BYTES_MAX: usize = 200;

/// Carries `job` to its end and says what it was. Never fails: a fault of ours is an end too.
pub(super) async fn carry(
    effects: Effects,
    turns: [Arc<Semaphore>; 2],
    flight: Arc<Flight>,
    job: Job,
) -> End {
    let Job { run, attempt, plan, guest, expected, resumed } = job;
    let mut record = Record::new(effects.ledger.clone(), run, attempt, resumed);
    let ended = attempt_it(&effects, &turns, &flight, &mut record, &plan, &guest).await;
    let (used, outcome) = match ended {
        Ok(ended) => ended,
        Err(error) => return ledger_fault(&error),
    };
    let restored = expected.is_some_and(|before| is_same(&before, &outcome));
    match record.conclude(&used, &outcome).await {
        Ok(()) => End { restored, ..End::from(outcome) },
        Err(error) => ledger_fault(&error),
    }
}

fn ledger_fault(error: &LedgerError) -> End {
    tracing::error!(error = error as &dyn std::error::Error, "an attempt could not be written");
    End::fault(error.to_string())
}

async fn attempt_it(
    effects: &Effects,
    turns: &[Arc<Semaphore>; 2],
    flight: &Arc<Flight>,
    record: &mut Record,
    plan: &Plan,
    guest: &Guest,
) -> Result<(Used, Outcome), LedgerError> {
    let [caller, host] = turns;
    let turn = async { (caller.acquire().await, host.acquire().await) };
    let _turn = match while_writing(record, flight, turn).await? {
        Raced::Done(turn) => turn,
        Raced::Cancelled => return Ok(cancelled(flight, Used::default())),
    };
    record.run_begins().await?;
    flight.running();

    let inputs = match open_inputs(effects, guest).await {
        Ok(inputs) => inputs,
        Err(error) => return Ok((Used::default(), Outcome::Failed(failure::of_input(&error)))),
    };
    let began = Instant::now();
    let mut events = Events::new(Arc::clone(&effects.store), Arc::clone(flight));
    let roles: Vec<String> = plan.outputs().iter().map(|output| output.role().to_string()).collect();
    let limits = limits::of_attempt(plan, guest);
    let running = effects.sandbox.run(&guest.component, &guest.record, &roles, inputs, &limits, &mut events);
    let ran = while_writing(record, flight, running).await?;
    let mut used = Used { wall_ms: millis(began.elapsed()), log: events.log, ..Used::default() };
    let outcome = match ran {
        Raced::Cancelled => return Ok(cancelled(flight, used)),
        Raced::Done(Err(error)) => {
            failure::count(&mut used, error.usage());
            Outcome::Failed(failure::of_guest(&error))
        }
        Raced::Done(Ok(outcome)) => {
            failure::count(&mut used, Some(&outcome.usage));
            let harvest = gather(effects, flight.project, plan, guest, outcome, events.files);
            match while_writing(record, flight, harvest).await? {
                Raced::Done(outcome) => outcome,
                Raced::Cancelled => return Ok(cancelled(flight, used)),
            }
        }
    };
    Ok((used, outcome))
}

async fn gather(
    effects: &Effects,
    project: ProjectId,
    plan: &Plan,
    guest: &Guest,
    outcome: RunOutcome,
    files: Vec<Written>,
) -> Outcome {
    match harvest::harvest(effects, project, plan, guest, &outcome, files).await {
        Ok(harvested) => harvested,
        Err(failure) => Outcome::Failed(failure),
    }
}

fn cancelled(flight: &Flight, used: Used) -> (Used, Outcome) {
    (used, Outcome::Cancelled { by: flight.cancelled_by() })
}

fn is_same(before: &[EndOutput], outcome: &Outcome) -> bool {
    let Outcome::Succeeded { outputs, .. } = outcome else { return false };
    before.len() == outputs.len()
        && before
            .iter()
            .zip(outputs)
            .all(|(a, b)| a.role == b.role && a.key == b.key && a.digest == b.artifact.digest)
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
                record.write().await?;
                flight.written();
            }
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
    files: Vec<Written>,
    log: String,
}

impl Events {
    fn new(store: Arc<Store>, flight: Arc<Flight>) -> Self {
        Self { store, flight, files: Vec::new(), log: String::new() }
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
