//! What is read, and that a project sees only its own.

use super::*;
use crate::ledger::{ATTEMPTS_READ_MAX, AttemptState, LedgerError, NewDenial};

#[tokio::test]
async fn a_run_is_answered_by_its_newest_success_else_by_a_failure_that_is_an_answer() {
    let world = World::new().await;
    let run = world.run(1);
    let answer = async || world.ledger.answer(run.id, run.digest).await.unwrap().map(|row| row.id.ordinal);
    assert_eq!(answer().await, None);
    world.record(1, &Outcome::Failed(failure("limit", false))).await;
    assert_eq!(answer().await, None);
    world.record(1, &Outcome::Failed(failure("tool", true))).await;
    assert_eq!(answer().await, Some(2));
    world.record(1, &world.success("one")).await;
    world.record(1, &world.success("two")).await;
    world.record(1, &Outcome::Failed(failure("tool", true))).await;
    world.begin(1).await;
    assert_eq!(answer().await, Some(4));

    let row = world.ledger.answer(run.id, run.digest).await.unwrap().unwrap();
    let (role, key, artifact) = &row.outputs[0];
    assert_eq!((role.as_str(), key.as_str(), row.outputs.len()), ("report", "all", 1));
    assert_eq!(artifact.digest, Digest::of(b"two"));
    assert_eq!((artifact.label.as_deref(), artifact.created_by), (Some("report.txt"), Some(run.id)));
    // The id is half of the digest: the whole decides.
    assert!(world.ledger.answer(run.id, Digest::of(b"other")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_run_reads_back_as_it_was_written() {
    let world = World::new().await;
    let artifact = world.import("reads", "reads.fq").await;
    let input = |role: &str, index, sample: Option<&str>| RunInput {
        role: role.parse().unwrap(),
        index,
        sample: sample.map(|sample| sample.parse().unwrap()),
        artifact,
    };
    let inputs = vec![input("reads", 1, Some("S1")), input("reads", 0, None), input("bed", 0, None)];
    let run = world.run_with(1, inputs);
    let id = world.ledger.record(&run, &world.attempt(), &used(), &world.success("out")).await.unwrap();
    let row = world.ledger.run(world.project, run.id).await.unwrap().unwrap();
    assert_eq!(row.run, run);
    assert_eq!(row.attempts.len(), 1);
    let attempt = &row.attempts[0];
    assert_eq!((attempt.id, attempt.state), (id, AttemptState::Succeeded));
    assert_eq!((attempt.used.fuel, attempt.used.log.as_str()), (12, "hello\n"));

    let elsewhere = identity::project_id(&"other".parse().unwrap());
    assert!(world.ledger.run(elsewhere, run.id).await.unwrap().is_none());
    assert!(world.ledger.artifact(elsewhere, artifact).await.unwrap().is_none());
    assert_eq!(world.ledger.store_bytes(elsewhere).await.unwrap(), 0);
    assert_eq!(
        world.ledger.store_bytes(world.project).await.unwrap(),
        "reads".len() as u64 + "out".len() as u64
    );
}

/// However often a run was tried and whatever it logged, a read of it is of the newest alone.
#[tokio::test]
async fn i9_of_many_attempts_the_newest_are_read_with_the_ends_of_their_logs() {
    let world = World::new().await;
    let run = world.run(1);
    let log = format!("{}\0ä{}", "x".repeat(100_000), "ö".repeat(2_050));
    for attempt in 0..ATTEMPTS_READ_MAX + 5 {
        let outcome =
            if attempt == 1 { world.success("the answer") } else { Outcome::Failed(failure("limit", false)) };
        let used = Used { log: log.clone(), ..used() };
        world.ledger.record(&run, &world.attempt(), &used, &outcome).await.unwrap();
    }
    let row = world.ledger.run(world.project, run.id).await.unwrap().unwrap();
    let ordinals: Vec<u32> = row.attempts.iter().map(|attempt| attempt.id.ordinal).collect();
    let answer = [2].into_iter();
    assert_eq!(ordinals, answer.chain(6..=ATTEMPTS_READ_MAX + 5).collect::<Vec<_>>());
    for attempt in &row.attempts {
        let end = attempt.used.log.as_str();
        assert!(log.ends_with(end) && (4_096..4_200).contains(&end.len()), "{} bytes", end.len());
    }

    // What speaks for it is found however old it is, and no log is read for it.
    let standing = world.ledger.standing(world.project, run.id).await.unwrap().unwrap();
    assert_eq!((standing.id.ordinal, standing.state), (2, AttemptState::Succeeded));
    assert_eq!((standing.outputs.len(), standing.used.log.as_str()), (1, ""));
    let elsewhere = identity::project_id(&"other".parse().unwrap());
    assert!(world.ledger.standing(elsewhere, run.id).await.unwrap().is_none());
    assert!(world.ledger.identified(elsewhere, run.id).await.unwrap().is_none());
    assert_eq!(world.ledger.identified(world.project, run.id).await.unwrap(), Some(run.clone()));

    let events = world.ledger.events(&run.id.to_string(), 7).await.unwrap();
    assert_eq!((events.len(), events[0].seq), (7, 3 * u64::from(ATTEMPTS_READ_MAX + 5) + 1 - 7));
    let oldest = world.ledger.begun_ago(run.id, ATTEMPTS_READ_MAX + 5).await.unwrap();
    assert!(oldest.is_some_and(|begun_ms| begun_ms > 0));
    assert_eq!(world.ledger.begun_ago(run.id, ATTEMPTS_READ_MAX + 6).await.unwrap(), None);
    assert_eq!(world.found().await, Vec::<&str>::new(), "a long log is held to its digest");
}

#[tokio::test]
async fn lists_are_paged_from_the_newest() {
    let world = World::new().await;
    for param in 0..7 {
        world.import(&format!("bytes {param}"), "x.txt").await;
        match param {
            0 | 1 => drop(world.record(param, &Outcome::Failed(failure("tool", true))).await),
            2 => drop(world.begin(param).await),
            _ => drop(world.record(param, &world.success("out")).await),
        }
    }
    let ledger = &world.ledger;
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = ledger.artifacts(world.project, None, before, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page);
    }
    // Seven imports and one output.
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted_by(|a, b| (a.created_ms, a.id) > (b.created_ms, b.id)));
    let none = ledger.artifacts(world.project, Some(helix_ids::ArtifactType::Bam), None, 9).await.unwrap();
    assert!(none.is_empty());

    let runs = async |state| {
        let mut runs = Vec::new();
        let mut before = None;
        while let Some(last) = {
            let page = ledger.runs(world.project, None, state, before, 2).await.unwrap();
            let last = page.last().map(|run| run.id);
            runs.extend(page);
            last
        } {
            before = Some(last);
        }
        runs.len()
    };
    assert_eq!(runs(None).await, 7);
    assert_eq!(runs(Some(AttemptState::Succeeded)).await, 4);
    assert_eq!(runs(Some(AttemptState::Failed)).await, 2);
    assert_eq!(runs(Some(AttemptState::Queued)).await, 1);
    assert_eq!(runs(Some(AttemptState::Blocked)).await, 0);
    let other_tool = "other".parse().unwrap();
    assert!(ledger.runs(world.project, Some(&other_tool), None, None, 9).await.unwrap().is_empty());
}

/// A run stands where its newest attempt does, in the order in which runs were first asked for.
#[tokio::test]
async fn a_run_is_listed_by_its_newest_attempt_only() {
    let world = World::new().await;
    let failed = || Outcome::Failed(failure("limit", false));
    for param in 0..6 {
        world.record(param, &failed()).await;
    }
    world.record(1, &world.success("one")).await;
    world.record(2, &world.success("two")).await;
    world.record(2, &failed()).await;
    world.record(3, &Outcome::Cancelled { by: "shell".into() }).await;
    world.begin(4).await;
    let ids = |params: &[i64]| {
        let mut ids: Vec<_> = params.iter().map(|&param| world.run(param).id).collect();
        ids.sort();
        ids
    };
    let tool = world.run(0).tool;
    for (state, params) in [
        (AttemptState::Failed, &[0, 2, 5][..]),
        (AttemptState::Succeeded, &[1]),
        (AttemptState::Cancelled, &[3]),
        (AttemptState::Queued, &[4]),
        (AttemptState::Running, &[]),
    ] {
        for tool in [None, Some(&tool)] {
            let mut listed = Vec::new();
            let mut before = None;
            loop {
                let page = world.ledger.runs(world.project, tool, Some(state), before, 1).await.unwrap();
                let Some(last) = page.last() else { break };
                before = Some(last.id);
                listed.extend(page);
            }
            assert!(listed.is_sorted_by(|a, b| (a.created_ms, a.id) > (b.created_ms, b.id)), "{listed:?}");
            assert!(listed.iter().all(|run| run.state == state), "{listed:?}");
            let mut found: Vec<_> = listed.iter().map(|run| run.id).collect();
            found.sort();
            assert_eq!(found, ids(params), "{state} {tool:?}");
        }
    }
    let all = world.ledger.runs(world.project, Some(&tool), None, None, 9).await.unwrap();
    let attempts = |param| all.iter().find(|run| run.id == world.run(param).id).unwrap().attempts;
    assert_eq!((all.len(), attempts(0), attempts(2)), (6, 1, 3));
    let elsewhere = identity::project_id(&"other".parse().unwrap());
    for state in [None, Some(AttemptState::Failed)] {
        assert!(world.ledger.runs(elsewhere, None, state, None, 9).await.unwrap().is_empty());
        // A cursor that is of another project leads nowhere.
        let foreign = Some(world.run(0).id);
        assert!(world.ledger.runs(elsewhere, None, state, foreign, 9).await.unwrap().is_empty());
    }
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// No list reads what it does not show, nor sorts: each walks its index from where the page begins.
#[tokio::test]
async fn lists_of_runs_walk_an_index() {
    use sqlx::{ConnectOptions, Row};
    let world = World::new().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&world.path);
    let mut connection = options.connect().await.unwrap();
    for (of_tool, in_state, expected) in [
        (false, false, "SEARCH r USING COVERING INDEX runs_newest (project=? AND (created_ms,id)<(?,?))"),
        (
            true,
            false,
            "SEARCH r USING COVERING INDEX runs_newest_of_tool (project=? AND tool=? AND (created_ms,id)<(?,?))",
        ),
        (
            false,
            true,
            "SEARCH s USING INDEX standings_newest (project=? AND state=? AND (created_ms,run)<(?,?))",
        ),
        (
            true,
            true,
            "SEARCH s USING INDEX standings_newest_of_tool (project=? AND tool=? AND state=? AND (created_ms,run)<(?,?))",
        ),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {}", crate::ledger::runs::list_sql(of_tool, in_state));
        let mut asked = sqlx::query(sqlx::AssertSqlSafe(sql));
        for _bound in 0..5 {
            asked = asked.bind(1);
        }
        let rows = asked.fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(plan[0].contains(expected), "{plan:#?}");
        assert!(plan.iter().all(|step| !step.contains("SCAN") && !step.contains("TEMP B-TREE")), "{plan:#?}");
    }
}

#[tokio::test]
async fn seals_labels_manifests_and_denials_are_kept() {
    let world = World::new().await;
    let new = world.artifact("bytes", "a.txt");
    world.import("bytes", "a.txt").await;
    world.import("bytes", "a.txt").await;
    world.import("bytes", "b.txt").await;
    let row = world.ledger.artifact(world.project, new.id).await.unwrap().unwrap();
    assert_eq!((row.label.as_deref(), row.created_by), (Some("b.txt"), None));
    assert_eq!(world.ledger.objects().await.unwrap(), [(new.digest, 5)]);

    assert_eq!(world.ledger.seal(new.digest).await.unwrap(), Some(new.seal.clone()));
    let seal = Seal { mtime_ns: i128::MAX, ..new.seal.clone() };
    world.ledger.remember_seal(new.digest, seal.clone()).await.unwrap();
    assert_eq!(world.ledger.seal(new.digest).await.unwrap(), Some(seal));
    let lying = Seal { size_bytes: 6, ..new.seal };
    let refused = world.ledger.remember_seal(new.digest, lying).await;
    assert!(matches!(refused, Err(LedgerError::Damaged { .. })), "{refused:?}");

    world.ledger.remember_manifest(new.digest, "{}").await.unwrap();
    assert_eq!(world.ledger.manifest(new.digest).await.unwrap().as_deref(), Some("{}"));
    assert_eq!(world.ledger.manifest(Digest::of(b"other")).await.unwrap(), None);

    let denial = NewDenial {
        project: Some(world.project),
        caller: "x".repeat(10_000),
        tool: None,
        rule: "component".into(),
        line: Some(3),
        code: "component_not_allowed".into(),
        message: "no".into(),
    };
    let first = world.ledger.deny(denial.clone()).await.unwrap();
    let unknown = NewDenial { project: Some(identity::project_id(&"other".parse().unwrap())), ..denial };
    assert_ne!(world.ledger.deny(unknown).await.unwrap(), first);
    let events = world.ledger.events(&world.project.to_string(), u32::MAX).await.unwrap();
    assert_eq!(events.iter().filter(|event| event.kind == "denied").count(), 1);
    assert!(events.last().unwrap().text.len() < 4096);
    assert_eq!(world.found().await, Vec::<&str>::new());
}
