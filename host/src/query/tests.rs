//! The host tools over a real ledger and a real store.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use helix_ids::{CanonicalJson, Digest, RunId, RunIdentity, identity};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::call::{self, CallError, Caller, Context, Host, HostSettings};
use crate::ledger::{
    AttemptState, NewAsk, NewAttempt, NewRun, NewStepFile, NewStepLog, Outcome, StepId, StepOutcome,
    StepState, StepUsage, Used,
};

const READS: &str = "@r1\nACGT\n+\nIIII\n";

/// A home with two projects, each with a root of its own.
struct Place {
    host: Arc<Host>,
    context: Context,
    folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["data", "other", "results", "home"] {
            fs::create_dir(path(name)).unwrap();
        }
        write(path("data/r1.fastq"), READS);
        write(path("data/large.txt"), &"x".repeat(3_000));
        write(path("other/secret.txt"), "of another project");
        let policy = format!(
            "version = 1\nname = \"test\"\n\n[limits.host]\nfree_space_floor = \"1KiB\"\n\n\
             [limits.caller]\nstore_bytes = \"4KiB\"\n\n\
             [[project]]\nname = \"mine\"\ncomponents = \"all\"\n\n\
             [[project]]\nname = \"theirs\"\ncomponents = \"all\"\n\n\
             [[import_root]]\nname = \"data\"\npath = {data:?}\nprojects = [\"mine\"]\nmax_file = \"2KiB\"\n\n\
             [[import_root]]\nname = \"other\"\npath = {other:?}\nprojects = [\"theirs\"]\n\n\
             [[export_root]]\nname = \"results\"\npath = {results:?}\nprojects = [\"mine\"]\n",
            data = path("data"),
            other = path("other"),
            results = path("results"),
        );
        write(path("home/policy.toml"), &policy);
        let settings = HostSettings {
            home: path("home"),
            policy_file: path("home/policy.toml"),
            runner_exe: PathBuf::from("/nonexistent"),
            cache_key: [7; 32],
        };
        let host = Host::open(settings).await.unwrap();
        let caller = Caller::local(1, "test");
        Self { host, context: Context { caller, progress: None, gone: CancellationToken::new() }, folder }
    }

    async fn import(&self, arguments: Value) -> Result<ArtifactSummary, CallError> {
        let done = call::artifact_import(&self.host, &self.context, args(arguments)).await?;
        Ok(done.artifacts.first().cloned().unwrap())
    }

    /// Kinds of the events of project `mine`, oldest first.
    async fn events(&self) -> Vec<String> {
        let chain = identity::project_id(&"mine".parse().unwrap()).to_string();
        self.host.ledger.events(&chain, u32::MAX).await.unwrap().into_iter().map(|event| event.kind).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test writes the files that it imports")]
fn write(path: PathBuf, text: &str) {
    fs::write(path, text).unwrap();
}

/// Arguments as a client sends them.
fn args<T: DeserializeOwned>(arguments: Value) -> T {
    serde_json::from_value(arguments).unwrap()
}

/// Whose turn it is, and the reason code.
fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> (&'static str, String) {
    match result.unwrap_err() {
        CallError::BadArguments { code, .. } => ("caller", code.to_owned()),
        CallError::Denied { denial, .. } => ("operator", denial.code.to_owned()),
        CallError::Busy { code, .. } => ("later", code.to_owned()),
        other => ("other", format!("{other:?}")),
    }
}

#[tokio::test]
async fn i5_bytes_go_in_and_the_same_bytes_come_out() {
    let place = Place::new().await;
    let (host, context) = (&place.host, &place.context);
    let imported = place.import(json!({"project_id": "mine", "path": "r1.fastq"})).await.unwrap();
    assert_eq!((imported.artifact_type.as_str(), imported.size_bytes.as_str()), ("FASTQ", "16"));
    assert_eq!(imported.label.as_deref(), Some("r1.fastq"));
    assert_eq!(imported.checksum_sha256, Digest::of(READS.as_bytes()).to_string());
    let one = json!({"project_id": "mine", "artifact_id": imported.artifact_id});

    let got = artifact_get(host, context, args(one.clone())).await.unwrap();
    assert_eq!(got.artifact, imported);
    let shown = artifact_preview_text(host, context, args(one.clone())).await.unwrap();
    assert_eq!((shown.preview.as_str(), shown.truncated, shown.decoded), (READS, false, false));
    let read = read_artifact(host, context, None, &imported.artifact_id, Some(1..3)).await.unwrap();
    assert_eq!(read.content, ReadContent::Text("r1".to_owned()));
    let exported = call::artifact_export(host, context, args(one.clone())).await.unwrap();
    assert_eq!(fs::read_to_string(&exported.path).unwrap(), READS);
    assert_eq!(PathBuf::from(exported.path), place.folder.path().join("results/r1.fastq"));

    let again = call::artifact_export(host, context, args(one.clone())).await;
    assert_eq!(code(again), ("caller", "export_exists".to_owned()));
    let mut over = one;
    over["overwrite"] = json!(true);
    let over = call::artifact_export(host, context, args(over)).await;
    assert_eq!(code(over), ("operator", "export_overwrite_denied".to_owned()));
    let kinds = ["artifact_imported", "artifact_previewed", "artifact_read", "artifact_exported", "denied"];
    assert_eq!(place.events().await, kinds);
}

#[tokio::test]
async fn a_refused_import_stores_nothing_and_says_whose_turn_it_is() {
    let place = Place::new().await;
    let hash = Digest::of(b"other").to_string();
    let cases = [
        (json!({"path": "../other/secret.txt"}), "operator", "import_path_denied"),
        (json!({"path": "missing.txt"}), "operator", "import_path_denied"),
        (json!({"path": "secret.txt", "root": "other"}), "operator", "import_root_unknown"),
        (json!({"path": "large.txt"}), "operator", "import_too_large"),
        (json!({"path": "r1.fastq", "type_hint": "BAM"}), "caller", "type_mismatch"),
        (json!({"path": "r1.fastq", "checksum_sha256": hash}), "caller", "checksum_mismatch"),
        (json!({"text": "x".repeat(5_000)}), "later", "store_quota"),
        (json!({"text": "x", "path": "r1.fastq"}), "caller", "import_source_invalid"),
        (json!({"text": "x", "wait_seconds": 3_601}), "caller", "argument_range"),
    ];
    for (mut arguments, turn, reason) in cases {
        arguments["project_id"] = json!("mine");
        let refused = place.import(arguments.clone()).await;
        assert_eq!(code(refused), (turn, reason.to_owned()), "{arguments}");
    }
    let listed =
        artifact_list(&place.host, &place.context, args(json!({"project_id": "mine"}))).await.unwrap();
    assert!(listed.artifacts.is_empty());
    assert!(!place.host.store.has(&Digest::of(READS.as_bytes()), 16));
    assert!(place.import(json!({"project_id": "mine", "path": "r1.fastq"})).await.is_ok());
}

#[tokio::test]
async fn foreign_and_unknown_ids_give_the_same_answer() {
    let place = Place::new().await;
    let (host, context) = (&place.host, &place.context);
    let theirs = place.import(json!({"project_id": "theirs", "text": "secret"})).await.unwrap();
    let nobodys = helix_ids::ArtifactId::from_digest(&Digest::of(b"nobody")).to_string();
    let run = RunId::from_digest(&Digest::of(b"nobody")).to_string();
    let mut answers = Vec::new();
    for id in [theirs.artifact_id.as_str(), &nobodys, "art_x", ""] {
        let one = json!({"project_id": "mine", "artifact_id": id});
        let answered = [
            artifact_get(host, context, args(one.clone())).await.map(drop),
            artifact_preview_text(host, context, args(one.clone())).await.map(drop),
            artifact_preview_image(host, context, args(one.clone())).await.map(drop),
            call::artifact_export(host, context, args(one.clone())).await.map(drop),
            read_artifact(host, context, Some("mine"), id, None).await.map(drop),
        ];
        for answer in answered {
            let text = answer.unwrap_err().to_string();
            answers.push(text.replace(&format!("artifact {id} "), "artifact ID "));
        }
    }
    answers.dedup();
    assert_eq!(answers, ["/artifact_id: no artifact ID in this project; artifact_list shows what there is"]);
    for id in [run.as_str(), "run_x"] {
        let one = json!({"project_id": "mine", "run_id": id});
        let pair = json!({"project_id": "mine", "a": id});
        let answered = [
            run_get(host, context, args(one.clone())).await.map(drop),
            run_logs(host, context, args(one.clone())).await.map(drop),
            call::run_wait(host, context, args(one.clone())).await.map(drop),
            call::run_cancel(host, context, args(one)).await.map(drop),
            run_explain(host, context, args(pair)).await.map(drop),
        ];
        for answer in answered {
            assert_eq!(code(answer), ("caller", "run_unknown".to_owned()));
        }
    }
    assert_eq!(
        code(artifact_list(host, context, args(json!({"project_id": "nobodys"}))).await).1,
        "project_unknown"
    );
    assert_eq!(code(artifact_list(host, context, args(json!({}))).await).1, "project_required");
}

#[tokio::test]
async fn lists_page_without_gap_and_refuse_a_forged_cursor() {
    let place = Place::new().await;
    let (host, context) = (&place.host, &place.context);
    let mut made = Vec::new();
    for n in 0..45 {
        let text = json!({"project_id": "mine", "text": format!("text {n}")});
        made.push(place.import(text).await.unwrap().artifact_id);
    }
    made.reverse();
    let (mut seen, mut lengths, mut cursor) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        let asked = json!({"project_id": "mine", "type": "TEXT", "cursor": cursor});
        let page = artifact_list(host, context, args(asked)).await.unwrap();
        lengths.push(page.artifacts.len());
        seen.extend(page.artifacts.into_iter().map(|artifact| artifact.artifact_id));
        match page.next_cursor {
            Some(next) => cursor = json!(next),
            None => break,
        }
    }
    assert_eq!((lengths.as_slice(), &seen), ([20, 20, 5].as_slice(), &made));
    let theirs = place.import(json!({"project_id": "theirs", "text": "x"})).await.unwrap().artifact_id;
    for forged in ["", "1", "' OR 1=1 --", &theirs] {
        let asked = json!({"project_id": "mine", "cursor": forged});
        assert_eq!(
            code(artifact_list(host, context, args(asked.clone())).await).1,
            "cursor_unknown",
            "{forged}"
        );
        assert_eq!(code(run_list(host, context, args(asked.clone())).await).1, "cursor_unknown", "{forged}");
        assert_eq!(code(artifact_browse(host, context, args(asked)).await).1, "cursor_unknown", "{forged}");
    }
}

