//! What a step made, taken into the store: what its order names, whole for its type, and nothing else.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use helix_ids::{ArtifactType, RelName};

use super::super::{Effects, failure};
use super::step::Errand;
use crate::backend::{CaptureError, captured, harvest};
use crate::ledger::{Failure, NewStepFile, Reservation};
use crate::sandbox::protocol::Verdict;

/// Looks whether each capture is there and whole, and keeps it. All of them, or none is named.
pub(super) async fn kept(errand: &Errand, out: &Path) -> Result<(Vec<NewStepFile>, Reservation), Failure> {
    let Errand { effects, project, order, capture_bytes_max, .. } = errand;
    let mut bytes = 0_u64;
    for (name, artifact_type) in &order.captures {
        match captured(out, name, *capture_bytes_max) {
            Ok(capture) => {
                bytes = bytes.saturating_add(capture.size_bytes);
                whole(effects, name, *artifact_type, capture.file).await?;
            }
            // Taken by a host before this one: then it stands in the notes beside it.
            Err(CaptureError::NotMade { .. }) => {}
            Err(error) => return Err(missing(name, &error)),
        }
    }
    let room = effects.ledger.reserve(*project, bytes, effects.store_bytes_max).await;
    let room = room.map_err(|error| failure::of_ledger(&error))?;
    let room = room.map_err(|none| failure::of_quota(bytes, none))?;
    let mut files = Vec::with_capacity(order.captures.len());
    for (name, artifact_type) in &order.captures {
        let (store, out, max) = (Arc::clone(&effects.store), out.to_owned(), *capture_bytes_max);
        let taken = name.clone();
        let stored = tokio::task::spawn_blocking(move || harvest(&store, &out, &taken, max)).await;
        let stored = stored.map_err(|error| missing(name, &error))?.map_err(|error| missing(name, &error))?;
        crash_point!("capture_kept");
        files.push(NewStepFile {
            name: name.to_string(),
            artifact_type: *artifact_type,
            digest: stored.digest,
            size_bytes: stored.size_bytes,
            seal: stored.seal,
        });
    }
    Ok((files, room))
}

async fn whole(
    effects: &Effects,
    name: &RelName,
    artifact_type: ArtifactType,
    file: File,
) -> Result<(), Failure> {
    match effects.sandbox.check(file, artifact_type).await {
        Ok(Verdict::Good) => Ok(()),
        Ok(Verdict::Bad { reason, offset }) => {
            let place = offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default();
            let message = format!("ended with 0, and `{name}` is no whole {artifact_type}: {reason}{place}");
            Err(failure::of_step("step", "capture_damaged", &message))
        }
        Err(error) => Err(Failure { is_answer: false, ..failure::of_guest(&error) }),
    }
}

fn missing(name: &RelName, error: &dyn std::error::Error) -> Failure {
    let mut message = format!("ended with 0, and `{name}` cannot be taken: {error}");
    if let Some(cause) = error.source() {
        message.push_str(&format!(": {cause}"));
    }
    failure::of_step("step", "capture_missing", &message)
}
