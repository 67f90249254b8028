//! Every pair of a step's states, against the code and against the database alone.

use proptest::prelude::*;

use super::steps::{ask, outcome};
use super::*;
use crate::ledger::{LedgerError, StepId, StepState};

async fn go(world: &World, step: StepId, to: StepState) -> Result<(), LedgerError> {
    match to {
        StepState::Intended => Err(LedgerError::Lost),
        StepState::Submitted => world.ledger.step_submitted(step, 1).await,
        StepState::Running => world.ledger.step_running(step, "container").await,
        ended => world.ledger.step_ended(step, &outcome(ended)).await.map(drop),
    }
}

/// A step of its own run in this state.
async fn bring(world: &World, param: i64, state: StepState) -> StepId {
    let attempt = world.running(param).await;
    let step = world.asked(attempt, 0).await;
    world.ledger.step_keyed(step, Digest::of(b"key")).await.unwrap();
    let from_the_start = [StepState::Intended, StepState::Skipped];
    if !from_the_start.contains(&state) {
        go(world, step, StepState::Submitted).await.unwrap();
    }
    if state != StepState::Intended && state != StepState::Submitted {
        go(world, step, state).await.unwrap();
    }
    step
}

fn pairs() -> impl Iterator<Item = (i64, (StepState, StepState))> {
    (0_i64..).zip(StepState::ALL.into_iter().flat_map(|from| StepState::ALL.map(|to| (from, to))))
}

/// Without another step whose outcome is used, what is done was submitted.
fn goes(from: StepState, to: StepState) -> bool {
    to.predecessors().contains(&from) && (from, to) != (StepState::Intended, StepState::Done)
}

