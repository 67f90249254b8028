//! An artifact's bytes for a caller: proved, capped, and an event each time.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use crate::artifacts::ArtifactError;
use crate::call::{CallError, Context, Host};
use crate::ledger::ArtifactRow;

/// Most bytes that one read hands out; beyond it export is the way. The answer passes through a
/// client's memory and often a model's window.
pub const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a read of an artifact gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadArtifact {
    pub mime: &'static str,
    pub label: Option<String>,
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
    unimplemented!()
}

/// Opens an artifact's bytes, proved (invariant I-5), and remembers a new seal.
///
/// # Errors
/// `artifact_gone`; [`CallError::Fault`] when the bytes are damaged.
pub async fn open_proved(host: &Arc<Host>, row: &ArtifactRow) -> Result<File, CallError> {
    unimplemented!()
}

/// What a refusal of the store means for a caller.
pub fn refused(field: &str, error: ArtifactError) -> CallError {
    unimplemented!()
}
