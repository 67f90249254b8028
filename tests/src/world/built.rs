//! What was built beside the tests: the binaries and the example toolpacks.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The binary that is tested: built beside the test's own.
///
/// # Errors
/// It has not been built.
pub fn binary() -> Result<PathBuf> {
    beside("helixmcp")?.context("helixmcp is missing: run `cargo build --release -p helixmcp`")
}

/// The same, built so that faults can be asked for.
pub(super) fn faulty_binary() -> Result<PathBuf> {
    let build = "cargo build --release -p helixmcp --features faults --bin helixmcp-faults";
    beside("helixmcp-faults")?.with_context(|| format!("helixmcp-faults is missing: run `{build}`"))
}

fn beside(name: &str) -> Result<Option<PathBuf>> {
    let own = std::env::current_exe().context("cannot find this test's own path")?;
    Ok(own.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file()))
}

/// The target folder that the tested binary was built into.
///
/// # Errors
/// The binary has not been built.
pub fn target() -> Result<PathBuf> {
    let binary = binary()?;
    Ok(binary.ancestors().nth(2).context("the binary lies in no target folder")?.to_owned())
}

/// An example toolpack's component, as `cargo xtask toolpacks` built it.
///
/// # Errors
/// It has not been built.
pub fn toolpack(name: &str) -> Result<Vec<u8>> {
    let path = target()?.join("toolpacks").join(format!("{name}.wasm"));
    fs::read(&path).with_context(|| format!("{} is missing: run `cargo xtask toolpacks`", path.display()))
}
