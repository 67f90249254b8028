//! Write toolpacks for HelixMCP.
//!
//! A toolpack is one WebAssembly component that holds one or more tools. A tool is a type that
//! implements [`Tool`]: typed params, a typed result, and the roles of its inputs and outputs,
//! which [`tool_io!`] takes down once for manifest and code alike. [`export_toolpack!`] makes the
//! component.
//!
//! ```
//! use helix_toolpack::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Params {
//!     /// The byte to count.
//!     #[serde(default = "newline")]
//!     byte: u8,
//! }
//!
//! fn newline() -> u8 {
//!     b'\n'
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Counted {
//!     count: u64,
//! }
//!
//! tool_io! {
//!     /// What `count_byte` reads and writes.
//!     struct CountIo {
//!         inputs { text: [TEXT, TSV] 1..=1 "Where to count"; }
//!         outputs { table: TSV "count.tsv" 1..=1 check sniff "The count, with a header"; }
//!     }
//! }
//!
//! struct CountByte;
//!
//! impl Tool for CountByte {
//!     type Params = Params;
//!     type Result = Counted;
//!     type Io = CountIo;
//!     const NAME: &'static str = "count_byte";
//!     const TITLE: &'static str = "Count a byte";
//!     const DESCRIPTION: &'static str = "Counts how often one byte occurs in a text.";
//!
//!     fn run(params: Params, io: CountIo, _log: &Log) -> Result<Report<Counted>, ToolError> {
//!         let input = io.text.one()?;
//!         let mut reader = input.open();
//!         let mut count = 0;
//!         while let Some(chunk) = reader.chunk()? {
//!             count += chunk.iter().filter(|&&byte| byte == params.byte).map(|_| 1).sum::<u64>();
//!         }
//!         let mut table = io.table.create()?;
//!         writeln!(table, "count\n{count}")?;
//!         table.finish()?;
//!         Ok(Report::new(Counted { count }, format!("The byte occurs {count} times.")))
//!     }
//! }
//!
//! // A tool is tested natively, with its inputs and outputs in memory.
//! let bench = Bench::new().input("text", "TEXT", "a\nb\n");
//! let done = bench.run::<CountByte>("{}").expect("the tool runs");
//! assert_eq!(done.result["count"], 2);
//! assert_eq!(done.output("table"), b"count\n2\n");
//! ```
#![warn(missing_docs)]

mod error;
mod host;
mod io;
mod macros;
mod manifest;
mod schema;
mod steps;
mod tool;
pub mod types;

#[cfg(not(target_family = "wasm"))]
mod bench;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

#[cfg(not(target_family = "wasm"))]
pub use bench::{Bench, Done, Ordered, Played};
pub use error::ToolError;
pub use host::{How, Level, Log};
pub use io::{CHUNK_BYTES, Input, InputRole, Output, OutputRole, Reader, ToolIo};
pub use manifest::{
    Call, CheckLevel, Count, DeclaredImage, DeclaredInput, DeclaredOutput, DeclaredTool, LinkedInput,
    Manifest, PlannedInput, PlannedOutput, PlannedStep, Proposal, Software,
};
pub use steps::{Ended, Exited, Order, Step, StepFile, Steps};
pub use tool::{Report, Tool, Toolpack};

/// What the macros call. No part of the interface.
#[doc(hidden)]
pub mod private {
    pub use crate::host::{Host, Promise, Running, Session, Sink, Source};
    pub use crate::tool::{declare, plan, run, unknown_tool};
}

/// All that a tool's source needs, to `use` at once.
pub mod prelude {
    #[cfg(not(target_family = "wasm"))]
    pub use crate::bench::{Bench, Done, Ordered, Played};
    pub use crate::{
        Call, DeclaredImage, Ended, Exited, Input, InputRole, LinkedInput, Log, Output, OutputRole,
        PlannedStep, Reader, Report, Software, Step, StepFile, Steps, Tool, ToolError, ToolIo, Toolpack,
        export_toolpack, tool_io,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use std::io::{BufRead, Read, Write};
}

#[doc(hidden)]
pub use {schemars, serde, serde_json};
