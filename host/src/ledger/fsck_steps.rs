//! Checks the steps of one run against its asks and its chain (invariants I-7 and I-8).

use helix_ids::Digest;
use serde_json::Value;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::bodies::{self, STEP_PREFIX};
use super::column::{count, parsed, text};
use super::error::database;
use super::step_rows::read_step;
use super::{AttemptId, EventRow, Finding, LedgerError, RunRow, StepId, StepRow, StepState};

/// An event of a step, with its body.
struct Told<'e> {
    event: &'e EventRow,
    body: Value,
}

/// What is wrong with the steps of a run; `asks` are the (attempt, ordinal) of all that it asked.
/// One step at a time: what all of them printed would take hundreds of megabytes.
pub(super) async fn check(
    connection: &mut SqliteConnection,
    run: &RunRow,
    asks: &[SqliteRow],
    events: &[EventRow],
) -> Result<Vec<Finding>, LedgerError> {
    let of_steps = events.iter().filter(|event| event.kind.starts_with(STEP_PREFIX));
    let told: Vec<Told> = of_steps.map(|event| Told { event, body: super::fsck::body_of(event) }).collect();
    let mut asked = Vec::with_capacity(asks.len());
    for row in asks {
        let attempt = AttemptId { run: run.run.id, ordinal: count(row, "attempt")? };
        asked.push(StepId { attempt, ordinal: count(row, "ordinal")? });
    }
    let mut found = Findings::default();
    if told.iter().any(|told| !asked.iter().any(|step| is_of(told, *step))) {
        found.add("step_and_chain_disagree", format!("{}: an event is of a step that is gone", run.run.id));
    }
    let mut next = (0, 0);
    for step in &asked {
        let expected = if next.0 == step.attempt.ordinal { next.1 } else { 0 };
        if step.ordinal != expected {
            found.of("step_and_chain_disagree", *step, "its attempt's asks are not numbered one by one");
        }
        next = (step.attempt.ordinal, step.ordinal + 1);
        if let Some(what) = ask_break(connection, *step).await? {
            found.of("ask_text", *step, what);
        }
        let Some(row) = read_step(connection, *step).await? else {
            found.of("step_and_chain_disagree", *step, "an ask has no step");
            continue;
        };
        if let Some(what) = step_break(&row, &told) {
            found.of("step_and_chain_disagree", *step, what);
        }
        let attempt = run.attempts.iter().find(|attempt| attempt.id == step.attempt);
        if !row.state.is_terminal() && attempt.is_none_or(|attempt| attempt.state.is_terminal()) {
            found.of("step_open", *step, "it has not ended, and its attempt has");
        }
    }
    if !in_order(&told) {
        let what = format!("{}: its outcomes are numbered otherwise than they became known", run.run.id);
        found.add("step_and_chain_disagree", what);
    }
    Ok(found.0)
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: &'static str, what: String) {
        self.0.push(Finding { code, what });
    }

    fn of(&mut self, code: &'static str, step: StepId, what: &str) {
        let StepId { attempt, ordinal } = step;
        self.add(code, format!("{} attempt {} step {ordinal}: {what}", attempt.run, attempt.ordinal));
    }
}

fn is_of(told: &Told<'_>, step: StepId) -> bool {
    number(told, "attempt") == Some(u64::from(step.attempt.ordinal))
        && number(told, "step") == Some(u64::from(step.ordinal))
}

fn number(told: &Told<'_>, name: &str) -> Option<u64> {
    told.body.get(name).and_then(Value::as_u64)
}

/// The outcomes of each attempt are numbered from 0, as its chain has them.
fn in_order(told: &[Told<'_>]) -> bool {
    let ends: Vec<(Option<u64>, Option<u64>)> = told
        .iter()
        .filter(|told| told.body.get("outcome_seq").is_some())
        .map(|told| (number(told, "attempt"), number(told, "outcome_seq")))
        .collect();
    let before = |at: usize, attempt| ends.iter().take(at).filter(|(of, _)| *of == attempt).count() as u64;
    ends.iter().enumerate().all(|(at, (attempt, seq))| *seq == Some(before(at, *attempt)))
}

async fn ask_break(
    connection: &mut SqliteConnection,
    step: StepId,
) -> Result<Option<&'static str>, LedgerError> {
    let row = sqlx::query("SELECT text, digest FROM asks WHERE run = $1 AND attempt = $2 AND ordinal = $3")
        .bind(step.attempt.run.to_string())
        .bind(i64::from(step.attempt.ordinal))
        .bind(i64::from(step.ordinal))
        .fetch_one(connection)
        .await
        .map_err(database("read an ask"))?;
    let digest: Digest = parsed(&row, "digest")?;
    let follows = Digest::of(text(&row, "text")?.as_bytes()) == digest;
    Ok((!follows).then_some("the text that was asked does not hash to its digest"))
}

/// What is wrong with a step, given the events of its run's steps.
fn step_break(row: &StepRow, told: &[Told<'_>]) -> Option<&'static str> {
    let mut stands: Option<StepState> = None;
    for told in told.iter().filter(|told| is_of(told, row.id)) {
        let entered = told.event.kind.strip_prefix(STEP_PREFIX);
        let entered = entered.and_then(|state| state.parse::<StepState>().ok());
        let Some(entered) = entered else { return Some("an event of it has an unknown kind") };
        let legal =
            stands.map_or(entered == StepState::Intended, |from| entered.predecessors().contains(&from));
        if !legal {
            return Some("its events are in an order that no step can have");
        }
        if entered_ms(row, entered) != Some(told.event.at_ms) || told.body != bodies::step(row, entered) {
            return Some("it is not what one of its events says");
        }
        stands = Some(entered);
    }
    (stands != Some(row.state)).then_some("its state is not the one that its last event says")
}

fn entered_ms(row: &StepRow, state: StepState) -> Option<i64> {
    match state {
        StepState::Intended => Some(row.intended_ms),
        StepState::Submitted => row.submitted_ms,
        StepState::Running => row.running_ms,
        StepState::Done | StepState::Failed | StepState::Skipped | StepState::Cancelled | StepState::Lost => {
            row.ended_ms
        }
    }
}