#[tokio::test]
async fn what_a_caller_may_do_is_told_and_nothing_of_the_rest() {
    let place = Place::new().await;
    let (host, context) = (&place.host, &place.context);
    place.import(json!({"project_id": "mine", "text": "0123456789"})).await.unwrap();
    let info = host_info(host, context, args(json!({"project_id": "mine"}))).await.unwrap();
    let info = serde_json::to_value(&info).unwrap();
    assert_eq!(info["projects"][0]["import_roots"], json!([{"name": "data", "max_file_bytes": "2048"}]));
    assert_eq!(info["projects"][0]["store_bytes_left"], json!("4086"));
    assert_eq!(info["limits"]["store_has_room"], json!(true));
    let folder = place.folder.path().to_str().unwrap();
    assert!(!info.to_string().contains(folder), "a path of the host is told: {info}");

    let browsed = artifact_browse(host, context, args(json!({"project_id": "mine"}))).await.unwrap();
    let names: Vec<_> = browsed.entries.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!((names.as_slice(), browsed.total), (["large.txt", "r1.fastq"].as_slice(), 2));
    let out = artifact_browse(host, context, args(json!({"project_id": "mine", "path": ".."}))).await;
    assert_eq!(code(out), ("operator", "import_path_denied".to_owned()));
}

