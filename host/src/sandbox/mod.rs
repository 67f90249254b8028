//! Where guests run: `client` starts runner processes and speaks to them. What runs in the child
//! is the crate `helix-runner`, whose `protocol` is the narrow border between the two.

pub mod client;
pub mod profile;

pub use client::{
    Compiled, Execution, GuestError, InputFile, LoadError, Pace, RunEvents, RunOutcome, Sandbox, Warm,
};
pub use helix_runner::{close_descriptors, protocol};
