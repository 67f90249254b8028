//! What host and runner say to each other: frames of JSON over one socket, descriptors beside.
//!
//! A frame is eight bytes (length of the body, number of descriptors; both u32, little-endian),
//! the body, and one byte for each [`DESCRIPTORS_A_MESSAGE`] descriptors, which travel with it.
//! Only the client sends descriptors. A runner answers one [`Request`], after a plan perhaps one [`Go`],
//! and exits.

mod asks;

use std::time::Duration;

use helix_ids::ArtifactType;
use serde::{Deserialize, Serialize};

pub use self::asks::{
    Ask, Published, Reply, STEP_ARGV_BYTES_MAX, STEP_ENVIRONMENT_BYTES_MAX, STEP_NAME_BYTES_MAX,
    STEP_PARTS_MAX, STEP_TAIL_BYTES_MAX, asks_max,
};
use crate::raw;

/// Largest body of a frame. A runner may have been taken over by its guest: without this cap it
/// could make the host allocate whatever it likes (invariant I-9).
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest line of log or progress; what is beyond is dropped and counted.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// What a line of log costs besides its text, so that empty lines have an end as well.
pub const LOG_LINE_BYTES: u64 = 32;

/// How serious a line of log is; a runner says nothing else.
pub const LOG_LEVELS: [&str; 4] = ["debug", "info", "warning", "error"];

/// Descriptors that travel in one message. The kernel's own limit is 253.
pub const DESCRIPTORS_A_MESSAGE: usize = 200;

/// Most descriptors that one frame may bring.
pub const DESCRIPTORS_MAX: usize = 16_384;

/// Most bytes that [`Request::Head`] gives: base64 of it fits in a frame.
pub const HEAD_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Memory of a runner beside its guest's: engine, decoders, buffers, stacks.
pub const HOST_BYTES: u64 = 768 * 1024 * 1024;

/// Caps on inspection and compilation. From `[limits.compile]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileLimits {
    pub component_bytes: u64,
    pub body_bytes: u64,
    pub functions: u64,
    pub instances: u64,
    pub imports: u64,
    pub memory_bytes: u64,
    pub cpu: Duration,
    /// Largest minimum memory that a component may ask for: the guest's memory limit.
    pub guest_memory_bytes: u64,
}

/// Caps on one execution of a guest; inputs are already counted in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestLimits {
    pub memory_bytes: u64,
    pub stack_bytes: u64,
    pub fuel: u64,
    /// The runner is killed after this; what it waits for an [`Ask`] is not counted.
    pub wall: Duration,
    pub host_call_bytes: u64,
    pub host_call_bytes_total: u64,
    pub host_calls: u64,
    pub handles: u64,
    pub log_bytes: u64,
    pub decoded_bytes: u64,
    pub outputs: u64,
    pub output_bytes: u64,
    /// Steps that the policy of the run allows. One more may be asked for: the host, which knows the
    /// plan, says no in words of its own.
    pub steps: u64,
}

/// What was found in a component without compiling it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    pub size_bytes: u64,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub functions: u64,
    pub largest_body_bytes: u64,
    pub core_modules: u64,
    pub memories_min_bytes: u64,
}

/// What an execution used. Agrees to the unit between passes, but for `wall`, which is without what
/// the guest waited for an [`Ask`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub fuel: u64,
    pub memory_bytes: u64,
    pub host_calls: u64,
    pub host_call_bytes: u64,
    pub log_bytes: u64,
    pub log_bytes_dropped: u64,
    pub wall: Duration,
}

/// Which cap was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    Fuel,
    Memory,
    Stack,
    Wall,
    HostCallBytes,
    HostCalls,
    Handles,
    DecodedBytes,
    Outputs,
    OutputBytes,
    Table,
    Instances,
    Steps,
}

/// A whole-file check's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Good,
    Bad { reason: String, offset: Option<u64> },
}

/// A wall around a runner that not every kernel or account can build, by the name that policy has
/// for it. What every Linux has (limits, no privileges, no environment) is no choice, and so not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// No file, no TCP, no signal and no abstract socket beyond what the runner was given.
    Landlock,
    /// No system call that a runner has no use for.
    Seccomp,
    /// Memory and threads counted by the kernel. The host builds this one.
    Cgroup,
}

impl Wall {
    pub const ALL: [Self; 3] = [Self::Landlock, Self::Seccomp, Self::Cgroup];

    /// As policy and protocol write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Cgroup => "cgroup",
        }
    }
}

/// Whether a wall stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// And how far it reaches.
    Holds(String),
    /// And why.
    Missing(String),
}

