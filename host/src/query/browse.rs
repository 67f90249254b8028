//! `artifact_browse`: what lies under an import root, before anything is imported.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use helix_ids::Digest;
use helix_ids::name::is_invisible;
use helix_ids::text::escaped_line;

use super::bytes::{blocking, refused};
use super::find::{bad, cursor_unknown};
use crate::artifacts::{self, ArtifactError, RootEntry};
use crate::call::{CallError, Context, Host};
use crate::policy::{Denial, ImportRoot, Project};

/// A path of the longest kind, every byte of it escaped.
const PATH_BYTES_MAX: usize = 64 * 1024;

/// Entries of one answer.
pub const BROWSE_ROWS: usize = 50;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactBrowseArgs {
    /// Name or id; not needed with one project.
    #[serde(default)]
    pub project_id: Option<String>,
    /// Import root; not needed with one root.
    #[serde(default)]
    pub root: Option<String>,
    /// Folder beneath the root; left out for the root itself.
    #[serde(default)]
    pub path: Option<String>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Sorted by name, 50 at a time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ArtifactBrowseResult {
    pub root: String,
    /// The folder; empty for the root itself.
    pub path: String,
    pub entries: Vec<BrowseEntry>,
    /// Entries of the folder, on all pages.
    pub total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BrowseEntry {
    /// Relative to the root, as `artifact_import` takes it.
    pub path: String,
    pub is_dir: bool,
    /// Decimal digits; absent for folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guessed_type: Option<String>,
    /// Why it cannot be imported as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A page of a folder beneath an import root.
///
/// # Errors
/// `import_root_unknown`, `import_root_required`, `import_path_denied`, `root_private`,
/// `cursor_unknown`.
pub async fn artifact_browse(
    host: &Arc<Host>,
    context: &Context,
    args: ArtifactBrowseArgs,
) -> Result<ArtifactBrowseResult, CallError> {
    let project = host.project(context, args.project_id.as_deref()).await?;
    let root = import_root(host, context, &project, "artifact_browse", args.root.as_deref()).await?;
    let path = args.path.unwrap_or_default();
    let (opener, folder, relative) = (Arc::clone(host), root.path.clone(), path.clone());
    let listed = blocking(move || artifacts::list_beneath(&opener.door(&folder), &relative)).await?;
    let entries = match listed {
        Ok(entries) => entries,
        Err(error) => return Err(path_denied(host, context, &project, "artifact_browse", &root, error).await),
    };
    page(root.name.to_string(), path, &entries, args.cursor.as_deref())
}

/// The import root that a caller means: by name, or by saying nothing when there is one.
///
/// # Errors
/// `import_root_unknown`, `import_root_required`.
pub async fn import_root(
    host: &Arc<Host>,
    context: &Context,
    project: &Project,
    tool: &str,
    asked: Option<&str>,
) -> Result<ImportRoot, CallError> {
    let policy = host.policy();
    let found = match asked {
        Some(name) => policy.import_root(project, name).cloned(),
        None => match policy.import_roots(project).as_slice() {
            [only] => Ok((*only).clone()),
            roots => {
                return Err(root_required(
                    "import_root_required",
                    "[[import_root]]",
                    roots.iter().map(|root| root.name.as_str()),
                ));
            }
        },
    };
    match found {
        Ok(root) => Ok(root),
        Err(denial) => Err(host.deny(context, Some(project), Some(tool), denial).await),
    }
}

/// Says which roots there are when a caller named none.
pub fn root_required<'a>(code: &'static str, table: &str, names: impl Iterator<Item = &'a str>) -> CallError {
    let names: Vec<&str> = names.collect();
    let reason = if names.is_empty() {
        format!("this project has none; an operator adds an {table} to the policy")
    } else {
        format!("say which: {}", names.join(", "))
    };
    bad(code, "/root", reason)
}

/// A path that the door does not let through is a denial, and recorded; the rest is as ever.
pub async fn path_denied(
    host: &Arc<Host>,
    context: &Context,
    project: &Project,
    tool: &str,
    root: &ImportRoot,
    error: ArtifactError,
) -> CallError {
    let ArtifactError::Path { code, message } = error else {
        return refused("/path", error);
    };
    let advice = if code == "root_private" {
        "ask the operator to give this root a folder of its own".to_owned()
    } else {
        format!("artifact_browse shows what can be imported from root {}", root.name)
    };
    let denial = Denial {
        code,
        message,
        advice,
        rule: format!("[[import_root]] {}", root.name),
        line: Some(root.line),
    };
    host.deny(context, Some(project), Some(tool), denial).await
}

/// Where the page after `last` begins. A digest, since a file's name is not ours to repeat raw.
fn cursor_of(last: &RootEntry) -> String {
    Digest::of(last.path.as_bytes()).to_hex()
}

/// One page of a folder.
fn page(
    root: String,
    path: String,
    all: &[RootEntry],
    cursor: Option<&str>,
) -> Result<ArtifactBrowseResult, CallError> {
    let start = match cursor {
        None => 0,
        Some(cursor) => {
            1 + all.iter().position(|entry| cursor_of(entry) == cursor).ok_or_else(cursor_unknown)?
        }
    };
    let entries: Vec<&RootEntry> = all.iter().skip(start).take(BROWSE_ROWS).collect();
    let more = start + entries.len() < all.len();
    let next_cursor = entries.last().filter(|_last| more).map(|last| cursor_of(last));
    Ok(ArtifactBrowseResult {
        root,
        path: escaped_line(&path, PATH_BYTES_MAX),
        entries: entries.into_iter().map(BrowseEntry::from).collect(),
        total: all.len() as u64,
        next_cursor,
    })
}

impl From<&RootEntry> for BrowseEntry {
    fn from(entry: &RootEntry) -> Self {
        let refused = entry
            .path
            .contains(is_invisible)
            .then(|| "its name has invisible characters: rename it, or give a label".to_owned());
        Self {
            path: escaped_line(&entry.path, PATH_BYTES_MAX),
            is_dir: entry.is_dir,
            size_bytes: (!entry.is_dir).then(|| entry.size_bytes.to_string()),
            guessed_type: entry.guessed_type.map(|guessed| guessed.to_string()),
            refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use helix_ids::ArtifactType;

    use super::*;

    fn entries(count: usize) -> Vec<RootEntry> {
        (0..count)
            .map(|n| RootEntry {
                path: format!("{n:04}.fastq"),
                is_dir: false,
                size_bytes: 9,
                guessed_type: Some(ArtifactType::Fastq),
            })
            .collect()
    }

    #[test]
    fn pages_meet_without_gap_or_overlap() {
        for count in [0, 1, 49, 50, 51, 100, 123] {
            let all = entries(count);
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = page("data".to_owned(), String::new(), &all, cursor.as_deref()).unwrap();
                assert_eq!(page.total, count as u64);
                assert!(page.entries.len() <= BROWSE_ROWS);
                seen.extend(page.entries.into_iter().map(|entry| entry.path));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all.iter().map(|entry| entry.path.clone()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_cursor_of_nobody_is_an_error() {
        for cursor in ["", "x", "0001", "0001.fastq'--", "../0001.fastq"] {
            let error = page(String::new(), String::new(), &entries(3), Some(cursor)).unwrap_err();
            assert!(matches!(error, CallError::BadArguments { code: "cursor_unknown", .. }), "{cursor}");
        }
    }

    #[test]
    fn a_name_that_lies_is_shown_and_refused() {
        let entry = RootEntry {
            path: "a\u{202e}qtsaf.exe\n".to_owned(),
            is_dir: false,
            size_bytes: 0,
            guessed_type: None,
        };
        let shown = BrowseEntry::from(&entry);
        assert_eq!(shown.path, "a\\u{202e}qtsaf.exe ");
        assert!(shown.refused.is_some());
    }
}
