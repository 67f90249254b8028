//! `artifact_export`: an artifact's bytes become a named file under an export root.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CallError, Context, Host};
use crate::artifacts::{self, ArtifactError};
use crate::ledger::{ArtifactRow, NewEvent};
use crate::policy::{Denial, ExportRoot, Project};
use crate::query::{self, bad};

const TOOL: &str = "artifact_export";

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
/// `export_path_denied`, `export_exists`, `export_overwrite_denied`.
pub async fn artifact_export(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactExportArgs,
) -> Result<ArtifactExportResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let row = query::find_artifact(host, &project, "/artifact_id", &args.artifact_id).await?;
    let root = export_root(host, context, &project, args.root.as_deref()).await?;
    if args.overwrite && !root.overwrite {
        let denial = overwrite_denied(&root);
        return Err(host.deny(context, Some(&project), Some(TOOL), denial).await);
    }
    let name = args.name.unwrap_or_else(|| default_name(&row));

    let mut file = query::open_proved(host, "/artifact_id", &row).await?;
    let (folder, relative, overwrite) = (root.path.clone(), name.clone(), args.overwrite);
    let written =
        query::blocking(move || artifacts::export_beneath(&folder, &relative, &mut file, overwrite)).await?;
    let path = match written {
        Ok(path) => path,
        Err(error) => return Err(refused(host, context, &project, &root, error).await),
    };

    let event = NewEvent {
        project: project.id,
        kind: "artifact_exported",
        caller: context.caller.described(),
        body: json!({
            "artifact_id": row.id, "checksum_sha256": row.digest, "size_bytes": row.size_bytes.to_string(),
            "root": root.name, "name": name, "overwrite": overwrite,
        }),
    };
    host.ledger.event(event).await.map_err(CallError::fault)?;
    Ok(ArtifactExportResult {
        artifact_id: row.id.to_string(),
        path: path.display().to_string(),
        size_bytes: row.size_bytes.to_string(),
        checksum_sha256: row.digest.to_string(),
    })
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
        ArtifactError::Path { code, message } => {
            let denial = Denial {
                code,
                message,
                advice: "give a plain relative name".to_owned(),
                rule: format!("[[export_root]] {}", root.name),
                line: Some(root.line),
            };
            host.deny(context, Some(project), Some(TOOL), denial).await
        }
        other => query::refused("/artifact_id", other),
    }
}

#[cfg(test)]
mod tests {
    use helix_ids::{ArtifactType, Digest, identity};

    use super::*;

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