/// The walls that a runner built around itself. Said before it has heard of a guest, so it is
/// believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walls {
    pub landlock: Standing,
    pub seccomp: Standing,
}

/// What a probe tries from behind the walls. Nothing here harms if it succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    OpenFile,
    WriteFile,
    ListFolder,
    UnixSocket,
    InternetSocket,
    BindTcp,
    ConnectTcp,
    /// An abstract socket of this name, at which the host listens.
    ConnectAbstract {
        name: String,
    },
    Execute,
    Fork,
    SignalParent,
    TraceParent,
    IoUring,
    /// Memory shared with nobody yet, which no limit on a process's own memory counts.
    ShareMemory,
    /// Memory that counts as a stack, and so not as data.
    GrowMemoryDown,
    /// Code that was not there when the guest was loaded.
    NewCode,
    ChangeRoot,
    ReadEnvironment,
    /// A byte beyond the limit, into the file that comes with the request.
    WriteBeyond {
        limit_bytes: u64,
    },
    /// Memory beyond the limit of a process that reads one file.
    AllocateBeyond,
    /// So much memory, used, with no other limit in the way.
    UseMemory {
        bytes: u64,
    },
    /// So many threads at once.
    StartThreads {
        count: u64,
    },
}

/// An input's place in a call; its descriptor stands at the same position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputSlot {
    pub role: String,
    pub index: u32,
}

/// What a runner is asked, once. The descriptors that come with it stand in the comments.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The component.
    Inspect { limits: CompileLimits },
    /// The component; an empty file for the compiled form.
    Compile { limits: CompileLimits },
    /// The compiled form.
    Describe { limits: GuestLimits },
    /// The compiled form. With `then`, the limits of the run that may follow, a runner that has
    /// answered with a proposal stays for [`Go`].
    Plan { limits: GuestLimits, call: raw::Call, then: Option<GuestLimits> },
    /// The compiled form; each input, in the order of `inputs`.
    Run { limits: GuestLimits, call: raw::Call, roles: Vec<String>, inputs: Vec<InputSlot> },
    /// The file.
    Check { artifact_type: ArtifactType },
    /// The file.
    Head { max_bytes: u64 },
    /// A file for [`Attempt::WriteBeyond`], else nothing. No guest is here.
    Probe { attempt: Attempt },
}

/// After a plan: the same call of the same component now runs, in an instance of its own and under
/// the limits that were named before. Each input comes with it, in the order of `inputs`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Go {
    pub roles: Vec<String>,
    pub inputs: Vec<InputSlot>,
}

/// The client's answer to [`Event::Create`]: a file comes with it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Created {}

/// What a runner says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// First of all: under which engine and configuration code is compiled here, and behind which
    /// walls.
    Hello {
        engine: String,
        walls: Walls,
    },
    Log {
        level: String,
        text: String,
    },
    Progress {
        done: u64,
        total: Option<u64>,
        text: String,
    },
    /// A file is needed for an output; the runner waits for [`Created`].
    Create {
        role: String,
        key: String,
    },
    /// Something that only the host may do; the runner waits for a [`Reply`].
    Ask(Ask),
    /// The answer, and the last that is said of a request.
    Done(Box<Done>),
}

/// How a request ended.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Inspected(Inspection),
    Compiled(Inspection),
    Described(raw::Manifest),
    Planned(raw::Proposal),
    Ran(Ran),
    Checked(Verdict),
    /// Base64.
    Head(String),
    /// An attempt was refused (and how), or it succeeded (and what it got).
    Probed {
        refused: bool,
        how: String,
    },
    /// The component breaks a rule.
    Refused {
        code: String,
        message: String,
    },
    /// The guest's execution ended otherwise than by an answer.
    Failed {
        failure: Failure,
        usage: Usage,
    },
    /// Ours.
    Fault {
        message: String,
    },
}

/// A run that returned a report.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ran {
    pub report: raw::Report,
    pub outputs: Vec<Written>,
    /// Inputs that were opened here or mounted into a step.
    pub opened: Vec<InputSlot>,
    /// In the order of publication.
    pub published: Vec<Published>,
    /// Steps whose end the guest did not wait for.
    pub steps_unwaited: u32,
    pub usage: Usage,
}

/// What stands in an output's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub role: String,
    pub key: String,
    pub finished: bool,
    pub size_bytes: u64,
}

/// Why an execution did not answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    Tool(raw::ToolError),
    Trap { code: String, message: String },
    Input { role: String, index: u32, offset: u64, reason: String },
    Limit { limit: Limit, message: String },
}
