//! Q3: random asks of one run, against a model of a few lines.

use proptest::prelude::*;

use super::*;
use crate::ledger::{AttemptState, LedgerError};

#[derive(Clone, Copy, Debug)]
enum Ask {
    Begin,
    Go(AttemptState),
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let state = proptest::sample::select(AttemptState::ALL.to_vec());
    let ask = prop_oneof![1 => Just(Ask::Begin), 4 => state.prop_map(Ask::Go)];
    proptest::collection::vec(ask, 0..24)
}

/// The newest attempt's state is all that the model knows.
async fn agrees_with_the_model(asks: Vec<Ask>) {
    let world = World::new().await;
    let mut newest: Option<(AttemptId, AttemptState)> = None;
    for ask in asks {
        match ask {
            Ask::Begin => {
                let begun = world.ledger.begin(&world.run(1), &world.attempt()).await;
                let free = newest.is_none_or(|(_, state)| state.is_terminal());
                assert_eq!(begun.is_ok(), free, "{begun:?}");
                newest = begun.ok().map(|id| (id, AttemptState::Queued)).or(newest);
            }
            Ask::Go(to) => {
                let Some((id, from)) = newest else { continue };
                let moved = match to {
                    AttemptState::Succeeded => {
                        world.ledger.conclude(id, &used(), &world.success("out")).await
                    }
                    AttemptState::Failed => {
                        world.ledger.conclude(id, &used(), &Outcome::Failed(failure("tool", true))).await
                    }
                    AttemptState::Cancelled => {
                        world.ledger.conclude(id, &used(), &Outcome::Cancelled { by: "x".into() }).await
                    }
                    AttemptState::Blocked => {
                        world.ledger.conclude(id, &used(), &Outcome::Blocked(failure("denied", false))).await
                    }
                    AttemptState::Queued | AttemptState::Running | AttemptState::Waiting => {
                        world.ledger.advance(id, to).await
                    }
                };
                let legal = to.predecessors().contains(&from);
                assert_eq!(moved.is_ok(), legal, "{from} to {to}");
                assert!(legal || matches!(moved, Err(LedgerError::Lost)));
                if legal {
                    newest = Some((id, to));
                }
            }
        }
    }
    let row = world.ledger.run(world.project, world.run(1).id).await.unwrap();
    let stands = row.and_then(|row| row.attempts.last().map(|attempt| (attempt.id, attempt.state)));
    assert_eq!(stands, newest);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn random_asks_follow_the_list(asks in asks()) {
        tokio::runtime::Runtime::new().unwrap().block_on(agrees_with_the_model(asks));
    }
}
