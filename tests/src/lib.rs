//! What tests and `cargo xtask` share: an MCP client over a child's stdio, a world with a home of
//! its own, and where fetched test data lies.

pub mod cache;
pub mod client;
pub mod kills;
pub mod load;
pub mod many_runs;
pub mod policy;
pub mod redact;
pub mod vitals;
pub mod wait;
pub mod world;

pub use client::{RpcError, StdioClient, ToolReply};
pub use policy::PolicyText;
pub use world::{CliOutput, World};