/// A run that ended, as the main path writes it.
async fn recorded(place: &Place, min_quality: u32) -> RunId {
    let (run, attempt) = planned(place, min_quality);
    let used = Used { log: "hello\u{1b}[2J".to_owned(), fuel: 5, ..Used::default() };
    let outcome = Outcome::Succeeded {
        result: "{\"n\":1}".to_owned(),
        summary: "done".to_owned(),
        outputs: Vec::new(),
    };
    place.host.ledger.record(&run, &attempt, &used, &outcome).await.unwrap();
    run.id
}

/// A run that began, with its first attempt.
fn planned(place: &Place, min_quality: u32) -> (NewRun, NewAttempt) {
    let project = identity::project_id(&"mine".parse().unwrap());
    let component = Digest::of(b"component");
    let envelope = json!({"envelope": 1, "project": project, "component": component, "params": {"min_quality": min_quality}, "inputs": []});
    let envelope = CanonicalJson::of(&envelope).unwrap();
    let slice = CanonicalJson::of(&json!({"slice": 1, "component": component, "tool": "t"})).unwrap();
    let identity = RunIdentity::new("t".parse().unwrap(), "v1".parse().unwrap(), &slice, &envelope);
    let run = NewRun {
        id: identity.run_id(),
        digest: identity.digest(),
        project,
        tool: identity.tool.clone(),
        contract: identity.contract.clone(),
        component,
        params_hash: identity.params_hash,
        policy_hash: identity.policy_hash,
        envelope: envelope.to_string(),
        slice: slice.to_string(),
        inputs: Vec::new(),
    };
    let policy = place.host.policy();
    let attempt = NewAttempt {
        caller: "uid:1 test".to_owned(),
        policy_file: policy.file_digest(),
        policy_text: policy.text().to_owned(),
        engine: "engine".to_owned(),
        host_version: "0".to_owned(),
        plan: "null".to_owned(),
        created_ms: crate::ledger::Ledger::now_ms(),
    };
    (run, attempt)
}

