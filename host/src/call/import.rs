//! `artifact_import`: bytes from a caller or from under an import root become artifacts.
//!
//! An import belongs to the host, not to the request: the same call made again joins it, and one
//! whose caller was told that it goes on does so without that caller. What nobody waits for and
//! nobody was told of stops.

mod copy;
mod flights;
mod order;

use std::sync::Arc;

use helix_ids::{CanonicalJson, Digest, identity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use flights::Imports;

use self::copy::{Copied, Refusal};
use self::flights::{Flight, stopped};
use self::order::{Item, Origin};
use super::wait::admit_wait;
use super::{CallError, Context, Host};
use crate::artifacts::ArtifactError;
use crate::ledger::{NewArtifact, NewEvent, Reservation};
use crate::policy::{Denial, ImportRoot, Project};
use crate::query::{self, ArtifactSummary, bad};

const TOOL: &str = "artifact_import";

/// When it is worth asking again whether somebody made room.
const QUOTA_RETRY_MS: u64 = 60_000;

/// Give exactly one of `text`, `path` and `files`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactImportArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// The content itself, up to 1 MiB.
    #[serde(default)]
    pub text: Option<String>,
    /// Import root, as `artifact_browse` names it; not needed with one root.
    #[serde(default)]
    pub root: Option<String>,
    /// File beneath the root.
    #[serde(default)]
    pub path: Option<String>,
    /// Many files beneath the root, up to 100.
    #[serde(default)]
    pub files: Option<Vec<ImportFile>>,
    /// E.g. `FASTQ_GZ`; left out, the bytes say. Refused if they contradict.
    #[serde(default)]
    pub type_hint: Option<String>,
    /// Human name; left out, the file's.
    #[serde(default)]
    pub label: Option<String>,
    /// `sha256:…` that the bytes must have.
    #[serde(default)]
    pub checksum_sha256: Option<String>,
    /// How long to wait for the end, 0 to 3600, default 45.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3_600))]
    pub wait_seconds: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportFile {
    pub path: String,
    #[serde(default)]
    pub type_hint: Option<String>,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub checksum_sha256: Option<String>,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactImportResult {
    pub status: ImportStatus,
    /// In the order of the request; while `importing`, those that are in already.
    pub artifacts: Vec<ArtifactSummary>,
    /// While `importing`: how to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportStatus {
    Imported,
    /// Goes on without the caller; the same call made again joins it.
    Importing,
}

/// Imports inline text or files beneath an import root.
///
/// # Errors
/// `import_source_invalid`, `import_root_unknown`, `import_root_required`, `import_path_denied`,
/// `root_private`, `import_too_large`, `import_file_changed`, `imports_full`, `type_unknown`, `type_mismatch`,
/// `label_invalid`, `checksum_invalid`, `checksum_mismatch`, `store_quota`, `store_full`.
pub async fn artifact_import(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactImportArgs,
) -> Result<ArtifactImportResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let wait = admit_wait("/wait_seconds", args.wait_seconds)?;
    let items = order::parse(&args)?;
    let root = if args.text.is_some() {
        None
    } else {
        Some(query::import_root(host, context, &project, TOOL, args.root.as_deref()).await?)
    };

    let key = flight_key(&project, &args)?;
    let stop = CancellationToken::new();
    let import = Import {
        host: host.clone(),
        stop: stop.clone(),
        // The import outlives the request: it takes along who asked, and nothing that waits.
        context: Context { caller: context.caller.clone(), progress: None, gone: CancellationToken::new() },
        project,
        root,
        items,
    };
    let flight = host.imports.join_or_start(key, &context.caller, stop, |report| import.run(report))?;
    flights::follow(flight, context, wait).await
}

/// Equal requests in one project are one import. How long each waits is no part of it.
fn flight_key(project: &Project, args: &ArtifactImportArgs) -> Result<Digest, CallError> {
    let request = ArtifactImportArgs { project_id: None, wait_seconds: None, ..args.clone() };
    let request = serde_json::to_value(request).map_err(CallError::fault)?;
    let canonical = CanonicalJson::of(&json!([project.id, request])).map_err(CallError::fault)?;
    Ok(canonical.digest())
}

/// One import under way.
struct Import {
    host: Arc<Host>,
    context: Context,
    project: Project,
    /// Of an import by path.
    root: Option<ImportRoot>,
    items: Vec<Item>,
    /// Cancelled once nobody wants it.
    stop: CancellationToken,
}

impl Import {
    async fn run(self, report: Arc<watch::Sender<Flight>>) -> Result<Vec<ArtifactSummary>, CallError> {
        let mut done = Vec::with_capacity(self.items.len());
        for item in &self.items {
            if self.stop.is_cancelled() {
                return Err(stopped());
            }
            // What came before a refused file stays: it is whole, and the next try finds it.
            done.push(self.import(item, &report).await?);
            report.send_modify(|flight| flight.arrived(done.clone()));
        }
        Ok(done)
    }

    async fn import(
        &self,
        item: &Item,
        report: &Arc<watch::Sender<Flight>>,
    ) -> Result<ArtifactSummary, CallError> {
        let source = match (&item.origin, &self.root) {
            (Origin::Inline(text), _) => copy::Source::Inline(text.clone()),
            (Origin::File(path), Some(root)) => {
                self.still_allowed(root).await?;
                copy::Source::Beneath(self.host.door(&root.path), path.clone())
            }
            (Origin::File(_), None) => return Err(CallError::fault("an import by path without a root")),
        };
        let (wanted, file_max, stop) = (item.wanted.clone(), self.file_max(), self.stop.clone());
        let opened = match query::blocking(move || copy::open(&source, &wanted, file_max, &stop)).await? {
            Ok(opened) => opened,
            Err(refusal) => return Err(self.refused(item, refusal).await),
        };
        // Held until the ledger counts the bytes: parallel imports share what is left.
        let _room = self.room(opened.size_bytes()).await?;
        let (store, wanted, name, report) =
            (self.host.store.clone(), item.wanted.clone(), item.name.clone(), report.clone());
        let copied = query::blocking(move || {
            let mut progress =
                |done: u64, total: u64| report.send_modify(|flight| flight.moved(&name, done, total));
            copy::copy(&store, opened, &wanted, &mut progress)
        })
        .await?;
        match copied {
            Ok(copied) => {
                crash_point!("import_stored");
                let recorded = self.record(item, copied).await;
                crash_point!("import_recorded");
                recorded
            }
            Err(refusal) => Err(self.refused(item, refusal).await),
        }
    }

    /// Whether policy of now has the root as it was: an import may have begun long ago.
    async fn still_allowed(&self, root: &ImportRoot) -> Result<(), CallError> {
        let now =
            query::import_root(&self.host, &self.context, &self.project, TOOL, Some(root.name.as_str()))
                .await?;
        if now.path == root.path && now.max_file_bytes == root.max_file_bytes {
            return Ok(());
        }
        Err(CallError::Busy {
            code: "policy_changed",
            message: format!("policy changed the import root {} while the import was under way", root.name),
            retry_after_ms: 0,
        })
    }

    /// The root's own limit for one file.
    fn file_max(&self) -> u64 {
        self.root.as_ref().and_then(|root| root.max_file_bytes).unwrap_or(u64::MAX)
    }

    /// Room for so many bytes in what the project's quota leaves.
    async fn room(&self, bytes: u64) -> Result<Reservation, CallError> {
        let quota = self.host.policy().caller.store_bytes;
        let room = self.host.ledger.reserve(self.project.id, bytes, quota).await.map_err(CallError::fault)?;
        room.map_err(|none| quota_full(&self.project, none.left_bytes))
    }

    /// Artifact, label and event in one transaction.
    async fn record(&self, item: &Item, copied: Copied) -> Result<ArtifactSummary, CallError> {
        let Copied { stored, artifact_type } = copied;
        let (project, ledger) = (&self.project, &self.host.ledger);
        let id = identity::artifact_id(project.id, stored.digest, artifact_type);
        let source = match (&item.origin, &self.root) {
            (Origin::File(path), Some(root)) => {
                json!({"kind": "local_path", "root": root.name, "path": path})
            }
            (Origin::File(_) | Origin::Inline(_), _) => json!({"kind": "inline_text"}),
        };
        let label = item.wanted.label.as_ref().map(ToString::to_string);
        let event = NewEvent {
            project: project.id,
            kind: "artifact_imported",
            caller: self.context.caller.described(),
            body: json!({
                "artifact_id": id, "checksum_sha256": stored.digest, "type": artifact_type,
                "size_bytes": stored.size_bytes.to_string(), "label": label, "source": source,
            }),
        };
        let new = NewArtifact {
            id,
            project: project.id,
            digest: stored.digest,
            artifact_type,
            size_bytes: stored.size_bytes,
            label,
            seal: stored.seal,
        };
        let row = ledger.add_artifact(new, event).await.map_err(CallError::fault)?;
        Ok(ArtifactSummary::from(&row))
    }

    async fn refused(&self, item: &Item, refusal: Refusal) -> CallError {
        match refusal {
            Refusal::Type { hint, sniffed } => {
                bad("type_mismatch", &item.field, format!("is no {hint}; its bytes look like {sniffed}"))
            }
            Refusal::Store(error @ ArtifactError::Path { .. }) => match &self.root {
                Some(root) => {
                    query::path_denied(&self.host, &self.context, &self.project, TOOL, root, error).await
                }
                None => CallError::fault(error),
            },
            Refusal::Store(error @ ArtifactError::TooLarge { .. }) => match &self.root {
                Some(root) => {
                    let denial = file_too_large(root, self.file_max());
                    self.host.deny(&self.context, Some(&self.project), Some(TOOL), denial).await
                }
                None => CallError::fault(error),
            },
            Refusal::Store(ArtifactError::Cancelled) => stopped(),
            Refusal::Store(error) => query::refused(&item.field, error),
        }
    }
}

fn file_too_large(root: &ImportRoot, file_max: u64) -> Denial {
    Denial {
        code: "import_too_large",
        message: format!("a file from root {} may have {file_max} bytes at most", root.name),
        advice: "take another root, or ask the operator to raise its max_file".to_owned(),
        rule: format!("[[import_root]] {} max_file", root.name),
        line: Some(root.line),
    }
}

/// As the host says it of a run's outputs.
fn quota_full(project: &Project, left_bytes: u64) -> CallError {
    let message =
        format!("project {} may store {left_bytes} bytes more; host_info shows what is left", project.name);
    CallError::Busy { code: "store_quota", message, retry_after_ms: QUOTA_RETRY_MS }
}
