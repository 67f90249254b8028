//! HelixMCP: an MCP server that runs toolpacks nobody had to trust, and can prove what was run.
//!
//! The modules, by name; ARCHITECTURE.md has the order in which a request passes them, and
//! `tests/it/layering.rs` holds each to the arrows that it draws.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make the files that they look at"))]

#[macro_use]
pub mod faults; // Faults on purpose, in the binary of the tests alone.

pub mod artifacts; // Bytes on disk.
pub mod backend; // Container steps. bollard lives here and nowhere else.
pub mod call; // The main path, on one screen; beside it what a caller does without a new run.
pub mod catalog; // Which toolpacks exist, at which digest, offering which tools.
pub mod cli; // Flags, environment and files become `Settings` once; one file a command.
pub mod contract; // What a toolpack says of itself. Pure.
pub mod ledger; // sqlx lives here and nowhere else.
pub mod mcp; // The only module that knows MCP.
pub mod plan; // Proposal → draft → plan; the only maker of a `Plan`. Pure.
pub mod policy; // What an operator allows. Pure.
pub mod query; // All that is only read for a caller.
pub mod run; // Carries a plan to an end.
pub mod sandbox; // Where guests run: starts runner processes and speaks to them.
