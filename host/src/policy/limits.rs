//! How much: limits with their defaults. A missing key is the default; 0 is an error.

use std::time::Duration;

/// `[limits.compile]`: what a component may cost before it first runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    pub component_bytes: u64,
    pub body_bytes: u64,
    pub functions: u64,
    pub instances: u64,
    pub imports: u64,
    pub memory_bytes: u64,
    pub cpu: Duration,
}

/// `[limits.guest]`: what one attempt's guest may use, before its inputs are counted in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLimits {
    pub memory_bytes: u64,
    pub stack_bytes: u64,
    pub fuel: u64,
    pub fuel_per_byte: u64,
    /// Plus one second for each 4 MiB of input.
    pub wall: Duration,
    /// Most bytes in one host call.
    pub host_call_bytes: u64,
    /// Plus one for each 64 KiB of input.
    pub host_calls: u64,
    pub handles: u64,
    pub log_bytes: u64,
    pub decoded_bytes: u64,
    pub outputs: u64,
    pub output_bytes: u64,
}

/// `[limits.caller]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    pub concurrent_runs: u64,
    pub queued: u64,
    pub requests_per_minute: u64,
    pub store_bytes: u64,
}

/// `[limits.host]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLimits {
    pub runners: u64,
    pub free_space_floor_bytes: u64,
}
