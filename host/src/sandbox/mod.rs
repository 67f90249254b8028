//! Where guests run: `client` starts runner processes and speaks to them, `runner` is what runs
//! in the child. `protocol` is the narrow border between the two halves.
//!
//! wasmtime, wasmparser and the decoders are used below here and nowhere else.

pub mod client;
pub mod protocol;
pub mod runner;

pub use client::{Compiled, GuestError, InputFile, LoadError, RunEvents, RunOutcome, Sandbox};
pub mod profile;