/// A run whose guest started two containers: the first printed more than a record holds, the second
/// still runs.
async fn with_steps(place: &Place, printed: &str) -> RunId {
    let (run, attempt) = planned(place, 30);
    let ledger = &place.host.ledger;
    let attempt = ledger.begin(&run, &attempt).await.unwrap();
    ledger.advance(attempt, AttemptState::Running).await.unwrap();
    for ordinal in 0..2 {
        let ask = NewAsk {
            kind: "start",
            text: json!({"step": ordinal}).to_string(),
            name: "align".to_owned(),
            image: "registry.example/bwa".to_owned(),
            backend: "docker".to_owned(),
        };
        let step = StepId { attempt, ordinal };
        ledger.ask(step, &ask).await.unwrap();
        ledger.step_keyed(step, Digest::of(b"key")).await.unwrap();
        ledger.step_submitted(step, 1).await.unwrap();
        ledger.step_running(step, "container").await.unwrap();
    }
    let put = |bytes: &str| place.host.store.put(&mut bytes.as_bytes(), 1 << 20, &mut |_| ()).unwrap();
    let (log, bam) = (put(printed), put("aligned"));
    let outcome = StepOutcome {
        state: StepState::Done,
        exit_code: Some(1),
        stdout_tail: "aligned\u{1b}[2J".to_owned(),
        stderr_tail: "the end".to_owned(),
        failure: None,
        usage: StepUsage::default(),
        files: vec![NewStepFile {
            name: "a.bam".to_owned(),
            artifact_type: helix_ids::ArtifactType::Bam,
            digest: bam.digest,
            size_bytes: bam.size_bytes,
            seal: bam.seal,
        }],
        stdout: None,
        stderr: Some(NewStepLog { digest: log.digest, size_bytes: log.size_bytes, seal: log.seal }),
    };
    ledger.step_ended(StepId { attempt, ordinal: 0 }, &outcome).await.unwrap();
    run.id
}

