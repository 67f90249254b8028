//! HelixMCP's tests through the real binary, one module a concern.

mod abi;
mod guests;
mod hostile;
mod layering;
mod sandbox_client;
mod stage;
