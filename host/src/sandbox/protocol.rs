//! What host and runner say to each other: frames of JSON over one socket, descriptors beside.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    /// The runner is killed after this.
    pub wall: Duration,
    pub host_call_bytes: u64,
    pub host_call_bytes_total: u64,
    pub host_calls: u64,
    pub handles: u64,
    pub log_bytes: u64,
    pub decoded_bytes: u64,
    pub outputs: u64,
    pub output_bytes: u64,
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

/// What an execution used. Agrees to the unit between passes, but for `wall` and `peak_rss`.
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
}

/// A whole-file check's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Good,
    Bad { reason: String, offset: Option<u64> },
}
