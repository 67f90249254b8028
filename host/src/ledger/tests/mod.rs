//! The ledger on a real file.

mod integrity;
mod model;
mod reads;
mod states;
mod step_states;
mod steps;
mod writer;

use std::path::PathBuf;

use helix_ids::{CanonicalJson, Digest, ProjectName, RunIdentity, identity};
use serde_json::json;

use super::{
    AttemptId, Failure, Ledger, NewArtifact, NewAttempt, NewEvent, NewRun, Outcome, OutputRow, Owner,
    RunInput, Seal, Used,
};

struct World {
    _folder: tempfile::TempDir,
    path: PathBuf,
    ledger: Ledger,
    project: helix_ids::ProjectId,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let ledger = Ledger::open(&path, Owner("first".into())).await.unwrap();
        let name: ProjectName = "lab".parse().unwrap();
        let project = identity::project_id(&name);
        ledger.ensure_project(project, &name).await.unwrap();
        Self { _folder: folder, path, ledger, project }
    }

    /// The same file for another process.
    async fn reopened(&self, owner: &str) -> Ledger {
        Ledger::open(&self.path, Owner(owner.into())).await.unwrap()
    }

    /// SQL that no code of ours would send.
    async fn raw(&self, sql: &str) -> Result<u64, sqlx::Error> {
        use sqlx::ConnectOptions;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.path);
        let mut connection = options.connect().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await
            .map(|done| done.rows_affected())
    }

    fn artifact(&self, bytes: &str, label: &str) -> NewArtifact {
        let digest = Digest::of(bytes.as_bytes());
        let artifact_type = helix_ids::ArtifactType::Text;
        let size_bytes = bytes.len() as u64;
        NewArtifact {
            id: identity::artifact_id(self.project, digest, artifact_type),
            project: self.project,
            digest,
            artifact_type,
            size_bytes,
            label: Some(label.into()),
            seal: Seal { device: 1, inode: 2, size_bytes, mtime_ns: 3, ctime_ns: 4 },
        }
    }

    async fn import(&self, bytes: &str, label: &str) -> helix_ids::ArtifactId {
        let event = NewEvent {
            project: self.project,
            kind: "artifact_imported",
            caller: "shell".into(),
            body: json!({"label": label}),
        };
        self.ledger.add_artifact(self.artifact(bytes, label), event).await.unwrap().id
    }

    fn run(&self, param: i64) -> NewRun {
        self.run_with(param, Vec::new())
    }

    fn run_with(&self, param: i64, inputs: Vec<RunInput>) -> NewRun {
        let envelope = CanonicalJson::of(&json!({"envelope": 1, "params": {"n": param}})).unwrap();
        let slice = CanonicalJson::of(&json!({"slice": 1})).unwrap();
        let (tool, contract) = ("fastq_stats".parse().unwrap(), "v1".parse().unwrap());
        let identity = RunIdentity::new(tool, contract, &slice, &envelope);
        NewRun {
            id: identity.run_id(),
            digest: identity.digest(),
            project: self.project,
            component: Digest::of(b"component"),
            params_hash: identity.params_hash,
            policy_hash: identity.policy_hash,
            tool: identity.tool,
            contract: identity.contract,
            envelope: envelope.to_string(),
            slice: slice.to_string(),
            inputs,
        }
    }

    fn attempt(&self) -> NewAttempt {
        let policy_text = "version = 1\n".to_owned();
        NewAttempt {
            caller: "uid 1000 shell".into(),
            policy_file: Digest::of(policy_text.as_bytes()),
            policy_text,
            engine: "wasmtime 48".into(),
            host_version: "0.1.0".into(),
            plan: "{}".into(),
            created_ms: Ledger::now_ms(),
        }
    }

    fn success(&self, bytes: &str) -> Outcome {
        let output = OutputRow {
            role: "report".parse().unwrap(),
            key: "all".parse().unwrap(),
            artifact: self.artifact(bytes, "report.txt"),
        };
        Outcome::Succeeded { result: "{}".into(), summary: "done".into(), outputs: vec![output] }
    }

    async fn begin(&self, param: i64) -> AttemptId {
        self.ledger.begin(&self.run(param), &self.attempt()).await.unwrap()
    }

    async fn record(&self, param: i64, outcome: &Outcome) -> AttemptId {
        self.ledger.record(&self.run(param), &self.attempt(), &used(), outcome).await.unwrap()
    }

    /// Codes of what `fsck` finds.
    async fn found(&self) -> Vec<&'static str> {
        self.ledger.fsck().await.unwrap().iter().map(|finding| finding.code).collect()
    }
}

fn used() -> Used {
    Used { fuel: 12, memory_bytes: 65_536, wall_ms: 3, log: "hello\n".into(), log_dropped_bytes: 0 }
}

fn failure(class: &str, is_answer: bool) -> Failure {
    Failure {
        class: class.into(),
        code: "component_denied".into(),
        message: "it failed".into(),
        advice: "look".into(),
        is_answer,
    }
}
