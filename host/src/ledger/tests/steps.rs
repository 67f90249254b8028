//! Container steps: what was asked, what came of it, and that nobody else writes it.

use helix_ids::ArtifactType;

use super::*;
use crate::ledger::{
    Asked, AttemptState, LedgerError, NewAsk, NewStepFile, NewStepLog, STEP_TAIL_BYTES_MAX, StepId, StepLog,
    StepOutcome, StepRow, StepState, StepUsage,
};

impl World {
    /// An attempt whose guest runs.
    pub(super) async fn running(&self, param: i64) -> AttemptId {
        let attempt = self.begin(param).await;
        self.ledger.advance(attempt, AttemptState::Running).await.unwrap();
        attempt
    }

    pub(super) async fn asked(&self, attempt: AttemptId, ordinal: u32) -> StepId {
        let step = StepId { attempt, ordinal };
        let asked = self.ledger.ask(step, &ask("align")).await.unwrap();
        assert!(matches!(asked, Asked::New), "{asked:?}");
        step
    }

    pub(super) async fn submitted(&self, attempt: AttemptId, ordinal: u32, key: &str) -> StepId {
        let step = self.asked(attempt, ordinal).await;
        self.ledger.step_keyed(step, Digest::of(key.as_bytes())).await.unwrap();
        self.ledger.step_submitted(step, 1).await.unwrap();
        step
    }

    pub(super) async fn step(&self, step: StepId) -> StepRow {
        let steps = self.ledger.steps(step.attempt).await.unwrap();
        steps.into_iter().find(|row| row.id == step).unwrap()
    }

    /// Kinds of a run's events from its first step on.
    async fn step_events(&self, attempt: AttemptId) -> Vec<String> {
        let events = self.ledger.events(&attempt.run.to_string(), u32::MAX).await.unwrap();
        events.into_iter().map(|event| event.kind).filter(|kind| kind.starts_with("step_")).collect()
    }
}

pub(super) fn ask(name: &str) -> NewAsk {
    let text = CanonicalJson::of(&json!({"argv": ["bwa", "mem"], "name": name})).unwrap();
    NewAsk {
        kind: "start",
        text: text.to_string(),
        name: name.into(),
        image: "registry.example/bwa@sha256:00".into(),
        backend: "docker".into(),
    }
}

pub(super) fn outcome(state: StepState) -> StepOutcome {
    StepOutcome {
        state,
        exit_code: (state == StepState::Done).then_some(0),
        stdout_tail: String::new(),
        stderr_tail: String::new(),
        failure: matches!(state, StepState::Failed | StepState::Lost).then(|| failure("limit", false)),
        usage: StepUsage::default(),
        files: Vec::new(),
        stdout: None,
        stderr: None,
    }
}

fn seal(bytes: &str) -> Seal {
    Seal { device: 1, inode: 2, size_bytes: bytes.len() as u64, mtime_ns: 3, ctime_ns: 4 }
}

fn captured(name: &str, bytes: &str) -> NewStepFile {
    NewStepFile {
        name: name.into(),
        artifact_type: ArtifactType::Bam,
        digest: Digest::of(bytes.as_bytes()),
        size_bytes: bytes.len() as u64,
        seal: seal(bytes),
    }
}

fn log(bytes: &str) -> NewStepLog {
    NewStepLog { digest: Digest::of(bytes.as_bytes()), size_bytes: bytes.len() as u64, seal: seal(bytes) }
}

