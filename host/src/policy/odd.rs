//! What is not wrong in a policy, and still is hardly what its author meant.

use super::Policy;

/// One line for each oddity, with its line in the file.
#[must_use]
pub fn odd(_policy: &Policy) -> Vec<String> {
    Vec::new()
}
