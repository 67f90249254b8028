//! What tests of other pure modules need of a policy.

use serde_json::json;

use super::{Grant, GuestLimits, Serve};

/// A grant under the default limits.
pub(crate) fn grant() -> Grant {
    Grant {
        slice: helix_ids::CanonicalJson::of(&json!({ "slice": 1 })).unwrap(),
        limits: GuestLimits::default(),
        limit_origins: Vec::new(),
        serve: Serve::Offered,
    }
}
