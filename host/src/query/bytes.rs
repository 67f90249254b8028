//! An artifact's bytes for a caller: proved, capped, and an event each time.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use serde_json::json;

use super::find::{artifact_unknown, bad, find_artifact};
use crate::artifacts::ArtifactError;
use crate::call::{CallError, Context, Host};
use crate::ledger::{ArtifactRow, NewEvent};
use crate::run;

/// Most bytes that one read hands out; beyond it export is the way. The answer passes through a
/// client's memory and often a model's window.
pub const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// When a full store is worth asking again.
const FULL_RETRY_MS: u64 = 60_000;

/// What a read of an artifact gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadArtifact {
    pub mime: &'static str,
    pub label: Option<String>,
    /// Of the whole artifact.
    pub size_bytes: u64,
    pub content: ReadContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadContent {
    /// A textual type whose bytes are UTF-8, exactly as stored.
    Text(String),
    Bytes(Vec<u8>),
}

/// The bytes of an artifact, or a range of them. Without a project every project of the caller
/// is looked into: a resource's address has no place for one.
///
/// # Errors
/// `artifact_unknown`, `artifact_gone`, `artifact_too_large`, `argument_range`.
pub async fn read_artifact(
    host: &Arc<Host>,
    context: &Context,
    project: Option<&str>,
    id: &str,
    range: Option<Range<u64>>,
) -> Result<ReadArtifact, CallError> {
    let row = find_anywhere(host, context, project, id).await?;
    let range = admit_range(row.size_bytes, range)?;
    let mut file = open_proved(host, "/artifact_id", &row).await?;
    let (start, length) = (range.start, range.end - range.start);
    let bytes = blocking(move || read_at_most(&mut file, start, length)).await?.map_err(CallError::fault)?;
    let body = json!({
        "artifact_id": row.id, "checksum_sha256": row.digest,
        "from": start.to_string(), "size_bytes": bytes.len().to_string(),
    });
    disclosed(host, context, &row, "artifact_read", body).await?;
    let mime = row.artifact_type.mime();
    let content = if is_textual(mime) {
        String::from_utf8(bytes)
            .map_or_else(|error| ReadContent::Bytes(error.into_bytes()), ReadContent::Text)
    } else {
        ReadContent::Bytes(bytes)
    };
    Ok(ReadArtifact { mime, label: row.label, size_bytes: row.size_bytes, content })
}

async fn find_anywhere(
    host: &Arc<Host>,
    context: &Context,
    asked: Option<&str>,
    id: &str,
) -> Result<ArtifactRow, CallError> {
    if asked.is_some() {
        let project = host.project(context, asked).await?;
        return find_artifact(host, &project, "/artifact_id", id).await;
    }
    for mine in host.policy().projects() {
        match find_artifact(host, mine, "/artifact_id", id).await {
            Err(CallError::BadArguments { .. }) => {}
            found_or_fault => return found_or_fault,
        }
    }
    Err(artifact_unknown("/artifact_id", id))
}

/// What of an artifact is read: within its size and the cap, or an error that shows the way.
fn admit_range(size_bytes: u64, asked: Option<Range<u64>>) -> Result<Range<u64>, CallError> {
    let range = asked.unwrap_or(0..size_bytes);
    if range.start > range.end || range.start > size_bytes {
        return Err(bad("argument_range", "/range", format!("the artifact has {size_bytes} bytes")));
    }
    let range = range.start..range.end.min(size_bytes);
    if range.end - range.start > READ_BYTES_MAX {
        let reason = format!(
            "{} bytes are more than the {READ_BYTES_MAX} that one read gives; artifact_preview_text shows its \
             head, artifact_export writes it to a file",
            range.end - range.start
        );
        return Err(bad("artifact_too_large", "/artifact_id", reason));
    }
    Ok(range)
}

/// Media types whose bytes a client may take as text.
fn is_textual(mime: &str) -> bool {
    mime.starts_with("text/") || mime == "application/json" || mime == "image/svg+xml"
}

