//! Building the binary and the example toolpacks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{machine, say};

/// The workspace's root.
pub fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in no workspace")?.to_owned())
}

/// Cargo, in the workspace's root.
pub fn cargo() -> Result<Command> {
    let mut command = Command::new("cargo");
    command.current_dir(root()?);
    Ok(command)
}

/// The folder that this binary was built into, which is also where the others lie.
pub fn release_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find my own path")?;
    Ok(own.parent().context("I lie in no folder")?.to_owned())
}

/// The target folder.
pub fn target_dir() -> Result<PathBuf> {
    Ok(release_dir()?.parent().context("I lie in no target folder")?.to_owned())
}

/// Builds `helixmcp` and gives its path.
///
/// # Errors
/// The build fails.
pub fn host() -> Result<PathBuf> {
    let binary = release_dir()?.join("helixmcp");
    if !binary.exists() {
        say::line("  building helixmcp: the first build takes 10 to 15 minutes on two cores");
    }
    say::step("build helixmcp", || {
        say::loud(cargo()?.args(["build", "--release", "--locked", "--package", "helixmcp"]))
    })?;
    ensure!(binary.exists(), "cargo built no {}", binary.display());
    Ok(binary)
}

/// Builds the binary that can be asked for faults, beside the other one. Only our own crate is built
/// again for it, and without optimisation: nobody measures it.
///
/// # Errors
/// The build fails.
pub fn faulty_host() -> Result<()> {
    let plain = "profile.release.package.helixmcp.opt-level=0";
    let faulty = ["--features", "faults", "--bin", "helixmcp-faults"];
    say::step("build helixmcp-faults", || {
        let mut command = cargo()?;
        command.args(["--config", plain, "build", "--release", "--locked", "--package", "helixmcp"]);
        say::loud(command.args(faulty))
    })
}

/// Builds every example toolpack and puts its component under `toolpacks/` of the target folder.
///
/// # Errors
/// A build fails, or there is no way to build for the guests' target.
pub fn toolpacks(binary: &Path) -> Result<()> {
    let guest_cargo = machine::guest_cargo()?;
    let out = target_dir()?.join("toolpacks");
    fs::create_dir_all(&out)?;
    for name in toolpack_names()? {
        let component = out.join(format!("{name}.wasm"));
        say::step(&format!("build the toolpack {name}"), || {
            let mut command = Command::new(binary);
            command.args(["toolpack", "build", "--out"]).arg(&component);
            command.current_dir(root()?.join("example-toolpacks").join(&name));
            // Flags name the toolpack's folder, so toolpacks that shared a target folder would
            // build each other's dependencies anew every time.
            command.env("CARGO_TARGET_DIR", target_dir()?.join("toolpacks-target").join(&name));
            guest_cargo.apply(&mut command)?;
            say::quiet(&mut command).map(drop)
        })?;
    }
    Ok(())
}

/// The example toolpacks, by folder.
pub fn toolpack_names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root()?.join("example-toolpacks")).context("no example toolpacks")? {
        let path = entry?.path();
        if path.join("Cargo.toml").is_file() {
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}
