//! The lists of states, of attempts and of steps, which the SQL obeys (invariant I-7).

use std::fmt;
use std::str::FromStr;

/// Where an attempt stands.
///
/// ```text
///   queued  ─► running | failed | cancelled | blocked
///   running ─► waiting | succeeded | failed | cancelled | blocked
///   waiting ─► running | failed | cancelled | blocked
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptState {
    Queued,
    Running,
    Waiting,
    Succeeded,
    Failed,
    Cancelled,
    Blocked,
}

impl AttemptState {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Waiting,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Blocked,
    ];

    /// The states that an attempt may leave to enter this one. The ledger's `UPDATE` is built
    /// from the same list.
    #[must_use]
    pub fn predecessors(self) -> &'static [Self] {
        match self {
            Self::Queued => &[],
            Self::Running => &[Self::Queued, Self::Waiting],
            Self::Waiting | Self::Succeeded => &[Self::Running],
            Self::Failed | Self::Cancelled | Self::Blocked => &[Self::Queued, Self::Running, Self::Waiting],
        }
    }

    /// Final: nothing leaves it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::Blocked)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Blocked => "blocked",
        }
    }
}

impl fmt::Display for AttemptState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AttemptState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// Where a container step stands.
///
/// ```text
///   intended  ─► submitted | done (reused) | skipped | cancelled
///   submitted ─► running | done | failed | cancelled | lost
///   running   ─► done | failed | cancelled | lost
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepState {
    /// Asked and recorded; nothing has been started.
    Intended,
    /// The backend is being told, or was.
    Submitted,
    Running,
    /// It exited by itself, with whichever code.
    Done,
    /// A limit or a fault ended it.
    Failed,
    /// It mounts from a step that did not end well.
    Skipped,
    Cancelled,
    /// Nobody knows what became of it.
    Lost,
}

impl StepState {
    pub const ALL: [Self; 8] = [
        Self::Intended,
        Self::Submitted,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
        Self::Lost,
    ];

    /// The states that a step may leave to enter this one. The ledger's `UPDATE` is built from the
    /// same list.
    #[must_use]
    pub fn predecessors(self) -> &'static [Self] {
        match self {
            Self::Intended => &[],
            Self::Submitted | Self::Skipped => &[Self::Intended],
            Self::Running => &[Self::Submitted],
            Self::Done | Self::Cancelled => &[Self::Intended, Self::Submitted, Self::Running],
            Self::Failed | Self::Lost => &[Self::Submitted, Self::Running],
        }
    }

    /// Final: nothing leaves it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Intended | Self::Submitted | Self::Running)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Submitted => "submitted",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StepState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownState)
    }
}

/// A word that is no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a state")]
pub struct UnknownState;
