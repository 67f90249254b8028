//! Every pair of states, against the code and against the database alone.

use super::*;
use crate::ledger::{AttemptState, LedgerError};

/// A way into each state, and its outcome if it is an end.
fn outcome_of(world: &World, state: AttemptState) -> Option<Outcome> {
    match state {
        AttemptState::Queued | AttemptState::Running | AttemptState::Waiting => None,
        AttemptState::Succeeded => Some(world.success("out")),
        AttemptState::Failed => Some(Outcome::Failed(failure("tool", true))),
        AttemptState::Cancelled => Some(Outcome::Cancelled { by: "shell".into() }),
        AttemptState::Blocked => Some(Outcome::Blocked(failure("denied", false))),
    }
}

async fn go(world: &World, attempt: AttemptId, to: AttemptState) -> Result<(), LedgerError> {
    match outcome_of(world, to) {
        None => world.ledger.advance(attempt, to).await,
        Some(outcome) => world.ledger.conclude(attempt, &used(), &outcome).await,
    }
}

async fn bring(world: &World, param: i64, state: AttemptState) -> AttemptId {
    let attempt = world.begin(param).await;
    if state != AttemptState::Queued {
        go(world, attempt, AttemptState::Running).await.unwrap();
    }
    if state != AttemptState::Queued && state != AttemptState::Running {
        go(world, attempt, state).await.unwrap();
    }
    attempt
}

async fn state_of(world: &World, attempt: AttemptId) -> AttemptState {
    let row = world.ledger.run(world.project, attempt.run).await.unwrap().unwrap();
    row.attempts.iter().find(|row| row.id == attempt).unwrap().state
}

/// I-7: a state moves only along the one list, and terminal is final.
#[tokio::test]
async fn i7_terminal_is_final() {
    let world = World::new().await;
    let pairs = AttemptState::ALL.into_iter().flat_map(|from| AttemptState::ALL.map(|to| (from, to)));
    for (param, (from, to)) in (0_i64..).zip(pairs) {
        let attempt = bring(&world, param, from).await;
        let legal = to.predecessors().contains(&from);
        let moved = go(&world, attempt, to).await;
        assert_eq!(moved.is_ok(), legal, "{from} to {to}: {moved:?}");
        if !legal {
            assert!(matches!(moved, Err(LedgerError::Lost)), "{from} to {to}: {moved:?}");
        }
        assert_eq!(state_of(&world, attempt).await, if legal { to } else { from });
    }
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// I-7: the database refuses what no code of ours asks for.
#[tokio::test]
async fn i7_the_database_refuses_otherwise() {
    let world = World::new().await;
    let pairs = AttemptState::ALL.into_iter().flat_map(|from| AttemptState::ALL.map(|to| (from, to)));
    for (param, (from, to)) in (0_i64..).zip(pairs) {
        let AttemptId { run, .. } = bring(&world, param, from).await;
        // Fulfils what each end promises, so that only the transition itself can be refused.
        let (ended, result, class, by) = match to {
            AttemptState::Succeeded => ("1", "'x'", "NULL", "NULL"),
            AttemptState::Failed | AttemptState::Blocked => ("1", "NULL", "'x'", "NULL"),
            AttemptState::Cancelled => ("1", "NULL", "NULL", "'x'"),
            AttemptState::Queued | AttemptState::Running | AttemptState::Waiting => {
                ("NULL", "NULL", "NULL", "NULL")
            }
        };
        let answer = if class == "NULL" { "NULL" } else { "1" };
        let sql = format!(
            "UPDATE attempts SET state = '{to}', ended_ms = {ended}, result = {result}, summary = {result},
                 failure_class = {class}, failure_code = {class}, failure_message = {class},
                 failure_advice = {class}, failure_is_answer = {answer}, cancelled_by = {by}
             WHERE run = '{run}'"
        );
        let done = world.raw(&sql).await;
        let stays = from == to && !from.is_terminal();
        assert_eq!(done.is_ok(), to.predecessors().contains(&from) || stays, "{from} to {to}: {done:?}");
    }
}

#[tokio::test]
async fn one_attempt_of_a_run_is_open_at_most() {
    let world = World::new().await;
    let first = world.begin(1).await;
    let second = world.ledger.begin(&world.run(1), &world.attempt()).await;
    assert!(matches!(second, Err(LedgerError::Lost)), "{second:?}");

    world.ledger.conclude(first, &used(), &Outcome::Failed(failure("limit", false))).await.unwrap();
    let third = world.begin(1).await;
    assert_eq!(third.ordinal, 2);
    assert_eq!(world.ledger.recent_failures(third.run, 0).await.unwrap(), 1);
    assert_eq!(world.ledger.recent_failures(third.run, Ledger::now_ms() + 60_000).await.unwrap(), 0);
}

#[tokio::test]
async fn another_owner_moves_nothing_until_it_took_over() {
    let world = World::new().await;
    let attempt = world.begin(1).await;
    world.record(2, &world.success("out")).await;
    let second = world.reopened("second").await;
    let lost = second.advance(attempt, AttemptState::Running).await;
    assert!(matches!(lost, Err(LedgerError::Lost)), "{lost:?}");

    let taken = second.take_over().await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!((taken[0].1.id, taken[0].1.owner.as_str(), taken[0].1.takeovers), (attempt, "second", 1));
    assert_eq!(taken[0].0.run, world.run(1));
    assert!(second.take_over().await.unwrap().is_empty());

    // The one before it has lost the attempt.
    let late = world.ledger.conclude(attempt, &used(), &Outcome::Cancelled { by: "me".into() }).await;
    assert!(matches!(late, Err(LedgerError::Lost)), "{late:?}");
    second.advance(attempt, AttemptState::Running).await.unwrap();
    second.conclude(attempt, &used(), &world.success("out")).await.unwrap();
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// `record` is `begin`, `advance` and `conclude`: it leaves the same rows and the same events.
#[tokio::test]
async fn a_short_run_is_recorded_as_a_long_one() {
    let world = World::new().await;
    let long = world.begin(1).await;
    world.ledger.advance(long, AttemptState::Running).await.unwrap();
    world.ledger.conclude(long, &used(), &world.success("out")).await.unwrap();
    let short = world.record(2, &world.success("out")).await;

    let mut kinds = Vec::new();
    for attempt in [long, short] {
        let events = world.ledger.events(&attempt.run.to_string(), u32::MAX).await.unwrap();
        kinds.push(events.into_iter().map(|event| event.kind).collect::<Vec<_>>());
    }
    assert_eq!(kinds[0], ["run_identified", "attempt_queued", "attempt_running", "attempt_succeeded"]);
    assert_eq!(kinds[0], kinds[1]);
    let [long, short] =
        [long, short].map(|attempt| world.ledger.answer(attempt.run, digest_of(&world, attempt)));
    let (long, short) = (long.await.unwrap().unwrap(), short.await.unwrap().unwrap());
    assert_eq!((long.result, long.summary, long.outputs), (short.result, short.summary, short.outputs));
}

fn digest_of(world: &World, attempt: AttemptId) -> helix_ids::Digest {
    [1, 2].map(|param| world.run(param)).into_iter().find(|run| run.id == attempt.run).unwrap().digest
}
