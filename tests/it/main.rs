//! HelixMCP's tests through the real binary, one module a concern.

mod layering;
