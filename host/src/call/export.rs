//! `artifact_export`: an artifact's bytes become a named file under an export root.
//!
//! Whoever waits for it is needed to the end: an export that nobody waits for stops, and leaves
//! nothing. Connections take turns, for a disk serves many at once no sooner than a few.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Handle;

use super::error::RETRY_FULL_STORE_MS;
use super::{CallError, Context, Host};
use crate::artifacts::{self, ArtifactError, Export, Swept};
use crate::ledger::{ArtifactRow, NewEvent};
use crate::policy::{Denial, ExportRoot, Project};
use crate::query::{self, bad};
use crate::run::Turns;
use crate::run::turns::Turn;

const TOOL: &str = "artifact_export";

/// Exports that write at once, over all connections.
const AT_ONCE: usize = 4;

/// The exports of one host.
#[derive(Debug)]
pub struct Exports {
    turns: Turns,
    swept: Arc<Swept>,
}

impl Default for Exports {
    fn default() -> Self {
        Self { turns: Turns::new(AT_ONCE), swept: Arc::default() }
    }
}

impl Exports {
    /// Waits for a turn, for as long as the caller waits.
    async fn turn(&self, context: &Context) -> Result<Turn, CallError> {
        let caller = &context.caller;
        let name = caller.name();
        tokio::select! {
            turn = self.turns.take(&name, caller.connection, u64::MAX) => Ok(turn),
            () = context.gone.cancelled() => Err(left()),
        }
    }
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactExportArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    pub artifact_id: String,
    /// Export root; not needed with one root.
    #[serde(default)]
    pub root: Option<String>,
    /// File name beneath the root; left out, the artifact's label.
    #[serde(default)]
    pub name: Option<String>,
    /// Replaces a file of this name, where policy allows it.
    #[serde(default)]
    pub overwrite: bool,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactExportResult {
    pub artifact_id: String,
    /// Where the file lies, for a person.
    pub path: String,
    /// Decimal digits.
    pub size_bytes: String,
    pub checksum_sha256: String,
}

/// Writes an artifact's proved bytes as a named file under an export root.
///
/// # Errors
/// `artifact_unknown`, `artifact_gone`, `export_root_unknown`, `export_root_required`,
/// `export_path_denied`, `export_exists`, `export_overwrite_denied`, `export_full`,
/// `root_private`, `request_cancelled`.
pub async fn artifact_export(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactExportArgs,
) -> Result<ArtifactExportResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let row = query::find_artifact(host, &project, "/artifact_id", &args.artifact_id).await?;
    let root = admitted(host, context, &project, args.root.as_deref(), args.overwrite).await?;
    let name = args.name.unwrap_or_else(|| default_name(&row));

    // Held until the bytes are there: to prove them may be a read of all of them, too.
    let turn = host.exports.turn(context).await?;
    // Policy of now: the turn may have been long in coming.
    let root = admitted(host, context, &project, Some(root.name.as_str()), args.overwrite).await?;
    let mut export = Export {
        file: query::open_proved(host, "/artifact_id", &row).await?,
        relative: name.clone(),
        overwrite: args.overwrite,
        floor_bytes: host.policy().host.free_space_floor_bytes,
        gone: context.gone.clone(),
        swept: Arc::clone(&host.exports.swept),
    };
    let event = NewEvent {
        project: project.id,
        kind: "artifact_exported",
        caller: context.caller.described(),
        body: json!({
            "artifact_id": row.id, "checksum_sha256": row.digest, "size_bytes": row.size_bytes.to_string(),
            "root": root.name, "name": name, "overwrite": args.overwrite,
        }),
    };
    let (opener, folder) = (Arc::clone(host), root.path.clone());
    let written = query::blocking(move || {
        // Given back by whoever writes, not by whoever may no longer wait for it.
        let _turn = turn;
        let record = || {
            let recorded = Handle::current().block_on(opener.ledger.event(event));
            recorded.map_err(|source| ArtifactError::Io {
                what: "record the export".to_owned(),
                source: std::io::Error::other(source),
            })
        };
        artifacts::export_beneath(&opener.door(&folder), &mut export, record)
    })
    .await?;
    let path = match written {
        Ok(path) => path,
        Err(error) => return Err(refused(host, context, &project, &root, error).await),
    };
    Ok(ArtifactExportResult {
        artifact_id: row.id.to_string(),
        path: path.display().to_string(),
        size_bytes: row.size_bytes.to_string(),
        checksum_sha256: row.digest.to_string(),
    })
}

