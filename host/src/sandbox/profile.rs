//! What a guest can observe of the engine, and what only the audit wants to know of it.

use serde_json::{Value, json};

/// What a guest can observe: part of every run's identity. Rises when equal bytes could come to
/// another result, and for nothing else.
#[must_use]
pub fn engine_profile() -> Value {
    json!({
        "profile": 1,
        "wit": "1.0.0",
        "nan": "canonical",
        "features": ["bulk-memory", "multi-value", "mutable-global", "reference-types", "saturating-float-to-int", "sign-extension", "simd"],
    })
}

/// The engine crate does not say its own version; a test compares this with the lock file.
const WASMTIME_VERSION: &str = "48.0.8";

/// Engine, CPU and OS: recorded with each attempt, no part of its identity.
#[must_use]
pub fn engine_description() -> String {
    format!("wasmtime {WASMTIME_VERSION} {} {}", std::env::consts::ARCH, std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_engine_is_the_one_that_is_built_in() {
        let lock = include_str!("../../../Cargo.lock");
        let entry = format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"");
        assert!(lock.contains(&entry), "wasmtime was updated: WASMTIME_VERSION must follow");
    }
}
