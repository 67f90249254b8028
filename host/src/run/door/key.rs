//! What a step's outcome follows from: so that a new version of a toolpack need not repeat a week of
//! alignments.

use helix_ids::{CanonicalJson, Digest, RelName, StrictError};
use serde_json::{Value, json};

use crate::plan::StepOrder;

/// SHA-256 of the canonical form of image, platform, argv, environment, mounts and captures. Not of
/// the step's name, its limits, or who asked for it.
pub(super) fn of(order: &StepOrder, mounts: &[(RelName, Digest, u64)]) -> Result<Digest, StrictError> {
    let environment: Vec<Value> =
        order.environment.iter().map(|(name, value)| json!([name, value])).collect();
    let mounts: Vec<Value> = mounts.iter().map(|(name, digest, size)| json!([name, digest, size])).collect();
    let captures: Vec<Value> = order.captures.iter().map(|(name, kind)| json!([name, kind])).collect();
    let key = json!({
        "step_key": 1,
        "image": order.image.image.digest(),
        "platform": order.image.platform,
        "argv": order.argv,
        "environment": environment,
        "mounts": mounts,
        "captures": captures,
    });
    CanonicalJson::of(&key).map(|canonical| canonical.digest())
}