/// The export root, if what is asked for may be done there.
async fn admitted(
    host: &Arc<Host>,
    context: &Context,
    project: &Project,
    asked: Option<&str>,
    overwrite: bool,
) -> Result<ExportRoot, CallError> {
    let root = export_root(host, context, project, asked).await?;
    if overwrite && !root.overwrite {
        let denial = overwrite_denied(&root);
        return Err(host.deny(context, Some(project), Some(TOOL), denial).await);
    }
    Ok(root)
}

/// The export root that a caller means: by name, or by saying nothing when there is one.
async fn export_root(
    host: &Arc<Host>,
    context: &Context,
    project: &Project,
    asked: Option<&str>,
) -> Result<ExportRoot, CallError> {
    let policy = host.policy();
    let found = match asked {
        Some(name) => policy.export_root(project, name).cloned(),
        None => match policy.export_roots(project).as_slice() {
            [only] => Ok((*only).clone()),
            roots => {
                let names = roots.iter().map(|root| root.name.as_str());
                return Err(query::root_required("export_root_required", "[[export_root]]", names));
            }
        },
    };
    match found {
        Ok(root) => Ok(root),
        Err(denial) => Err(host.deny(context, Some(project), Some(TOOL), denial).await),
    }
}

/// The artifact's label; one without gets its id and its type's usual ending.
fn default_name(row: &ArtifactRow) -> String {
    row.label.clone().unwrap_or_else(|| format!("{}{}", row.id, row.artifact_type.extension()))
}

fn overwrite_denied(root: &ExportRoot) -> Denial {
    Denial {
        code: "export_overwrite_denied",
        message: format!("files under export root {} are not replaced", root.name),
        advice: "choose another name".to_owned(),
        rule: format!("[[export_root]] {} overwrite", root.name),
        line: Some(root.line),
    }
}

async fn refused(
    host: &Arc<Host>,
    context: &Context,
    project: &Project,
    root: &ExportRoot,
    error: ArtifactError,
) -> CallError {
    match error {
        ArtifactError::Path { code: code @ "export_exists", message } => {
            let other =
                if root.overwrite { "choose another name, or overwrite" } else { "choose another name" };
            bad(code, "/name", format!("{message}; {other}"))
        }
        ArtifactError::Full { floor_bytes } => {
            let message = format!(
                "the disk of export root {} would have less than the {floor_bytes} bytes free that policy keeps",
                root.name
            );
            CallError::Busy { code: "export_full", message, retry_after_ms: RETRY_FULL_STORE_MS }
        }
        ArtifactError::Cancelled => left(),
        ArtifactError::Path { code, message } => {
            let advice = if code == "root_private" {
                "ask the operator to give this root a folder of its own"
            } else {
                "give a plain relative name"
            };
            let denial = Denial {
                code,
                message,
                advice: advice.to_owned(),
                rule: format!("[[export_root]] {}", root.name),
                line: Some(root.line),
            };
            host.deny(context, Some(project), Some(TOOL), denial).await
        }
        other => query::refused("/artifact_id", other),
    }
}

fn left() -> CallError {
    CallError::Failed {
        run: None,
        class: "cancelled".to_owned(),
        code: "request_cancelled".to_owned(),
        message: "the caller stopped waiting, and nothing was exported".to_owned(),
        advice: "export it again".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use helix_ids::{ArtifactType, Digest, identity};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::call::Caller;

    #[tokio::test]
    async fn i9_so_many_exports_write_at_once_and_who_waits_may_leave() {
        let exports = Exports::default();
        let context =
            Context { caller: Caller::local(1, "test"), progress: None, gone: CancellationToken::new() };
        let leaving = Context { gone: CancellationToken::new(), ..context.clone() };
        let mut turns = Vec::new();
        for _ in 0..AT_ONCE {
            turns.push(exports.turn(&context).await.unwrap());
        }
        leaving.gone.cancel();
        let left = exports.turn(&leaving).await;
        assert!(matches!(left, Err(CallError::Failed { code, .. }) if code == "request_cancelled"));
        drop(turns.pop());
        assert!(exports.turn(&context).await.is_ok());
    }

    #[test]
    fn an_export_is_called_as_the_artifact_is() {
        let project = identity::project_id(&"p".parse().unwrap());
        let digest = Digest::of(b"x");
        let id = identity::artifact_id(project, digest, ArtifactType::FastqGz);
        let row = ArtifactRow {
            id,
            project,
            digest,
            artifact_type: ArtifactType::FastqGz,
            size_bytes: 1,
            created_ms: 0,
            label: Some("r.fq.gz".to_owned()),
            created_by: None,
        };
        assert_eq!(default_name(&row), "r.fq.gz");
        assert_eq!(default_name(&ArtifactRow { label: None, ..row }), format!("{id}.fastq.gz"));
    }
}
