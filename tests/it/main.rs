//! HelixMCP's tests through the real binary, one module a concern.

mod abi;
mod clients;
mod crash;
mod golden_path;
mod guests;
mod hostile;
mod layering;
mod replay;
mod share;
mod stage;
