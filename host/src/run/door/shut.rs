//! Why the door ends an attempt. The guest never sees it.

use std::fmt;

use super::super::failure;
use super::step::Trouble;
use crate::artifacts::ArtifactError;
use crate::ledger::{Failure, LedgerError, Outcome};

/// Most of an ask that is shown where two differ.
const SHOWN_BYTES_MAX: usize = 300;

#[derive(Clone, Debug)]
pub(in crate::run) enum Shut {
    Failed(Failure),
    /// Policy of now refuses what the plan of then allows.
    Blocked(Failure),
}

impl Shut {
    /// A guest that asks beside its plan: its author's turn.
    pub fn gate(code: &str, message: &str) -> Self {
        Self::Failed(failure::of_gate(code, message))
    }

    pub fn ledger(error: LedgerError) -> Self {
        Self::Failed(failure::of_ledger(&error))
    }

    /// Bytes that could not be had.
    pub fn input(error: &ArtifactError) -> Self {
        Self::Failed(failure::of_input(error))
    }

    /// A runner that was taken over: an honest one never asks this.
    pub fn out_of_turn() -> Self {
        Self::Failed(failure::of_step("fault", "runner_lost", "the runner asked what no guest can ask"))
    }

    /// The same guest, the same inputs, the same answers, and another question (I-11).
    pub fn nondeterministic(ordinal: u32, expected: &str, came: &str) -> Self {
        let cut = |text: &str| helix_ids::text::escaped_line(text, SHOWN_BYTES_MAX);
        let message = format!(
            "ask {ordinal} differs from the pass before: expected {}, came {}",
            cut(expected),
            cut(came)
        );
        Self::Failed(failure::of_step("gate", "nondeterministic", &message))
    }

    pub fn into_outcome(self) -> Outcome {
        match self {
            Self::Failed(failure) => Outcome::Failed(failure),
            Self::Blocked(failure) => Outcome::Blocked(failure),
        }
    }
}

impl From<Trouble> for Shut {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Blocked(failure) => Self::Blocked(failure),
            Trouble::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) | Self::Blocked(failure) => f.write_str(&failure.message),
        }
    }
}
