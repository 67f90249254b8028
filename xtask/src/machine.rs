//! What this machine must have, found or installed. As root, packages are installed; otherwise
//! the line to type is printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use helix_tests::cache;

use crate::say;

/// The target of every toolpack.
const GUEST_TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler that comes with the sources of `std`, for machines where the target cannot
/// be had from rustup.
const FALLBACK_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];

/// With which cargo toolpacks are built.
pub enum GuestCargo {
    /// The ordinary one has the target.
    Ordinary,
    /// A wrapper in this folder builds `std` for the target with Debian's compiler.
    Wrapped(PathBuf),
}

/// Finds a way to build toolpacks, installing what is missing.
///
/// # Errors
/// There is none; what to type.
pub fn guest_cargo() -> Result<GuestCargo> {
    if has_guest_target()? {
        return Ok(GuestCargo::Ordinary);
    }
    let add = say::step(&format!("rustup target add {GUEST_TARGET}"), || {
        say::quiet(Command::new("rustup").args(["target", "add", GUEST_TARGET]))
    });
    if add.is_ok() && has_guest_target()? {
        return Ok(GuestCargo::Ordinary);
    }
    say::line("  the target cannot be had from rustup: falling back to Debian's rustc-web, which builds it");
    apt_install("building toolpacks", &FALLBACK_PACKAGES, Path::new("/usr/bin/wasm-ld-19"))?;
    Ok(GuestCargo::Wrapped(write_wrapper()?))
}

impl GuestCargo {
    /// Lets a command find this cargo first.
    pub fn apply(&self, command: &mut Command) -> Result<()> {
        if let Self::Wrapped(folder) = self {
            let old = std::env::var_os("PATH").unwrap_or_default();
            let path =
                std::env::join_paths(std::iter::once(folder.clone()).chain(std::env::split_paths(&old)))?;
            command.env("PATH", path).env("CARGO", folder.join("cargo"));
        }
        Ok(())
    }
}

fn has_guest_target() -> Result<bool> {
    let sysroot = say::quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib").join(GUEST_TARGET).is_dir())
}

fn write_wrapper() -> Result<PathBuf> {
    let folder = cache::dir()?.join("wasm-cargo");
    fs::create_dir_all(&folder)?;
    let script = folder.join("cargo");
    // Only a build for the guests' target needs `std` built; a wrapper must not change the rest.
    fs::write(
        &script,
        format!(
            "#!/bin/sh\ncase \" $* \" in\n*\" {GUEST_TARGET} \"*)\n  export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
             CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19\n  exec /usr/bin/cargo \"$@\" \
             -Zbuild-std=std,panic_abort ;;\nesac\nexec /usr/bin/cargo \"$@\"\n"
        ),
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// Installs Debian packages unless `proof` is there already.
///
/// # Errors
/// They cannot be installed; the line to type.
pub fn apt_install(why: &str, packages: &[&str], proof: &Path) -> Result<()> {
    if proof.exists() {
        return Ok(());
    }
    apt_install_now(why, packages)?;
    ensure!(proof.exists(), "{} is missing although {} was installed", proof.display(), packages.join(" "));
    Ok(())
}

/// Installs Debian packages.
///
/// # Errors
/// They cannot be installed; the line to type.
pub fn apt_install_now(why: &str, packages: &[&str]) -> Result<()> {
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !is_root() {
        bail!("{why} needs Debian packages. Type:\n\n    sudo {line}\n\nand start again");
    }
    say::step(&line, || {
        let install = || {
            let mut command = Command::new("apt-get");
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command.args(["install", "-y", "--no-install-recommends"]).args(packages);
            say::quiet(&mut command)
        };
        if install().is_err() {
            // The package lists may be missing or old.
            apt_update()?;
            install()?;
        }
        Ok(())
    })
}

/// Brings the package lists up to date.
///
/// # Errors
/// Not root, or the mirror does not answer.
pub fn apt_update() -> Result<()> {
    ensure!(
        is_root(),
        "the package lists are missing or old. Type:\n\n    sudo apt-get update\n\nand start again"
    );
    say::step("apt-get update", || say::quiet(Command::new("apt-get").arg("update"))).map(drop)
}

/// The program of this name on the PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Whether we may do everything on this machine.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uids.split_whitespace().nth(1) == Some("0")
}

/// Checks what nothing here can install.
///
/// # Errors
/// Rust is too old or missing.
pub fn check_rust() -> Result<()> {
    let version = say::quiet(Command::new("rustc").arg("--version")).context("Rust is missing")?;
    say::line(&format!("  ok     {}", version.trim()));
    Ok(())
}