/// I-7: a step moves only along the one list, and terminal is final.
#[tokio::test]
async fn i7_a_terminal_step_is_final() {
    let world = World::new().await;
    for (param, (from, to)) in pairs() {
        let step = bring(&world, param, from).await;
        let before = world.step(step).await;
        let moved = go(&world, step, to).await;
        let legal = goes(from, to);
        assert_eq!(moved.is_ok(), legal, "{from} to {to}: {moved:?}");
        if !legal {
            assert!(matches!(moved, Err(LedgerError::Lost)), "{from} to {to}: {moved:?}");
            assert_eq!(world.step(step).await, before);
        }
        assert_eq!(world.step(step).await.state, if legal { to } else { from });
    }
    // From every state, with the outcome of another.
    let made = bring(&world, 100, StepState::Done).await;
    for (param, from) in (101..).zip(StepState::ALL) {
        let step = bring(&world, param, from).await;
        let reused = world.ledger.step_reused(step, made).await;
        assert_eq!(reused.is_ok(), from == StepState::Intended, "{from}: {reused:?}");
    }
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// I-7: the database refuses what no code of ours asks for.
#[tokio::test]
async fn i7_the_database_refuses_other_ways_of_a_step() {
    let world = World::new().await;
    for (param, (from, to)) in pairs() {
        let StepId { attempt: AttemptId { run, .. }, .. } = bring(&world, param, from).await;
        // Fulfils what each state promises, so that only the transition itself can be refused.
        let ended = if to.is_terminal() { "COALESCE(ended_ms, 1)" } else { "NULL" };
        let seq = if to.is_terminal() { "COALESCE(outcome_seq, 0)" } else { "NULL" };
        let failed = matches!(to, StepState::Failed | StepState::Lost);
        let (class, answer) = if failed { ("'x'", "0") } else { ("NULL", "NULL") };
        let code = if to == StepState::Done { "0" } else { "NULL" };
        let counted = if to == StepState::Submitted { "try = 1, submitted_ms = 1," } else { "" };
        let counted = if from == StepState::Intended { counted } else { "" };
        let runs = if to == StepState::Running && from == StepState::Submitted {
            "container = 'c', running_ms = 1,"
        } else {
            ""
        };
        let sql = format!(
            "UPDATE steps SET {counted} {runs} state = '{to}', ended_ms = {ended}, outcome_seq = {seq},
                 exit_code = {code}, failure_class = {class}, failure_code = {class},
                 failure_message = {class}, failure_advice = {class}, failure_is_answer = {answer}
             WHERE run = '{run}'"
        );
        let done = world.raw(&sql).await;
        let stays = from == to && !from.is_terminal();
        assert_eq!(done.is_ok(), goes(from, to) || stays, "{from} to {to}: {done:?}");
    }
}

/// The triggers refuse edits of what was asked and of what came of it.
#[tokio::test]
async fn what_was_asked_and_what_came_of_it_stay() {
    let world = super::steps::with_steps().await;
    for sql in [
        "DELETE FROM asks",
        "DELETE FROM steps",
        "DELETE FROM step_files",
        "UPDATE asks SET text = 'x'",
        "UPDATE step_files SET name = 'x'",
        "UPDATE steps SET exit_code = 1 WHERE state = 'done'",
        "UPDATE steps SET try = 2 WHERE state = 'submitted'",
        "UPDATE steps SET step_key = 'x' WHERE state = 'submitted'",
        "UPDATE steps SET name = 'x' WHERE state = 'submitted'",
        "UPDATE steps SET image = 'x' WHERE state = 'submitted'",
        "UPDATE steps SET submitted_ms = 1 WHERE state = 'submitted'",
        "UPDATE steps SET state = 'cancelled', ended_ms = 1, outcome_seq = 7 WHERE state = 'submitted'",
        "INSERT INTO step_files SELECT run, attempt, ordinal, 7, kind, 'more', type, digest FROM step_files",
        "INSERT INTO asks SELECT run, attempt, ordinal + 7, kind, text, digest, at_ms FROM asks
             WHERE run = (SELECT run FROM steps WHERE state = 'submitted') AND ordinal = 0",
        "UPDATE attempts SET state = 'cancelled', ended_ms = 1, cancelled_by = 'x' WHERE state = 'running'",
    ] {
        let done = world.raw(sql).await;
        assert!(done.is_err(), "{sql}: {done:?}");
    }
    assert_eq!(world.found().await, Vec::<&str>::new());
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Ask,
    /// Of the step at this ordinal.
    Go(u32, StepState),
    End,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let state = proptest::sample::select(StepState::ALL.to_vec());
    let act = prop_oneof![
        2 => Just(Act::Ask),
        8 => (0_u32..4, state).prop_map(|(ordinal, state)| Act::Go(ordinal, state)),
        1 => Just(Act::End),
    ];
    proptest::collection::vec(act, 0..32)
}

/// Whether the attempt goes on.
async fn act_agrees(
    world: &World,
    attempt: AttemptId,
    act: Act,
    stand: &mut Vec<StepState>,
    ended: &mut Vec<u32>,
) -> bool {
    match act {
        Act::Ask => {
            let ordinal = u32::try_from(stand.len()).unwrap();
            let step = world.asked(attempt, ordinal).await;
            world.ledger.step_keyed(step, Digest::of(b"key")).await.unwrap();
            stand.push(StepState::Intended);
        }
        Act::Go(ordinal, to) => {
            let step = StepId { attempt, ordinal };
            let from = stand.get(ordinal as usize).copied();
            let moved = go(world, step, to).await;
            let legal = from.is_some_and(|from| goes(from, to));
            assert_eq!(moved.is_ok(), legal, "{from:?} to {to}: {moved:?}");
            if legal {
                stand[ordinal as usize] = to;
                ended.extend(to.is_terminal().then_some(ordinal));
            }
        }
        Act::End => {
            let all_ended = stand.iter().all(|state| state.is_terminal());
            let concluded = world.ledger.conclude(attempt, &used(), &world.success("out")).await;
            assert_eq!(concluded.is_ok(), all_ended, "{stand:?}: {concluded:?}");
            return !all_ended;
        }
    }
    true
}

/// The states of the steps, and the order in which they ended, are all that the model knows.
async fn agrees_with_the_model(acts: Vec<Act>) {
    let world = World::new().await;
    let attempt = world.running(1).await;
    let (mut stand, mut ended, mut open) = (Vec::new(), Vec::new(), true);
    for act in acts {
        if open {
            open = act_agrees(&world, attempt, act, &mut stand, &mut ended).await;
        }
    }
    let mut rows = world.ledger.steps(attempt).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), stand);
    rows.retain(|row| row.outcome_seq.is_some());
    rows.sort_by_key(|row| row.outcome_seq);
    assert_eq!(rows.iter().map(|row| row.id.ordinal).collect::<Vec<_>>(), ended);
    if !open {
        let step = StepId { attempt, ordinal: u32::try_from(stand.len()).unwrap() };
        assert!(matches!(world.ledger.ask(step, &ask("late")).await, Err(LedgerError::Lost)));
    }
    let state = world.ledger.run(world.project, attempt.run).await.unwrap().unwrap().attempts[0].state;
    assert_eq!(state.is_terminal(), !open);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_asks_for_steps_follow_the_list(acts in acts()) {
        tokio::runtime::Runtime::new().unwrap().block_on(agrees_with_the_model(acts));
    }
}
