//! The only module that knows MCP.
//!
//! A connection is a byte stream of one JSON message a line: [`session::serve`] carries one from
//! [`wire`], which reads each line strictly, through rmcp to [`server`], which answers. [`client`]
//! is the other end, for our own command line.

pub mod admin;
mod answer;
mod budget;
pub mod client;
mod host_tools;
mod instructions;
mod lines;
mod progress;
mod resources;
mod schemas;
mod server;
pub mod session;
mod tools;
mod transport;
#[cfg(test)]
mod transport_tests;
pub mod wire;

pub use admin::Control;
pub use session::serve;
