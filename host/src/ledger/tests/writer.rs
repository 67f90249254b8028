//! The one writer: many callers, one commit, each answered for itself.

use tokio::task::JoinSet;

use super::*;
use crate::ledger::LedgerError;

/// A hundred callers at once, every third of which asks for something impossible: those fail for
/// themselves, and all the others are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_takes_nobody_with_it() {
    let world = World::new().await;
    let mut callers = JoinSet::new();
    for param in 0..99 {
        let (ledger, mut run, attempt) = (world.ledger.clone(), world.run(param), world.attempt());
        let outcome = world.success(&format!("out {param}"));
        let impossible = param % 3 == 0;
        if impossible {
            run.project = identity::project_id(&"unknown".parse().unwrap());
        }
        callers.spawn(async move {
            let done = ledger.record(&run, &attempt, &used(), &outcome).await;
            (impossible, run, done)
        });
    }
    while let Some(joined) = callers.join_next().await {
        let (impossible, run, done) = joined.unwrap();
        assert_eq!(done.is_err(), impossible, "{done:?}");
        let answer = world.ledger.answer(run.id, run.digest).await.unwrap();
        assert_eq!(answer.is_some(), !impossible);
    }
    assert_eq!(world.ledger.objects().await.unwrap().len(), 66);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// Many callers of one run: exactly one begins it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_begins_a_run() {
    let world = World::new().await;
    let mut callers = JoinSet::new();
    for _ in 0..40 {
        let (ledger, run, attempt) = (world.ledger.clone(), world.run(1), world.attempt());
        callers.spawn(async move { ledger.begin(&run, &attempt).await });
    }
    let (mut begun, mut lost) = (0, 0);
    while let Some(joined) = callers.join_next().await {
        match joined.unwrap() {
            Ok(_) => begun += 1,
            Err(LedgerError::Lost) => lost += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((begun, lost), (1, 39));
}

/// A success whose outputs cannot be committed leaves nothing: no artifact, no state (I-4).
#[tokio::test]
async fn i4_outputs_are_all_or_nothing() {
    let world = World::new().await;
    let attempt = world.begin(1).await;
    world.ledger.advance(attempt, crate::ledger::AttemptState::Running).await.unwrap();
    let Outcome::Succeeded { result, summary, mut outputs } = world.success("good") else { panic!() };
    let mut bad = outputs[0].clone();
    bad.key = "other".parse().unwrap();
    bad.artifact.size_bytes += 1;
    outputs.push(bad);
    let refused =
        world.ledger.conclude(attempt, &used(), &Outcome::Succeeded { result, summary, outputs }).await;
    assert!(matches!(refused, Err(LedgerError::Damaged { .. })), "{refused:?}");
    assert!(world.ledger.objects().await.unwrap().is_empty());
    assert!(world.ledger.artifacts(world.project, None, None, 9).await.unwrap().is_empty());
    world.ledger.conclude(attempt, &used(), &world.success("good")).await.unwrap();
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// I-6: the ledger takes no run whose id does not follow from its parts.
#[tokio::test]
async fn i6_a_run_that_does_not_follow_is_refused() {
    let world = World::new().await;
    let good = world.run(1);
    let flips = [
        NewRun { id: world.run(2).id, ..good.clone() },
        NewRun { digest: world.run(2).digest, ..good.clone() },
        NewRun { tool: "other".parse().unwrap(), ..good.clone() },
        NewRun { contract: "v2".parse().unwrap(), ..good.clone() },
        NewRun { envelope: "{}".into(), ..good.clone() },
        NewRun { slice: "{}".into(), ..good.clone() },
    ];
    for run in flips {
        let refused = world.ledger.begin(&run, &world.attempt()).await;
        assert!(matches!(refused, Err(LedgerError::Damaged { .. })), "{run:?}");
    }
    world.ledger.begin(&good, &world.attempt()).await.unwrap();
}

/// F21: while another process holds the file, a writer waits, and then writes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_waits_for_another_process() {
    use sqlx::ConnectOptions;
    let world = World::new().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&world.path);
    let mut other = options.connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let (ledger, run, attempt) = (world.ledger.clone(), world.run(1), world.attempt());
    let writing = tokio::spawn(async move { ledger.begin(&run, &attempt).await });
    // Reads go on meanwhile.
    assert!(world.ledger.run(world.project, world.run(1).id).await.unwrap().is_none());
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(writing.await.unwrap().unwrap().ordinal, 1);
    assert_eq!(world.ledger.events(&world.run(1).id.to_string(), u32::MAX).await.unwrap().len(), 2);
}

/// An end that could not be written leaves its attempt open; whoever carries the run next closes
/// it, and nobody else does.
#[tokio::test]
async fn a_stale_attempt_is_closed_by_its_owner_alone() {
    let world = World::new().await;
    world.begin(1).await;
    let run = world.run(1);
    world.reopened("second").await.close_stale(run.id).await.unwrap();
    let refused = world.ledger.begin(&run, &world.attempt()).await;
    assert!(matches!(refused, Err(LedgerError::Lost)), "{refused:?}");
    world.ledger.close_stale(run.id).await.unwrap();
    assert_eq!(world.ledger.begin(&run, &world.attempt()).await.unwrap().ordinal, 2);
    assert_eq!(world.found().await, Vec::<&str>::new());
}
