//! What changes between two policies, by decisions and not by text.

use super::Policy;

/// One decision that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Something is allowed now that was not.
    pub wider: bool,
    pub what: String,
}

/// Every decision that differs.
#[must_use]
pub fn diff(_old: &Policy, _new: &Policy) -> Vec<Change> {
    Vec::new()
}
