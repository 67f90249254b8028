//! `artifact_get` and `artifact_list`: what is known of artifacts, never their bytes.

use std::sync::Arc;

use helix_ids::{ArtifactId, ArtifactType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::find::{bad, cursor_unknown, find_artifact};
use crate::call::{CallError, Context, Host};
use crate::ledger::ArtifactRow;

/// Rows of one answer. A model reads every row, so pages are short.
pub const LIST_ROWS: u32 = 20;

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactGetArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    pub artifact_id: String,
}

#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactGetResult {
    pub artifact: ArtifactSummary,
}

/// An artifact as callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ArtifactSummary {
    pub artifact_id: String,
    pub project_id: String,
    #[serde(rename = "type")]
    pub artifact_type: String,
    pub mime_type: String,
    pub label: Option<String>,
    /// Decimal digits.
    pub size_bytes: String,
    pub checksum_sha256: String,
    /// ISO 8601, milliseconds, UTC.
    pub created_at: String,
    pub created_by_run_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactListArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// Only this type, e.g. `FASTQ_GZ`.
    #[serde(default, rename = "type")]
    pub artifact_type: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Newest first, 20 at a time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactListResult {
    pub artifacts: Vec<ArtifactSummary>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl From<&ArtifactRow> for ArtifactSummary {
    fn from(row: &ArtifactRow) -> Self {
        Self {
            artifact_id: row.id.to_string(),
            project_id: row.project.to_string(),
            artifact_type: row.artifact_type.to_string(),
            mime_type: row.artifact_type.mime().to_owned(),
            label: row.label.clone(),
            size_bytes: row.size_bytes.to_string(),
            checksum_sha256: row.digest.to_string(),
            created_at: super::text::iso_time(row.created_ms),
            created_by_run_id: row.created_by.map(|run| run.to_string()),
        }
    }
}

/// What is known of one artifact.
///
/// # Errors
/// `artifact_unknown`, the same for foreign and unknown ids.
pub async fn artifact_get(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactGetArgs,
) -> Result<ArtifactGetResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let row = find_artifact(host, &project, "/artifact_id", &args.artifact_id).await?;
    Ok(ArtifactGetResult { artifact: ArtifactSummary::from(&row) })
}

/// A page of a project's artifacts.
///
/// # Errors
/// `cursor_unknown`, `type_unknown`.
pub async fn artifact_list(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactListArgs,
) -> Result<ArtifactListResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let artifact_type = args.artifact_type.as_deref().map(|text| parse_type("/type", text)).transpose()?;
    // The cursor is the last id of the page before: an id that this project does not have never
    // came from here, and would silently begin at some other place.
    let before = match &args.cursor {
        None => None,
        Some(text) => {
            let id = text.parse::<ArtifactId>().map_err(|_malformed| cursor_unknown())?;
            let known = host.ledger.artifact(project.id, id).await.map_err(CallError::fault)?;
            Some(known.ok_or_else(cursor_unknown)?.id)
        }
    };
    let mut rows = host
        .ledger
        .artifacts(project.id, artifact_type, before, LIST_ROWS + 1)
        .await
        .map_err(CallError::fault)?;
    let next_cursor = cut_page(&mut rows, |row| row.id.to_string());
    Ok(ArtifactListResult { artifacts: rows.iter().map(ArtifactSummary::from).collect(), next_cursor })
}

/// # Errors
/// `type_unknown` at `field`, with all types there are.
pub fn parse_type(field: &str, text: &str) -> Result<ArtifactType, CallError> {
    text.parse().map_err(|unknown: helix_ids::artifact_type::UnknownType| {
        bad("type_unknown", field, unknown.to_string())
    })
}

/// Cuts a page that was read one row too long, and says where the next one begins.
pub(super) fn cut_page<T>(rows: &mut Vec<T>, cursor: impl Fn(&T) -> String) -> Option<String> {
    let is_last = rows.len() <= LIST_ROWS as usize;
    rows.truncate(LIST_ROWS as usize);
    if is_last { None } else { rows.last().map(cursor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_a_cursor_only_if_more_follows() {
        let cases = [(0_u32, None), (19, None), (20, None), (21, Some("19".to_owned()))];
        for (rows, expected) in cases {
            let mut rows: Vec<u32> = (0..rows).collect();
            assert_eq!(cut_page(&mut rows, ToString::to_string), expected);
            assert!(rows.len() <= 20);
        }
    }

    #[test]
    fn a_type_is_written_in_one_way() {
        assert_eq!(parse_type("/type", "FASTQ_GZ").ok(), Some(ArtifactType::FastqGz));
        for text in ["", "fastq_gz", "FASTQ.GZ", "FASTQ' OR 1=1"] {
            let error = parse_type("/type", text).unwrap_err();
            assert!(matches!(error, CallError::BadArguments { code: "type_unknown", .. }), "{text}");
        }
    }
}