/// The bytes from `start` on, at most `length`. The caller has capped `length`.
pub(super) fn read_at_most(file: &mut File, start: u64, length: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens an artifact's bytes, proved (invariant I-5).
///
/// # Errors
/// `artifact_gone` at `field`; [`CallError::Fault`] when the bytes are damaged.
pub async fn open_proved(host: &Arc<Host>, field: &str, row: &ArtifactRow) -> Result<File, CallError> {
    run::open_proved(&host.ledger, &host.store, row.digest).await.map_err(|error| refused(field, error))
}

/// Writes down that bytes of an artifact went out, before they do.
pub(super) async fn disclosed(
    host: &Arc<Host>,
    context: &Context,
    row: &ArtifactRow,
    kind: &'static str,
    body: serde_json::Value,
) -> Result<(), CallError> {
    let event = NewEvent { project: row.project, kind, caller: context.caller.described(), body };
    host.ledger.event(event).await.map_err(CallError::fault)
}

/// Runs what blocks (a hash over a large file, a disk that sleeps) where it may.
///
/// # Errors
/// [`CallError::Fault`] when it panics.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CallError> {
    tokio::task::spawn_blocking(work).await.map_err(CallError::fault)
}

/// What a refusal of the store means for a caller; `field` points at what asked for it.
#[must_use]
pub fn refused(field: &str, error: ArtifactError) -> CallError {
    match error {
        ArtifactError::Missing { .. } => {
            bad("artifact_gone", field, "its bytes are gone; the call that made it makes them again")
        }
        ArtifactError::TooLarge { .. } => bad("artifact_too_large", field, error.to_string()),
        ArtifactError::Unexpected { .. } => bad("checksum_mismatch", field, error.to_string()),
        ArtifactError::Changed => bad("import_file_changed", field, error.to_string()),
        ArtifactError::Path { code, message } => bad(code, field, message),
        ArtifactError::Full { .. } => {
            CallError::Busy { code: "store_full", message: error.to_string(), retry_after_ms: FULL_RETRY_MS }
        }
        ArtifactError::Damaged { .. } | ArtifactError::Cancelled | ArtifactError::Io { .. } => {
            CallError::fault(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn i9_a_read_has_a_cap_and_an_end() {
        let max = READ_BYTES_MAX;
        let cases = [
            (0, None, Ok(0..0)),
            (10, None, Ok(0..10)),
            (10, Some(2..5), Ok(2..5)),
            (10, Some(2..u64::MAX), Ok(2..10)),
            (10, Some(10..20), Ok(10..10)),
            (10, Some(11..20), Err("argument_range")),
            (10, Some(Range { start: 5, end: 4 }), Err("argument_range")),
            (max, None, Ok(0..max)),
            (max + 1, None, Err("artifact_too_large")),
            (u64::MAX, Some(0..max + 1), Err("artifact_too_large")),
            (u64::MAX, Some(7..max + 7), Ok(7..max + 7)),
        ];
        for (size, asked, expected) in cases {
            let admitted = admit_range(size, asked.clone()).map_err(|error| match error {
                CallError::BadArguments { code, .. } => code,
                other => panic!("{other}"),
            });
            assert_eq!(admitted, expected, "{size} {asked:?}");
        }
    }

    #[test]
    fn reads_stop_at_the_length_that_was_admitted() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(read_at_most(&mut file, 3, 4).unwrap(), b"3456");
        assert_eq!(read_at_most(&mut file, 8, 100).unwrap(), b"89");
        assert_eq!(read_at_most(&mut file, 20, 1).unwrap(), b"");
    }

    #[test]
    fn a_report_is_text_and_an_alignment_is_not() {
        use helix_ids::ArtifactType;
        let textual = |artifact_type: ArtifactType| is_textual(artifact_type.mime());
        assert!(textual(ArtifactType::Html) && textual(ArtifactType::Json) && textual(ArtifactType::Svg));
        assert!(
            !textual(ArtifactType::Bam) && !textual(ArtifactType::FastqGz) && !textual(ArtifactType::Png)
        );
    }
}