/// I-8: what a guest asks stands in the ledger before anybody could act on it, for the next process too.
#[tokio::test]
async fn i8_an_ask_is_committed_before_anything_else() {
    let world = World::new().await;
    let attempt = world.running(1).await;
    let step = world.asked(attempt, 0).await;
    let row = world.reopened("second").await.steps(attempt).await.unwrap().remove(0);
    assert_eq!((row.id, row.state, row.try_, row.name.as_str()), (step, StepState::Intended, 0, "align"));
    assert_eq!((row.ask_kind.as_str(), row.ask), ("start", Digest::of(ask("align").text.as_bytes())));
    assert_eq!((row.key, &row.container, &row.outcome), (None, &None, &None));
    assert_eq!(world.step_events(attempt).await, ["step_intended"]);
    // It is submitted once, and only once it is known under which key.
    assert!(world.ledger.step_submitted(step, 1).await.is_err());
    world.ledger.step_keyed(step, Digest::of(b"key")).await.unwrap();
    world.ledger.step_submitted(step, 1).await.unwrap();
    for try_ in [1, 2] {
        let again = world.ledger.step_submitted(step, try_).await;
        assert!(matches!(again, Err(LedgerError::Lost)), "{again:?}");
    }
    assert_eq!(world.step(step).await.try_, 1);
    assert_eq!(world.step_events(attempt).await, ["step_intended", "step_submitted"]);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

#[tokio::test]
async fn the_same_ask_is_known_and_another_is_different() {
    let world = World::new().await;
    let attempt = world.running(1).await;
    let step = world.submitted(attempt, 0, "key").await;
    let known = world.ledger.ask(step, &ask("align")).await.unwrap();
    let Asked::Known(row) = known else { panic!("{known:?}") };
    assert_eq!(*row, world.step(step).await);
    assert_eq!(row.state, StepState::Submitted);

    let different = world.ledger.ask(step, &ask("sort")).await.unwrap();
    let Asked::Different { expected, came } = different else { panic!("{different:?}") };
    assert_eq!((expected, came), (ask("align").text, ask("sort").text));
    let other_kind = NewAsk { kind: "other", ..ask("align") };
    let different = world.ledger.ask(step, &other_kind).await.unwrap();
    assert!(matches!(different, Asked::Different { .. }), "{different:?}");
    // None of this wrote anything, and no ordinal is left out.
    assert!(world.ledger.ask(StepId { attempt, ordinal: 2 }, &ask("align")).await.is_err());
    assert_eq!(world.ledger.steps(attempt).await.unwrap().len(), 1);
    assert_eq!(world.step_events(attempt).await, ["step_intended", "step_submitted"]);
    world.asked(attempt, 1).await;
    assert_eq!(world.found().await, Vec::<&str>::new());
}

#[tokio::test]
async fn only_a_guest_that_runs_asks() {
    let world = World::new().await;
    let queued = world.begin(1).await;
    assert!(world.ledger.ask(StepId { attempt: queued, ordinal: 0 }, &ask("align")).await.is_err());
    let waiting = world.running(2).await;
    world.ledger.advance(waiting, AttemptState::Waiting).await.unwrap();
    world.asked(waiting, 0).await;
    let ended = world.record(3, &world.success("out")).await;
    let late = world.ledger.ask(StepId { attempt: ended, ordinal: 0 }, &ask("align")).await;
    assert!(matches!(late, Err(LedgerError::Lost)), "{late:?}");
    let nobodys = StepId { attempt: AttemptId { run: queued.run, ordinal: 7 }, ordinal: 0 };
    let nothing = world.ledger.ask(nobodys, &ask("align")).await;
    assert!(matches!(nothing, Err(LedgerError::Lost)), "{nothing:?}");
}

/// Whoever does not own the attempt writes nothing of its steps, whatever it asks for.
async fn writes_nothing(ledger: &Ledger, step: StepId) {
    let lost = |result: Result<(), LedgerError>, what: &str| {
        assert!(matches!(result, Err(LedgerError::Lost)), "{what}: {result:?}");
    };
    lost(ledger.ask(step, &ask("align")).await.map(drop), "a known ask");
    lost(ledger.ask(StepId { ordinal: 1, ..step }, &ask("align")).await.map(drop), "a new ask");
    lost(ledger.step_keyed(step, Digest::of(b"key")).await, "a key");
    lost(ledger.step_submitted(step, 1).await, "a submission");
    lost(ledger.step_running(step, "c").await, "a container");
    lost(ledger.step_reused(step, step).await.map(drop), "a reuse");
    for state in StepState::ALL {
        lost(ledger.step_ended(step, &outcome(state)).await.map(drop), state.as_str());
    }
}

/// Taking an attempt over takes its steps over: they are as they were, and go on with the new owner.
#[tokio::test]
async fn steps_belong_to_the_owner_of_their_attempt() {
    let world = World::new().await;
    let attempt = world.running(1).await;
    let step = world.submitted(attempt, 0, "key").await;
    let second = world.reopened("second").await;
    writes_nothing(&second, step).await;
    let before = world.step(step).await;

    assert_eq!(second.take_over().await.unwrap().len(), 1);
    assert_eq!(second.steps(attempt).await.unwrap(), [before]);
    writes_nothing(&world.ledger, step).await;
    second.step_running(step, "container").await.unwrap();
    assert_eq!(second.step_ended(step, &outcome(StepState::Done)).await.unwrap(), 0);
    second.conclude(attempt, &used(), &world.success("out")).await.unwrap();
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// I-7: a cancel goes through to the container before the attempt is cancelled.
#[tokio::test]
async fn i7_an_attempt_ends_after_its_steps() {
    let world = World::new().await;
    let attempt = world.running(1).await;
    let ends = [
        world.success("out"),
        Outcome::Failed(failure("tool", true)),
        Outcome::Cancelled { by: "shell".into() },
        Outcome::Blocked(failure("denied", false)),
    ];
    let step = world.asked(attempt, 0).await;
    for (at, end) in ends.iter().enumerate() {
        match at {
            0 => world.ledger.step_keyed(step, Digest::of(b"key")).await.unwrap(),
            1 => world.ledger.step_submitted(step, 1).await.unwrap(),
            2 => world.ledger.step_running(step, "container").await.unwrap(),
            _ => {}
        }
        assert!(world.ledger.conclude(attempt, &used(), end).await.is_err(), "{end:?}");
    }
    assert_eq!(world.ledger.open_steps().await.unwrap(), [world.step(step).await]);
    world.ledger.step_ended(step, &outcome(StepState::Cancelled)).await.unwrap();
    assert!(world.ledger.open_steps().await.unwrap().is_empty());
    world.ledger.conclude(attempt, &used(), &Outcome::Cancelled { by: "shell".into() }).await.unwrap();
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// An attempt whose end could not be written is closed with its steps: nobody knows what became of
/// those that were submitted.
#[tokio::test]
async fn a_stale_attempt_gives_its_steps_up() {
    let world = World::new().await;
    let attempt = world.running(1).await;
    for (ordinal, key) in [(0, "a"), (1, "b"), (2, "c")] {
        world.submitted(attempt, ordinal, key).await;
    }
    world.asked(attempt, 3).await;
    world.ledger.step_running(StepId { attempt, ordinal: 1 }, "container").await.unwrap();
    world.ledger.step_ended(StepId { attempt, ordinal: 2 }, &outcome(StepState::Done)).await.unwrap();
    world.ledger.close_stale(attempt.run).await.unwrap();
    let steps = world.ledger.steps(attempt).await.unwrap();
    let states: Vec<StepState> = steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [StepState::Lost, StepState::Lost, StepState::Done, StepState::Cancelled]);
    assert_eq!(world.begin(1).await.ordinal, 2);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// The guest's `wait-any` answers with the earliest: two passes must see the same one.
#[tokio::test]
async fn outcomes_are_numbered_in_the_order_in_which_they_became_known() {
    let world = World::new().await;
    let attempts = [world.running(1).await, world.running(2).await];
    for attempt in attempts {
        for ordinal in 0..4 {
            world.submitted(attempt, ordinal, "key").await;
        }
    }
    let order = [(0, 2), (1, 3), (0, 0), (0, 3), (1, 0), (0, 1)];
    let mut given = Vec::new();
    for (of, ordinal) in order {
        let step = StepId { attempt: attempts[of], ordinal };
        given.push(world.ledger.step_ended(step, &outcome(StepState::Done)).await.unwrap());
    }
    assert_eq!(given, [0, 0, 1, 2, 1, 3]);
    let rows = world.ledger.steps(attempts[0]).await.unwrap();
    let stored: Vec<Option<u32>> = rows.iter().map(|row| row.outcome_seq).collect();
    assert_eq!(stored, [Some(1), Some(3), Some(0), Some(2)]);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

#[tokio::test]
async fn a_step_reads_back_as_it_was_written() {
    let world = World::new().await;
    let attempt = world.running(1).await;
    let step = world.submitted(attempt, 0, "key").await;
    world.ledger.step_running(step, "container").await.unwrap();
    let usage = StepUsage { wall_ms: 1, cpu_ms: 2, peak_memory_bytes: 3, queue_ms: 4 };
    let long = format!("\0{}", "ö".repeat(STEP_TAIL_BYTES_MAX));
    let ended = StepOutcome {
        exit_code: Some(-7),
        stdout_tail: "a\0b".into(),
        stderr_tail: long.clone(),
        usage,
        files: vec![captured("a.bam", "aligned"), captured("b.bam", "aligned")],
        stdout: Some(log("the whole")),
        ..outcome(StepState::Done)
    };
    world.ledger.step_ended(step, &ended).await.unwrap();
    let row = world.step(step).await;
    let end = row.outcome.unwrap();
    assert_eq!((row.state, row.container.as_deref()), (StepState::Done, Some("container")));
    assert_eq!((end.exit_code, end.stdout_tail.as_str(), end.usage), (Some(-7), "a\0b", usage));
    assert_eq!(end.stderr_tail.len(), STEP_TAIL_BYTES_MAX);
    assert!(long.ends_with(&end.stderr_tail));
    let names: Vec<&str> = row.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!((names.as_slice(), row.files[1].size_bytes), (["a.bam", "b.bam"].as_slice(), 7));
    assert_eq!(row.stdout, Some(StepLog { digest: Digest::of(b"the whole"), size_bytes: 9 }));
    assert_eq!(row.stderr, None);
    let short = world.ledger.steps_with_tails(attempt, 3).await.unwrap().remove(0).outcome.unwrap();
    assert_eq!((short.stdout_tail.as_str(), short.stderr_tail.as_str()), ("a\0b", "ö"));
    assert_eq!(world.ledger.seal(Digest::of(b"aligned")).await.unwrap(), Some(seal("aligned")));
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// The store's quota counts what steps left, each digest once for a project, whatever else names it.
#[tokio::test]
async fn captured_bytes_are_counted_once() {
    let world = World::new().await;
    let bytes = async || world.ledger.store_bytes(world.project).await.unwrap();
    world.import("imported", "i.bam").await;
    let attempt = world.running(1).await;
    let files = |names: &[&str]| -> Vec<NewStepFile> {
        names.iter().map(|bytes| captured(&format!("{bytes}.bam"), bytes)).collect()
    };
    let step = world.submitted(attempt, 0, "a").await;
    let ended = StepOutcome {
        files: files(&["imported", "four", "five!"]),
        stderr: Some(log("four")),
        ..outcome(StepState::Done)
    };
    world.ledger.step_ended(step, &ended).await.unwrap();
    assert_eq!(bytes().await, 8 + 4 + 5);
    let step = world.submitted(attempt, 1, "b").await;
    let ended = StepOutcome { files: files(&["five!", "seven.."]), ..outcome(StepState::Done) };
    world.ledger.step_ended(step, &ended).await.unwrap();
    assert_eq!(bytes().await, 8 + 4 + 5 + 7);
    // One that was captured first becomes an artifact: it is not counted again.
    world.ledger.conclude(attempt, &used(), &world.success("four")).await.unwrap();
    assert_eq!(bytes().await, 8 + 4 + 5 + 7);
    assert_eq!(world.ledger.objects().await.unwrap().len(), 4);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// A file whose size is not its own leaves the step open, with nothing of it.
#[tokio::test]
async fn i4_files_of_a_step_are_all_or_nothing() {
    let world = World::new().await;
    let attempt = world.running(1).await;
    let step = world.submitted(attempt, 0, "key").await;
    let wrong = NewStepFile { size_bytes: 1, ..captured("b.bam", "more") };
    let ended = StepOutcome { files: vec![captured("a.bam", "a"), wrong], ..outcome(StepState::Done) };
    let refused = world.ledger.step_ended(step, &ended).await;
    assert!(matches!(refused, Err(LedgerError::Damaged { .. })), "{refused:?}");
    let twice = vec![captured("a.bam", "a"), captured("a.bam", "b")];
    assert!(world.ledger.step_ended(step, &StepOutcome { files: twice, ..ended }).await.is_err());
    assert_eq!(world.step(step).await.state, StepState::Submitted);
    assert!(world.ledger.objects().await.unwrap().is_empty());
    assert_eq!(world.ledger.store_bytes(world.project).await.unwrap(), 0);
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// A run of another project, with a step that is done.
async fn of_another_project(world: &World, key: &str) -> StepId {
    let name: ProjectName = "other".parse().unwrap();
    let mut run = world.run(99);
    run.project = identity::project_id(&name);
    world.ledger.ensure_project(run.project, &name).await.unwrap();
    let attempt = world.ledger.begin(&run, &world.attempt()).await.unwrap();
    world.ledger.advance(attempt, AttemptState::Running).await.unwrap();
    let step = world.submitted(attempt, 0, key).await;
    let ended = StepOutcome { files: vec![captured("a.bam", "theirs")], ..outcome(StepState::Done) };
    world.ledger.step_ended(step, &ended).await.unwrap();
    step
}

#[tokio::test]
async fn a_step_is_found_by_its_key_in_its_own_project_and_only_when_it_is_done() {
    let world = World::new().await;
    let found = async |key: &str| {
        let row = world.ledger.step_with_key(world.project, Digest::of(key.as_bytes())).await.unwrap();
        row.map(|row| (row.id, row.files.len()))
    };
    let theirs = of_another_project(&world, "a").await;
    assert_eq!(found("a").await, None);
    let attempt = world.running(1).await;
    for (ordinal, state) in
        [(0, StepState::Failed), (1, StepState::Lost), (2, StepState::Cancelled), (3, StepState::Running)]
    {
        let step = world.submitted(attempt, ordinal, "a").await;
        match state {
            StepState::Running => world.ledger.step_running(step, "container").await.unwrap(),
            ended => drop(world.ledger.step_ended(step, &outcome(ended)).await.unwrap()),
        }
        assert_eq!(found("a").await, None, "{state}");
    }
    let step = StepId { attempt, ordinal: 3 };
    let ended = StepOutcome { files: vec![captured("a.bam", "x")], ..outcome(StepState::Done) };
    world.ledger.step_ended(step, &ended).await.unwrap();
    assert_eq!(found("a").await, Some((step, 1)));
    assert_eq!(found("b").await, None);
    let other = identity::project_id(&"other".parse().unwrap());
    let row = world.ledger.step_with_key(other, Digest::of(b"a")).await.unwrap().unwrap();
    assert_eq!(row.id, theirs);
}

#[tokio::test]
async fn what_is_done_is_used_again_under_its_own_key_alone() {
    let world = World::new().await;
    let theirs = of_another_project(&world, "a").await;
    let first = world.running(1).await;
    let made = world.submitted(first, 0, "a").await;
    let other = world.submitted(first, 1, "b").await;
    let open = world.submitted(first, 2, "a").await;
    let ended = StepOutcome {
        exit_code: Some(3),
        stderr_tail: "no".into(),
        usage: StepUsage { wall_ms: 7, ..StepUsage::default() },
        files: vec![captured("a.bam", "mine")],
        stdout: Some(log("said")),
        ..outcome(StepState::Done)
    };
    world.ledger.step_ended(made, &ended).await.unwrap();
    world.ledger.step_ended(other, &outcome(StepState::Done)).await.unwrap();

    let second = world.running(2).await;
    let step = world.asked(second, 0).await;
    assert!(world.ledger.step_reused(step, made).await.is_err(), "it has no key yet");
    world.ledger.step_keyed(step, Digest::of(b"a")).await.unwrap();
    world.ledger.step_keyed(step, Digest::of(b"a")).await.unwrap();
    let two_keys = world.ledger.step_keyed(step, Digest::of(b"b")).await;
    assert!(matches!(two_keys, Err(LedgerError::Damaged { .. })), "{two_keys:?}");
    for wrong in [theirs, other, open, step, StepId { ordinal: 9, ..made }] {
        let refused = world.ledger.step_reused(step, wrong).await;
        assert!(matches!(refused, Err(LedgerError::Damaged { .. })), "{wrong:?}: {refused:?}");
    }
    let before = world.ledger.store_bytes(world.project).await.unwrap();
    assert_eq!(world.ledger.step_reused(step, made).await.unwrap(), 0);
    assert_eq!(world.ledger.store_bytes(world.project).await.unwrap(), before);
    let (row, origin) = (world.step(step).await, world.step(made).await);
    assert_eq!((row.reused_from, row.try_, row.state), (Some(made), 0, StepState::Done));
    assert_eq!((&row.files, row.stdout), (&origin.files, origin.stdout));
    let (end, of_origin) = (row.outcome.unwrap(), origin.outcome.unwrap());
    assert_eq!((end.exit_code, end.stderr_tail), (of_origin.exit_code, of_origin.stderr_tail));
    assert_eq!(end.usage, StepUsage::default());
    assert_eq!(world.step_events(second).await, ["step_intended", "step_done"]);
    // The one that ran is found again, and not the one that used it.
    let found = world.ledger.step_with_key(world.project, Digest::of(b"a")).await.unwrap().unwrap();
    assert_eq!(found.id, made);
    world.ledger.step_ended(open, &outcome(StepState::Cancelled)).await.unwrap();
    assert_eq!(world.found().await, Vec::<&str>::new());
}

/// A ledger with something of every kind of step.
pub(super) async fn with_steps() -> World {
    let world = World::new().await;
    let first = world.running(1).await;
    let done = world.submitted(first, 0, "a").await;
    world.ledger.step_running(done, "container").await.unwrap();
    let failed = world.submitted(first, 1, "b").await;
    world.ledger.step_ended(failed, &outcome(StepState::Failed)).await.unwrap();
    let ended = StepOutcome {
        stdout_tail: "said".into(),
        files: vec![captured("a.bam", "mine")],
        stdout: Some(log("said")),
        ..outcome(StepState::Done)
    };
    world.ledger.step_ended(done, &ended).await.unwrap();
    let skipped = world.asked(first, 2).await;
    world.ledger.step_ended(skipped, &outcome(StepState::Skipped)).await.unwrap();
    world.ledger.conclude(first, &used(), &Outcome::Failed(failure("limit", false))).await.unwrap();
    let second = world.running(2).await;
    let reused = world.asked(second, 0).await;
    world.ledger.step_keyed(reused, Digest::of(b"a")).await.unwrap();
    world.ledger.step_reused(reused, done).await.unwrap();
    world.submitted(second, 1, "c").await;
    world
}
