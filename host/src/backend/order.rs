//! What a backend is asked for, and what it answers.

use std::path::PathBuf;
use std::time::Duration;

use helix_ids::{ContainerUser, PinnedImage, RelName, RunId, StepName};

/// Which submission of which step this is. Every container carries it, so that a host that starts
/// again finds what the one before it had started.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    /// Lowercase hex digits that no other home has.
    pub home: String,
    pub run: RunId,
    pub attempt: u32,
    pub step: u32,
    pub try_: u32,
}

/// One try of one step, with nothing left to choose.
#[derive(Clone, Debug)]
pub struct Order {
    pub labels: Labels,
    pub name: StepName,
    pub image: PinnedImage,
    /// `os/architecture`, perhaps with a `/variant`.
    pub platform: String,
    pub user: ContainerUser,
    /// The whole command: nothing of the image's own is put before or after it.
    pub argv: Vec<String>,
    /// Besides what every step has: `HOME`, `LC_ALL`, `TZ`, `SOURCE_DATE_EPOCH`.
    pub environment: Vec<(String, String)>,
    /// Files that the container sees read-only at `/work/in/NAME`.
    pub mounts: Vec<(RelName, PathBuf)>,
    pub captures: Vec<RelName>,
    pub cpus: u32,
    /// All memory that the step may have: there is no swap beside it, and what it puts into `/tmp`
    /// counts.
    pub memory_bytes: u64,
    pub wall: Duration,
    pub pids: u64,
    /// Of `/tmp`.
    pub scratch_bytes: u64,
    /// Of each of stdout and stderr: the last so many are kept.
    pub stdout_bytes: u64,
    /// Of all that lies in `/work/out`, and so of any one file there.
    pub out_bytes: u64,
}

/// A container that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    pub state: FoundState,
}

/// How far a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// Made and never started.
    Created,
    Running,
    Ended,
}

/// How a step ended. Only [`Self::Exited`] is an answer; the others are limits and faults, whatever
/// exit code the engine tells with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepEnded {
    Exited {
        code: i32,
    },
    OutOfMemory,
    TimedOut,
    /// It wrote more to `/work/out` than it may.
    OutTooLarge,
    Signalled {
        signal: i32,
    },
    /// By [`super::Backend::kill`].
    Killed,
}

/// What a step used, as far as anybody saw: the engine counts only while the container runs, and is
/// asked about once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepUsage {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub peak_memory_bytes: u64,
}

/// A step that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    pub ended: StepEnded,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Whether the beginning of stdout or stderr may be missing, there or here.
    pub cut: bool,
    /// The folder that was `/work/out`. Nobody writes into it any more.
    pub out: PathBuf,
    pub usage: StepUsage,
}