#[tokio::test]
async fn a_run_shows_its_steps_and_all_that_one_printed() {
    let place = Place::new().await;
    let (host, context) = (&place.host, &place.context);
    let printed = format!("{}the end", "ö".repeat(50_000));
    let run = with_steps(&place, &printed).await;
    let one = json!({"project_id": "mine", "run_id": run});
    let got = run_get(host, context, args(one.clone())).await.unwrap();
    let [first, second] = got.attempts[0].steps.as_slice() else { panic!("{got:?}") };
    assert_eq!((first.state.as_str(), first.exit_code, first.try_), ("done", Some(1), 1));
    assert_eq!((first.stdout_tail.as_str(), first.stderr_tail.as_str()), ("aligned\\u{1b}[2J", "the end"));
    assert_eq!((first.captures[0].name.as_str(), first.captures[0].size_bytes.as_str()), ("a.bam", "7"));
    assert_eq!(first.stderr.as_ref().unwrap().size_bytes, printed.len().to_string());
    assert_eq!((second.state.as_str(), second.exit_code, second.usage.as_ref()), ("running", None, None));

    let logs = async |more: Value| {
        let mut asked = one.clone();
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        run_logs(host, context, args(asked)).await
    };
    let whole = logs(json!({"step": 0, "tail_bytes": 262_144})).await.unwrap();
    assert_eq!((whole.text.as_str(), whole.truncated), (printed.as_str(), false));
    let end = logs(json!({"step": 0, "tail_bytes": 8, "stream": "stderr"})).await.unwrap();
    assert_eq!((end.text.as_str(), end.truncated, end.attempt), ("the end", true, 1));
    assert_eq!(end.size_bytes, printed.len().to_string());
    let kept = logs(json!({"step": 0, "stream": "stdout"})).await.unwrap();
    assert_eq!((kept.text.as_str(), kept.size_bytes.as_str()), ("aligned\\u{1b}[2J", "11"));
    assert_eq!(logs(json!({"step": 1})).await.unwrap().text, "");
    assert_eq!(place.events().await, ["run_log_read", "run_log_read"]);

    for (more, reason) in [
        (json!({"step": 2}), "step_unknown"),
        (json!({"attempt": 2}), "attempt_unknown"),
        (json!({"attempt": 0}), "attempt_unknown"),
        (json!({"stream": "stdout"}), "argument_range"),
        (json!({"tail_bytes": 0}), "argument_range"),
        (json!({"tail_bytes": 262_145}), "argument_range"),
    ] {
        assert_eq!(code(logs(more.clone()).await), ("caller", reason.to_owned()), "{more}");
    }
    let tool = json!({"project_id": "mine", "run_id": recorded(&place, 20).await});
    assert_eq!(run_logs(host, context, args(tool)).await.unwrap().text, "hello\\u{1b}[2J");
}

#[tokio::test]
async fn i6_a_run_tells_how_it_came_about_and_two_tell_where_they_differ() {
    let place = Place::new().await;
    let (host, context) = (&place.host, &place.context);
    let (a, b) = (recorded(&place, 20).await, recorded(&place, 25).await);

    let listed =
        run_list(host, context, args(json!({"project_id": "mine", "state": "succeeded"}))).await.unwrap();
    let ids: Vec<String> = listed.runs.iter().map(|run| run.run_id.clone()).collect();
    assert_eq!(ids, [b.to_string(), a.to_string()]);
    let none = run_list(host, context, args(json!({"project_id": "mine", "tool": "u"}))).await.unwrap();
    assert!(none.runs.is_empty());

    let got = run_get(host, context, args(json!({"project_id": "mine", "run_id": a, "events": true})))
        .await
        .unwrap();
    let attempt = got.attempts.first().unwrap();
    assert_eq!((got.state.as_str(), attempt.state.as_str()), ("succeeded", "succeeded"));
    assert_eq!(
        (attempt.result.clone(), attempt.log_tail.as_str()),
        (Some(json!({"n": 1})), "hello\\u{1b}[2J")
    );
    assert!(got.events.is_some_and(|events| !events.is_empty()));

    let explained =
        run_explain(host, context, args(json!({"project_id": "mine", "a": a, "b": b}))).await.unwrap();
    assert_eq!(explained.summary, "params.min_quality: 20 → 25");
    let alone = run_explain(host, context, args(json!({"project_id": "mine", "a": a}))).await.unwrap();
    let preimage = alone.a.preimage.as_bytes();
    assert_eq!(RunId::from_digest(&Digest::of(preimage)), a);
    let waited =
        call::run_wait(host, context, args(json!({"project_id": "mine", "run_id": a}))).await.unwrap();
    assert_eq!(waited.status, crate::call::Status::Succeeded);
    let cancelled =
        call::run_cancel(host, context, args(json!({"project_id": "mine", "run_id": a}))).await.unwrap();
    assert_eq!(cancelled.state, "succeeded");
}
